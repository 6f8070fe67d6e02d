"""The discriminator's side of stage 2: what it judges, and what it and the network lose."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from derain.configs.training import RefinementConfig
from derain.models.output import Output
from derain.stages.losses.adversary import (
    ADVERSARIAL_LOSSES,
    LABELS_REAL,
    AlignedClips,
    adversarial_loss,
    aligned_clips,
    critic_of,
)
from derain.stages.losses.balance import Balance
from derain.stages.losses.refinement import Refined

Moving = Callable[..., torch.Tensor]
NARROW = {"patch": {"width": 4, "layers": 2}, "reference": {"width": 4}}


def test_aligned_clips_follow_the_motion(moving: Moving) -> None:
    """Aligned frames of a moving clip are nearly equal; frames as they are differ."""
    clean = moving(9)
    aligned = aligned_clips(clean, clean, torch.rand(1, 3), 3)
    assert aligned.real.shape == aligned.fake.shape == (2, 3, 3, 96, 96)
    torch.testing.assert_close(aligned.real, aligned.fake, rtol=0, atol=1e-3)
    inner = aligned.real[..., 16:-16, 16:-16]
    aligned = float((inner[:, 0] - inner[:, 1]).abs().mean())
    assert aligned < 0.3 * float((clean[:, 1:] - clean[:, :-1]).abs().mean())


def test_aligned_clips_of_real_rain_come_last_and_carry_gradients() -> None:
    clean, fake = torch.rand(2, 6, 3, 48, 48), torch.rand(3, 6, 3, 48, 48, requires_grad=True)
    chance = torch.rand(2, 3)
    aligned = aligned_clips(fake, clean, chance, 3)
    assert (len(aligned.real), len(aligned.fake)) == (2, 3)
    assert torch.equal(aligned.label_real, torch.cat([chance, chance[:1]])[:, 1:2])
    aligned.fake.sum().backward()
    assert fake.grad is not None
    assert all(float(x.abs().sum()) > 0 for x in fake.grad)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("length", [3, 4, 5, 7, 11])
def test_aligned_frames_are_within_the_clip_and_all_are_reached(frames: int, length: int) -> None:
    marked = torch.arange(length).view(1, length, 1, 1, 1).expand(1, -1, 3, 32, 32).float()
    seen = set()
    for share in np.linspace(0, 0.999, 12):
        aligned = aligned_clips(marked, marked, torch.full((1, 3), float(share)), frames)
        times = aligned.real[:, :, 0, 0, 0].long()
        assert torch.equal(times.diff(dim=1), torch.ones_like(times[:, 1:]))
        seen |= set(times.flatten().tolist())
    assert seen == set(range(length))


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_the_discriminator_learns_and_the_network_pass_leaves_it_alone(name: str) -> None:
    torch.manual_seed(0)
    kind = ADVERSARIAL_LOSSES[name]
    critic = kind.build(**NARROW[name]).train()
    clips = torch.rand(4, kind.frames, 3, 32, 32)
    fake = (0.5 + 0.02 * torch.randn_like(clips)).requires_grad_()
    aligned = AlignedClips(clips, fake, torch.rand(4, 1), torch.rand(4, 1))
    adversarial_loss(kind, critic, aligned).backward()
    assert float(fake.grad.abs().sum()) > 0
    assert all(p.grad is None and p.requires_grad for p in critic.parameters())

    against = critic_of(critic, RefinementConfig(discriminator=name), Balance(1.0, None)).objective
    optimiser = torch.optim.Adam(critic.parameters(), 5e-3)
    fake.grad = None
    for _ in range(25):
        batch = Refined(Output(clips), clips[:0], None, aligned)
        loss, scores = against.loss(against.run(critic, batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert fake.grad is None
    assert math.isfinite(loss.item())
    assert scores["score real"].item() > scores["score fake"].item() + 0.05


def test_the_originals_labels_are_noisy() -> None:
    """Least squares to labels in [0.7, 1.2] for clean clips; the network aims at the same ones."""
    chance = torch.tensor([[0.0], [1.0]])
    aligned = AlignedClips(torch.zeros(2), torch.zeros(2), chance, 1 - chance)
    perfect = torch.tensor([[LABELS_REAL[0]], [LABELS_REAL[1]]])
    kind = ADVERSARIAL_LOSSES["reference"]
    assert float(kind.network_loss(perfect, aligned)) == pytest.approx(0, abs=1e-9)
    assert float(kind.critic_loss(perfect, torch.tensor([[0.3], [0.0]]), aligned)) < 1e-9
    assert float(kind.critic_loss(perfect.flip(0), torch.tensor([[0.3], [0.0]]), aligned)) > 0.1


def test_hinge_wants_a_margin_and_no_more() -> None:
    aligned = AlignedClips(torch.zeros(1), torch.zeros(1), torch.zeros(1, 1), torch.zeros(1, 1))
    kind, far = ADVERSARIAL_LOSSES["patch"], torch.tensor([[3.0]])
    assert float(kind.critic_loss(far, -far, aligned)) == 0
    assert float(kind.critic_loss(0 * far, 0 * far, aligned)) == 2
    assert float(kind.network_loss(far, aligned)) == -3
