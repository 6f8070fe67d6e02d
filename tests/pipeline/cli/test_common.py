"""What commands share: words that are read, choices that are checked, lines that are said."""

from __future__ import annotations

import pytest
import typer

from derain.models.errors import UsageError
from derain.pipeline.cli import common
from derain.pipeline.cli.common import key_values, say, seconds, show


def test_times_are_read_as_people_write_them() -> None:
    assert seconds(None) is None
    assert seconds("90") == 90
    assert seconds("1:30.5") == 90.5
    assert seconds("1:02:03") == 3723


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1:-5", "1e308:0", "1:nan:0", "soon"])
def test_times_before_the_beginning_or_without_end_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        seconds(text)


def test_pairs_are_read_and_the_last_of_a_key_counts() -> None:
    assert key_values(None) == key_values([]) == {}
    assert key_values(["a=1", "b=x=y", "c=", "a=2"]) == {"a": "2", "b": "x=y", "c": ""}


@pytest.mark.parametrize("pair", ["fast", "=5", ""])
def test_what_is_no_pair_is_wrong_use(pair: str) -> None:
    with pytest.raises(UsageError, match="is not key=value"):
        key_values(["a=1", pair])


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:1", "mps", "xpu", "xpu:0"])
def test_devices_by_their_names(name: str) -> None:
    assert common._device(name) == name


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "mps:0", "CPU", "cpu "])
def test_what_is_no_device_is_wrong_use(name: str) -> None:
    with pytest.raises(typer.BadParameter, match="use auto, cpu"):
        common._device(name)


def test_networks_are_names_or_files() -> None:
    for name in (None, "swift", "weights.safetensors", "dir/net.pth"):
        assert common._network(name) == name
    with pytest.raises(typer.BadParameter, match="did you mean 'swift'"):
        common._network("swfit")


def test_tiles_and_shares_within_their_limits() -> None:
    assert [common._tile(text) for text in ("auto", "off", "256")] == ["auto", "off", "256"]
    for text in ("0", "-1", "2.5", "٣x", "big"):
        with pytest.raises(typer.BadParameter, match="a number of pixels"):
            common._tile(text)
    assert (common._share(0.0), common._share(1.0)) == (0.0, 1.0)
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(typer.BadParameter, match="between 0 and 1"):
            common._share(value)


def test_results_go_to_standard_output_and_all_else_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show("a result")
    say("a \x1b[31mfilm\x07")  # names of files must not steer a terminal
    out, err = capsys.readouterr()
    assert out == "a result\n"
    assert err.endswith("\n") and "film" in err and "\x1b" not in err and "\x07" not in err
