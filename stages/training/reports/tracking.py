"""A run as Weights & Biases shows it, for those who ask for it; an extra, `derain[wandb]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from torch import Tensor

from derain.configs.training import TrainingConfig
from derain.models.errors import DerainError

if TYPE_CHECKING:
    from wandb import Run

ID = "wandb.id"  # in the folder of a run: a run that goes on is one run there, too


class Tracker:
    """Figures and images of one run in a project. `WANDB_MODE=offline` keeps them in the folder.

    Args:
        project: as wandb names it.
        folder: of the run.
        config: as resolved.

    Raises:
        DerainError: wandb is not installed, or it does not take the run.
    """

    def __init__(self, project: str, folder: Path, config: TrainingConfig) -> None:
        try:
            import wandb
        except ImportError as error:
            raise DerainError(
                "wandb is not installed; pip install 'derain[wandb]', or leave --wandb out."
            ) from error
        known = folder / ID
        if not known.exists():
            known.write_text(uuid4().hex[:8])
        try:
            self.run: Run = wandb.init(
                project=project,
                name=folder.name,
                id=known.read_text().strip(),
                resume="allow",
                dir=str(folder),
                config=config.model_dump(mode="json"),
            )
        except wandb.errors.Error as error:
            raise DerainError(
                f"wandb does not take the run ({error}); log in by wandb login, or set "
                "WANDB_MODE=offline."
            ) from error
        self._image = wandb.Image

    def write(self, step: int, row: dict[str, float], images: dict[str, Tensor]) -> None:
        """Figures, and images.

        Args:
            step: of the run.
            row: figures by their names.
            images: (3, H, W) in [0, 1] by what they show.
        """
        shown = {
            name: self._image((255 * image.clamp(0, 1)).byte().permute(1, 2, 0).cpu().numpy())
            for name, image in images.items()
        }
        self.run.log(row | shown, step=step)

    def close(self) -> None:
        """Send, or write, what is left."""
        self.run.finish()
