"""What a run tells: config.yaml, metrics.jsonl, TensorBoard where it is installed, wandb, lines."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from torch import Tensor

from derain.configs.training import TrainingConfig
from derain.models.log import Log
from derain.models.whole_file import write_whole
from derain.stages.training.reports.tracking import Tracker

Row = dict[str, float]


class RunLog:
    """The log of a run, in its folder.

    Args:
        folder: made where it is missing.
        config: as resolved; written down.
        start: the step from which the run goes on. Later rows of the log are left out: they are
            about to be written again.
        report: takes lines for people.
        project: of Weights & Biases, where the run is to be shown there.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        start: int,
        report: Log,
        project: str | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tracker = Tracker(project, folder, config) if project else None
        (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        self.metrics, self.board, self.report = folder / "metrics.jsonl", None, report
        rows = [row for row in read_metrics(self.metrics) if row["step"] <= start]
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        write_whole(self.metrics, lambda file: file.write(text))
        self.validated = any(row["step"] == start and "score" in row for row in rows)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(str(folder), purge_step=start + 1)

    def write(self, step: int, row: Row, images: dict[str, Tensor] | None = None) -> None:
        """Figures, and images (3, H, W) by what they show.

        Args:
            step: of the run.
            row: figures by their names.
            images: (3, H, W) in [0, 1] by what they show, or None.
        """
        with self.metrics.open("a") as file:
            file.write(json.dumps({"step": step} | row) + "\n")
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(name, value, step)
            for name, image in (images or {}).items():
                self.board.add_image(name, image, step)
            self.board.flush()
        if self.tracker is not None:
            self.tracker.write(step, row, images or {})
        self.report(f"step {step}: " + "  ".join(f"{k} {v:.4g}" for k, v in row.items()))

    def close(self) -> None:
        """Nothing more is written."""
        if self.board is not None:
            self.board.close()
        if self.tracker is not None:
            self.tracker.close()


def read_metrics(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl; a line that a crash cut short is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
