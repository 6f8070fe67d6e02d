"""What a run saves: everything needed to go on, and weights ready for `load_model`.

In the folder of a run: last.pt, the newest state; step-NNNNNN.pt, a few before it; and
NAME.safetensors, the averaged weights, beside NAME-best.safetensors, those that did best on the
validation clips. Files are whole or not there: a full disk or a kill costs no older one.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from derain.configs.training import TrainingConfig
from derain.models.errors import DerainError
from derain.models.log import Log
from derain.models.video_model import Network
from derain.models.weights_io import read_weights, save_model
from derain.models.whole_file import write_whole
from derain.stages.losses.recovery import learned_layers
from derain.stages.training.learner import Learner

WEIGHT_TYPES = {"fp16": torch.float16, "fp32": torch.float32}


@dataclass
class RunState:
    """What goes on bit for bit.

    Args:
        network: what is trained.
        learners: it, and the discriminator where there is one.
        average: of the network's weights.
        step: that is done.
        rows: figures of the steps since the last line of the log.
        seconds: of training.
    """

    network: Network
    learners: list[Learner]
    average: dict[str, Tensor]
    step: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        network, *critic = self.learners
        state = network.state_dict() | {
            "average": self.average,
            "step": self.step,
            "rows": self.rows,
            "seconds": self.seconds,
        }
        return state | ({"critic": critic[0].state_dict()} if critic else {})

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from `state_dict`.

        Raises:
            DerainError: one of the two runs has a discriminator, and the other has none.
        """
        network, *critic = self.learners
        if bool(critic) != ("critic" in saved):
            raise DerainError(
                f"The saved run is one {'without' if critic else 'with'} a discriminator; start "
                "another run, with --init and the weights of this one."
            )
        network.load_state_dict(saved)
        for learner in critic:
            learner.load_state_dict(saved["critic"])
        for name, value in saved["average"].items():
            self.average[name].copy_(value)
        self.step = saved["step"]
        self.rows, self.seconds = saved.get("rows", []), saved.get("seconds", 0.0)


class RunFiles:
    """The saved states and weights of a run.

    Args:
        folder: of the run.
        config: its settings.
        report: takes lines for people.
    """

    def __init__(self, folder: Path, config: TrainingConfig, report: Log) -> None:
        self.folder, self.config, self.report = folder, config, report
        self.last = folder / "last.pt"
        self.weights = folder / f"{config.model}.safetensors"
        self.best = folder / f"{config.model}-best.safetensors"
        self.saved = 0  # step of last.pt

    def states(self) -> list[Path]:
        """Saved states, the newest first."""
        last = [self.last] if self.last.exists() else []
        return last + sorted(self.folder.glob("step-*.pt"), reverse=True)

    def restore(self, state: RunState) -> None:
        """Load the newest state that is whole.

        Raises:
            DerainError: none is, or it is of another run.
        """
        for path in self.states():
            try:
                # To the CPU: Adam counts its steps there, and would wait for a GPU at each count.
                saved = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # a damaged file can fail in any way
                self.report(f"{path} is damaged ({type(error).__name__}); looking for an older one")
                continue
            try:
                state.load_state_dict(saved)
            except (RuntimeError, ValueError) as error:  # torch's, of networks and of optimisers
                raise DerainError(
                    f"{path} is of another network than model and settings say; go on with those "
                    "that the run began with."
                ) from error
            self.saved = state.step
            return
        raise DerainError(
            f"No saved state in {self.folder} can be read; start another run, with --init and "
            f"{self.weights.name} if that is whole."
        )

    def save(self, state: RunState) -> bool:
        """Write state and weights; whether both are written. What is there stays if not."""
        try:
            self._save_state(state)
            self.save_weights(self.weights, state)
        except OSError as error:
            self.report(
                f"Step {state.step} cannot be saved ({error}); {self.last.name} is that of step "
                f"{self.saved}. Make room: the next save tries again."
            )
            return False
        return True

    def _save_state(self, state: RunState) -> None:
        """Write last.pt; what it was becomes one of the earlier ones."""
        earlier = self.folder / f"step-{self.saved:07d}.pt"
        if self.saved and self.saved < state.step and not earlier.exists():
            try:
                earlier.hardlink_to(self.last)
            except OSError:  # not every file system has links
                shutil.copyfile(self.last, earlier)
        write_whole(self.last, lambda file: torch.save(state.state_dict(), file))
        self.saved = state.step
        states = sorted(self.folder.glob("step-*.pt"), reverse=True)
        for path in states[self.config.keep :]:
            path.unlink()

    def save_best(self, state: RunState, score: float) -> None:
        """Write the weights anew where no earlier ones had as high a score."""
        if self.best.exists():
            before = read_weights(self.best)[1].note.get("score")
            if isinstance(before, float) and before >= score:
                return
        try:
            self.save_weights(self.best, state, score=score)
        except OSError as error:
            self.report(f"{self.best} cannot be written ({error}); make room for it.")

    def save_weights(self, path: Path, state: RunState, **more: float) -> None:
        """The averaged weights, ready for `load_model`.

        Args:
            path: of the file.
            state: of the run.
            more: figures that the file notes.
        """
        note: dict[str, object] = {"steps": state.step, "seed": self.config.seed}
        save_model(
            state.network,
            path,
            state=state.average,
            dtype=WEIGHT_TYPES[self.config.weights],
            note=note | more | {"layers": learned_layers(self.config)},
        )
