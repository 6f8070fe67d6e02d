"""What `derain eval` shows of a result: tables for people, JSON for programs.

Measuring is in clips.py; nothing is computed here but averages over records.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from rich.table import Table

from derain.models.errors import DerainError
from derain.pipeline.evaluation.clips import Record, Result, average, worst_gain
from derain.pipeline.evaluation.model_runs import INPUT, Options
from derain.stages.losses.metrics import DEFINITIONS

# name in records -> heading, digits
COLUMNS = {
    "psnr": ("PSNR", 2),
    "psnr_y": ("PSNR-Y", 2),
    "ssim": ("SSIM", 4),
    "ssim_y": ("SSIM-Y", 4),
    "psnr_rainy": ("rainy px", 2),
    "psnr_clean": ("clean px", 2),
    "temporal": ("temporal", 3),
    "lpips": ("LPIPS", 4),
    "haarpsi": ("HaarPSI", 4),
    "gmsd": ("GMSD", 4),
}
CAMERAS = {"all": ("static", "moving"), "static": ("static",), "moving": ("moving",)}


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _text(value: float | None, digits: int, signed: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if signed else ''}.{digits}f}"


def _select(records: list[Record], **where: object) -> list[Record]:
    return [r for r in records if all(r[k] == v for k, v in where.items())]


def averages(records: list[Record]) -> list[Record]:
    """Means over clips for every level, camera and row, with the gain over the input."""
    found = []
    for level in _unique(r["level"] for r in records):
        for camera, kinds in CAMERAS.items():
            group = [r for r in _select(records, level=level) if r["camera"] in kinds]
            for row in _unique(r["row"] for r in group):
                mine = _select(group, row=row)
                means = {name: average(mine, name) for name in COLUMNS}
                gains = {"gain": None, "worst_gain": worst_gain(group, row)}
                before = average(_select(group, row=INPUT), "psnr")
                if before is not None and means["psnr"] is not None:
                    gains["gain"] = means["psnr"] - before
                found.append(
                    {"level": level, "camera": camera, "row": row, "clips": len(mine)}
                    | means
                    | gains
                )
    return found


def pair_tables(result: Result) -> list[Table]:
    """Averages by level and camera, and PSNR clip by clip."""
    means = averages(result.records)
    shown = {k: v for k, v in COLUMNS.items() if any(m[k] is not None for m in means)}
    tables = []
    for level in _unique(m["level"] for m in means):
        table = Table(title=f"{level}: means over clips, before encoding", title_justify="left")
        for heading in ("camera", "model"):
            table.add_column(heading, no_wrap=True)
        for heading in ("gain", "worst clip", *(h for h, _ in shown.values())):
            table.add_column(heading, justify="right", no_wrap=True)
        for camera in CAMERAS:
            for m in (m for m in means if m["level"] == level and m["camera"] == camera):
                table.add_row(
                    f"{camera} ({m['clips']})",
                    m["row"],
                    _text(m["gain"], 2, signed=True),
                    _text(m["worst_gain"], 2, signed=True),
                    *(_text(m[name], digits) for name, (_, digits) in shown.items()),
                )
            table.add_section()
        tables.append(table)
    return [*tables, _clip_table(result.records, "PSNR of every clip in dB (RGB)", "psnr")]


def _clip_table(records: list[Record], title: str, name: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("clip", no_wrap=True)
    table.add_column("level")
    rows = _unique(r["row"] for r in records)
    for row in rows:
        table.add_column(row, justify="right")
    for clip, level in dict.fromkeys((r["clip"], r["level"]) for r in records):
        mine = {r["row"]: r for r in _select(records, clip=clip, level=level)}
        table.add_row(clip, level, *(_text(mine[row].get(name), 2) for row in rows))
    return table


def harm_table(result: Result, title: str) -> Table:
    """What models did to clips without rain: mean, worst frame and the focus of a scene."""
    table = Table(title=title, title_justify="left")
    table.add_column("clip", no_wrap=True)
    table.add_column("model", no_wrap=True)
    names = ("psnr", "psnr_worst", "psnr_focus")
    for heading in ("PSNR", "worst frame", "focus"):
        table.add_column(heading, justify="right")
    for r in sorted(result.records, key=lambda r: str(r["row"])):
        table.add_row(r["clip"], r["row"], *(_text(r.get(name), 2) for name in names))
    table.add_section()
    for row in sorted(_unique(r["row"] for r in result.records)):
        mine = _select(result.records, row=row)
        worst = min(r["psnr"] for r in mine)
        table.add_row("mean (worst clip)", row, f"{_text(average(mine, 'psnr'), 2)} ({worst:.2f})")
    return table


def definitions(result: Result) -> str:
    """What the figures shown mean, one to a line."""
    seen = {name for record in result.records for name in record}
    return "\n".join(f"{name}: {text}" for name, text in DEFINITIONS.items() if name in seen)


def as_json(results: dict[str, Result], options: Options) -> dict[str, object]:
    """Everything: settings, definitions, records and averages of every part (pairs, clean, …)."""
    content: dict[str, object] = {
        "torch": torch.__version__,
        "options": asdict(options),
        "definitions": DEFINITIONS,
    }
    for name, result in results.items():
        content[name] = {
            "pairs_sha256": result.pairs_sha256,
            "notices": result.notices,
            "averages": averages(result.records) if name == "pairs" else None,
            "records": result.records,
        }
    return content


def write_json(content: Mapping[str, object], path: Path) -> None:
    """Write a file of JSON.

    Raises:
        DerainError: it cannot be written.
    """
    try:
        path.write_text(json.dumps(content, indent=1, default=str) + "\n")
    except OSError as error:
        raise DerainError(f"{path} cannot be written ({error.strerror}); name another.") from error


def read_bench(path: Path) -> dict[str, dict[str, object]]:
    """What `derain bench --json` wrote: figures by name, by size.

    Raises:
        DerainError: it cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DerainError(f"{path} cannot be read; make it by derain bench --json.") from error
    if not isinstance(content, dict) or not all(
        isinstance(found, dict) and "pipeline" in found for found in content.values()
    ):
        raise DerainError(f"{path} is not of derain bench; make it by derain bench --json.")
    return content
