"""Whose weights are these: recognising, converting and refusing the original authors' files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from derain.models import convert, load_model
from derain.models.convert import from_reference, recognise
from derain.models.errors import DerainError
from derain.models.networks.dcsfn import Dcsfn
from derain.models.networks.remaen import ReMAEN
from derain.models.networks.rescan import Rescan
from derain.models.networks.spanet import SPANet
from derain.models.weights_io import convert_file, is_reference, load_reference

Find = Callable[[str], Path]
State = dict[str, Tensor]


def save_pickle(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda state: state,
    "checkpoint": lambda state: {"net": state, "clock": 20000, "opt": {"state": {}, "lr": [5e-3]}},
    "parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "parallel checkpoint": lambda state: {"net": {f"module.{k}": v for k, v in state.items()}},
    "double": lambda state: {key: value.double() for key, value in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", ["latest", "net.pth"])
def test_pickles_however_wrapped(
    rescan_state: State, tmp_path: Path, wrapping: str, name: str
) -> None:
    net = load_reference(save_pickle(tmp_path / name, WRAPPINGS[wrapping](rescan_state)), stages=2)
    assert isinstance(net, Rescan)
    assert not net.training
    assert (len(net.cells), net.stages) == (2, 2)
    torch.testing.assert_close(net.head.weight, rescan_state["dec.0.weight"])
    torch.testing.assert_close(net.rain.bias, rescan_state["dec.3.bias"].flip(0))
    assert net.description.name == "rescan"


def test_old_pickles_and_safetensors(rescan_state: State, tmp_path: Path) -> None:
    torch.save(rescan_state, tmp_path / "old", _use_new_zipfile_serialization=False)
    save_file(rescan_state, tmp_path / "new.safetensors")
    for name in ("old", "new.safetensors"):
        net = load_reference(tmp_path / name)
        assert isinstance(net, Rescan)
        torch.testing.assert_close(net.head.weight, rescan_state["dec.0.weight"])


def test_channel_order(rescan_state: State) -> None:
    rainy = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    turned, as_is = (from_reference("rescan", rescan_state, order) for order in ("bgr", "rgb"))
    with torch.no_grad():
        torch.testing.assert_close(turned(rainy), as_is(rainy.flip(1)).flip(1))
        assert float((turned(rainy) - as_is(rainy)).abs().max()) > 1e-3
        torch.testing.assert_close(from_reference("rescan", rescan_state)(rainy), turned(rainy))
    with pytest.raises(DerainError, match="gbr"):
        from_reference("rescan", rescan_state, "gbr")


def sd(path: Path) -> dict[str, Tensor]:
    return {k[3:]: v for k, v in load_file(path).items() if k.startswith("sd.")}


def test_every_network_is_recognised(golden_file: Find) -> None:
    rescan = sd(golden_file("rescan/rescan_gru_full_se_default.safetensors"))
    dcsfn = sd(golden_file("dcsfn/dcsfn_gru_c8n3v2_scale4.safetensors"))
    spanet = load_file(golden_file("spanet/spanet_official_weights.safetensors"))
    remaen = load_file(golden_file("remaen/remaen_seed7_weights_tf_layout.safetensors"))
    keys = golden_file("two_stage/keys_transform_nf8.txt").read_text().splitlines()
    generator = {key.split("\t")[0] for key in keys if key.strip()}
    assert recognise(rescan) == "rescan"
    assert recognise(dcsfn) == "dcsfn"
    assert recognise(spanet) == "spanet"
    assert recognise(remaen) == "remaen"
    assert recognise({f"{r}.{k}" for r in ("res", "haze", "s2") for k in generator}) == "two_stage"
    assert recognise({"conv.weight"}) is None


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("spanet/spanet_official_weights.safetensors", SPANet),
        ("remaen/remaen_seed7_weights_tf_layout.safetensors", ReMAEN),
    ],
)
def test_files_of_other_networks_load(golden_file: Find, path: str, kind: type) -> None:
    name = path.split("/")[0]
    net = load_reference(golden_file(path))
    assert type(net) is kind
    assert net.description.name == name


def test_three_generators_in_one_file(golden_file: Find, tmp_path: Path) -> None:
    lines = golden_file("two_stage/keys_transform_nf8.txt").read_text().splitlines()
    shapes = dict(line.split("\t") for line in lines if line.strip())
    zeros = {
        key: torch.zeros([int(n) for n in shape.strip("()[] ,").split(",")])
        for key, shape in shapes.items()
    }
    roles = dict.fromkeys(("res", "haze", "s2"), zeros)
    nested = load_reference(save_pickle(tmp_path / "a.pth", roles))
    flat = {f"{role}.{key}": value.clone() for role in roles for key, value in zeros.items()}
    save_file(flat, tmp_path / "b.safetensors")
    joined = load_reference(tmp_path / "b.safetensors")
    for net in (nested, joined):
        assert net.description.settings["variant"] == "reference"
    with pytest.raises(DerainError, match="all three"):
        load_reference(save_pickle(tmp_path / "c.pth", roles["res"]))


def test_converted_file_is_ours(rescan_state: State, tmp_path: Path) -> None:
    source, target = save_pickle(tmp_path / "latest", rescan_state), tmp_path / "x.safetensors"
    assert is_reference(source)
    net = convert_file(source, target, composition="add", stages=3)
    assert target.is_file()
    assert not is_reference(target)
    again = load_model(target)
    rainy = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(again.net(rainy), net(rainy))
    assert again.net.adds
    with pytest.raises(DerainError, match="exists"):
        convert_file(source, target)
    with pytest.raises(DerainError, match="cannot be written"):
        convert_file(source, tmp_path / "missing" / "x.safetensors")


def test_dcsfn_survives_the_round_trip(golden_file: Find, tmp_path: Path) -> None:
    source = golden_file("dcsfn/dcsfn_gru_c8n3v2_scale4.safetensors")
    tensors = load_file(source)
    net = convert_file(save_pickle(tmp_path / "net.pth", sd(source)), tmp_path / "y.safetensors")
    assert isinstance(net, Dcsfn)
    again = load_model(tmp_path / "y.safetensors").net
    with torch.no_grad():
        derained = again(tensors["x_odd"].flip(1)).flip(1)
    torch.testing.assert_close(derained, tensors["out_odd"], rtol=0, atol=1e-5)


def test_wrong_tensors_are_named(rescan_state: State, tmp_path: Path) -> None:
    rescan_state["rnns.1.conv_xq.bias"] = rescan_state.pop("rnns.1.conv_xz.bias")
    path = save_pickle(tmp_path / "net.pth", rescan_state)
    message = r"net\.pth.*missing rnns\.1\.conv_xz\.bias, unexpected rnns\.1\.conv_xq\.bias"
    with pytest.raises(DerainError, match=message):
        load_reference(path)
    with pytest.raises(DerainError, match="missing convert"):
        load_reference(path, name="dcsfn")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("rnns.1.conv_xz.weight", (4, 5, 3, 3), r"conv_xz.*do not agree"),
        ("dec.3.weight", (3, 9, 1, 1), r"do not fit 'rescan'.*rain\.weight"),
    ],
)
def test_wrong_shapes_are_refused(
    rescan_state: State, name: str, shape: tuple[int, ...], message: str
) -> None:
    rescan_state[name] = torch.zeros(shape)
    with pytest.raises(DerainError, match=message):
        from_reference("rescan", rescan_state)


class Code:
    """A pickle of this would run code of its module when it is read."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv.weight": torch.zeros(1)}, r"no network known.*conv\.weight"),
        ({"rnns": 3}, "'rnns' is a int"),
        ([torch.zeros(1)], "holds a list"),
        (Code(), r"it holds an object of \S*Code\); save"),
    ],
    ids=["unknown", "no tensors", "no dict", "code"],
)
def test_unknown_files_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = save_pickle(tmp_path / "net.pth", content)
    with pytest.raises(DerainError, match=message):
        load_reference(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\0\0\0\0\0\0\0{broken}", b"\x80\x02."])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    assert is_reference(path)
    with pytest.raises(DerainError, match="read safely") as caught:
        load_reference(path)
    assert "pop from" not in str(caught.value)  # Python's own words help nobody


def test_missing_file_and_unknown_name(tmp_path: Path) -> None:
    assert not is_reference(tmp_path / "none.pth")
    with pytest.raises(DerainError, match="no weight file"):
        load_reference(tmp_path / "none.pth")
    with pytest.raises(DerainError, match=", ".join(convert.FOREIGN)):
        from_reference("other", {})
