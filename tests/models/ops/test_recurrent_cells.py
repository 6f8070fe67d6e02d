"""Recurrent cells: the original's steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from derain.models.ops.key_tables import collect
from derain.models.ops.recurrent_cells import CELLS, cell_table

Read = Callable[[str], Any]


@pytest.mark.parametrize("unit", CELLS)
def test_original_cells(golden: Read, unit: str) -> None:
    numbers, name = golden("rescan/rescan_units"), {"conv": "Conv"}.get(unit, unit.upper())
    tensors = numbers.part(f"{name}.")
    table = cell_table("cell", "", unit)
    table = {k.removeprefix("cell."): [t.removeprefix(".") for t in v] for k, v in table.items()}
    for kind in ("weight", "bias"):
        table[f"se.squeeze.{kind}"] = [f"se.fc.0.{kind}"]
        table[f"se.excite.{kind}"] = [f"se.fc.2.{kind}"]
    cell = CELLS[unit](5, 8, dilation=2, se_hidden=6)
    cell.load_state_dict(collect(name, numbers.part(f"{name}.sd."), table))
    with torch.no_grad():
        out, memory = cell(tensors["x"])
        torch.testing.assert_close(out, tensors["N.out"], rtol=0, atol=1e-5)
        if unit == "conv":
            assert memory is None
            return
        assert memory is not None
        assert torch.equal(memory[0], out)
        if unit == "lstm":
            torch.testing.assert_close(memory[1], tensors["N.c"], rtol=0, atol=1e-5)
        given = (tensors["h"], tensors["c"]) if unit == "lstm" else (tensors["h"],)
        out, memory = cell(tensors["x"], given)
        torch.testing.assert_close(out, tensors["S.out"], rtol=0, atol=1e-5)
        if unit == "lstm":
            torch.testing.assert_close(memory[1], tensors["S.c"], rtol=0, atol=1e-5)
