"""How much the adversary weighs: as much as its gradient needs to be a share of the others'.

Against a fresh discriminator the gradient of the adversarial term is tiny, a hundred steps later it
may be many times that of all losses with truth. Both are measured where they reach the network, at
its images, and the weight follows their running means. Norms are of single samples, so that they
are the same however samples are divided among batches and processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DECAY = 0.98  # of the running means, a step
MOST = 10.0  # times the weight of the preset
TRUTH, ADVERSARY = "truth gradient", "adversary gradient"


@dataclass
class Balance:
    """The weight of the adversarial term.

    Args:
        fixed: the preset's weight; without `share` it stays, with it MOST times it is the cap.
        share: of the adversary's gradient in that of the losses with truth; None for none.
    """

    fixed: float
    share: float | None
    truth: float = 0.0
    adversary: float = 0.0

    @property
    def weight(self) -> float:
        """What the adversarial term is multiplied by."""
        if self.share is None or not self.adversary:
            return self.fixed
        return min(self.share * self.truth / self.adversary, MOST * self.fixed)

    def measure(self, truth: Tensor, adversary: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Norms of the gradients of two losses at images (B, …), to be averaged and logged.

        Args:
            truth: the losses with truth, a scalar.
            adversary: the adversarial loss, a scalar.
            images: what both are differentiated by.
        """
        return {TRUTH: _norm(truth, images), ADVERSARY: _norm(adversary, images)}

    def update(self, row: dict[str, float]) -> None:
        """Take in the norms of a step, averaged over all processes."""
        if self.share is None or not row.get(ADVERSARY):
            return
        keep = DECAY if self.adversary else 0.0
        self.truth = keep * self.truth + (1 - keep) * row[TRUTH]
        self.adversary = keep * self.adversary + (1 - keep) * row[ADVERSARY]

    def state_dict(self) -> dict[str, float]:
        """The running means."""
        return {"truth": self.truth, "adversary": self.adversary}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from `state_dict`."""
        self.truth, self.adversary = state["truth"], state["adversary"]


def _norm(loss: Tensor, images: Tensor) -> Tensor:
    """Mean over the samples of the norm of what each would get if it were alone."""
    if not loss.requires_grad:
        return torch.zeros((), device=images.device)
    (gradient,) = torch.autograd.grad(loss, images, retain_graph=True, allow_unused=True)
    if gradient is None:
        return torch.zeros((), device=images.device)
    return len(images) * gradient.flatten(1).float().norm(dim=1).mean()
