"""Gradient checkpointing over time: long clips in the memory of short ones.

Back-propagation through a recurrent network needs what every frame computed inside. Here it is
forgotten and computed again, frame by frame, when gradients come back to that frame: the same
gradients, a third more time, and memory of one frame's inner values beside the states.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from derain.models.networks.haze_estimator import Haze
from derain.models.video_model import Output, RecurrentModel, run_clip


class Checkpointed(nn.Module):
    """A network under the contract, for `forward` while it is trained."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    @property
    def haze_estimator(self) -> Any:
        """The network's, where it has one."""
        return getattr(self.model, "haze_estimator", None)

    def forward(
        self, clip: Tensor, state: Any = None, haze: Haze | None = None
    ) -> tuple[Output, Any]:
        """As the network's own: a clip (B, T, 3, H, W) and a state -> outputs and the state."""
        if haze is None:
            return run_clip(_Steps(self.model), clip, state)
        return run_clip(_Steps(self.model), clip, self.model.informed_state(clip, haze), ends=True)


class _Steps:
    """The parts of the contract that `run_clip` calls."""

    def __init__(self, model: Any) -> None:
        self.model: RecurrentModel = model
        self.initial_state = model.initial_state

    def step(self, frame: Tensor, state: Any) -> tuple[Output | None, Any]:
        return self._again(self.model.step, frame, state)

    def flush(self, state: Any) -> list[Output]:
        return self._again(self.model.flush, state)

    def _again(self, function: Any, *inputs: Any) -> Any:
        return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
