"""The dial of `swift`: how bold it is."""

import torch
from torch import Tensor

from derain.models import Derainer, VideoModel, load_model
from derain.models.networks.swift import caution_of


def _rainy(frames: int = 7) -> list[Tensor]:
    """A grey scene with bright lines that are elsewhere in each frame."""
    generator = torch.Generator().manual_seed(1)
    clip = torch.full((frames, 3, 64, 96), 0.4)
    clip += 0.02 * torch.randn(clip.shape, generator=generator)
    for frame in clip:
        for x in torch.randint(0, 96, (12,), generator=generator):
            frame[:, int(x) % 40 : int(x) % 40 + 20, x] += 0.25
    return list(clip.clamp(0, 1))


def _derain(model: VideoModel, boldness: list[float]) -> Tensor:
    derainer = Derainer(model, "cpu", "fp32")
    found = []
    for frame, bold in zip(_rainy(len(boldness)), boldness, strict=True):
        derainer.boldness = bold
        found += [derainer.push(frame)]
    return torch.stack([x.image[0] for x in [*found, *derainer.flush()] if x is not None])


def test_the_default_scales_nothing() -> None:
    assert caution_of(torch.tensor([0.0, 0.5, 1.0])).tolist() == [2, 1, 0]
    assert Derainer(load_model("swift"), "cpu").boldness == 0.5


def test_bolder_removes_more_of_what_passes() -> None:
    model = load_model("swift")
    rain = (torch.stack(_rainy()) - 0.4).clamp_min(0.1).mean() - 0.1
    left = [(_derain(model, [b] * 7) - 0.4).clamp_min(0.1).mean() - 0.1 for b in (0.5, 0.75, 1)]
    assert 0.8 * rain > left[0] > left[1] > left[2]


def test_the_dial_may_turn_within_a_shot() -> None:
    model = load_model("swift")
    same, turned = _derain(model, [0.5] * 7), _derain(model, [0.5] * 5 + [1.0] * 2)
    assert torch.equal(same[:3], turned[:3])
    assert not torch.equal(same[3:], turned[3:])


def test_a_clip_may_be_trained_with_its_own_boldness() -> None:
    model = load_model("swift")
    clip = torch.stack(_rainy(5))[None].repeat(2, 1, 1, 1, 1)
    haze = model.initial_state(2, 64, 96, device=clip.device, dtype=clip.dtype).haze
    boldness = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    with torch.no_grad():
        image = model(clip, haze=haze, boldness=boldness)[0].image
    assert not torch.equal(image[0], image[1])


def test_a_network_without_the_dial_says_so() -> None:
    said: list[str] = []
    Derainer(load_model("median"), "cpu", boldness=0.9, notice=said.append)
    assert said == ["This network has no dial for boldness; it does what it always does."]
