"""Training in several processes, each with its own device and its own part of every batch.

    torchrun --nproc-per-node 4 --no-python derain train configs/swift.yaml -o runs/swift

Whatever is trained goes through one `forward` (`Running`), so that DistributedDataParallel sees it
and averages gradients over the processes. Losses are means, so n processes with batches of b give
the gradients of one process with a batch of n b, unless a network takes statistics of its batch, as
the authors' discriminator does. Process 0 alone reports and writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from derain.models.errors import DerainError
from derain.models.runtime.derainer import choose_device
from derain.stages.data.batch import Batch
from derain.stages.data.rendered_clips import Samples

PATIENCE = timedelta(hours=2)  # while process 0 decodes clips or looks at the validation clips


class Running(nn.Module):
    """A module and how it is run to be trained, as one `forward`."""

    def __init__(self, module: nn.Module, run: Callable[[nn.Module, Any], Any]) -> None:
        super().__init__()
        self.module, self.run = module, run

    def forward(self, batch: Any) -> Any:
        return self.run(self.module, batch)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; alone by default."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Process 0 does this before the others: it leaves files that they find."""
        if not self.main:
            dist.barrier()
        try:
            yield
        finally:
            if self.main and self.size > 1:
                dist.barrier()

    def joint(self, running: Running, spare: bool = False) -> nn.Module:
        """The same, with equal weights in all processes and gradients averaged over them.

        `spare`: some parameters may have no part in the result, as in RESCAN of one stage.
        """
        if self.size == 1:
            return running
        return DistributedDataParallel(running, find_unused_parameters=spare)

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Scalars averaged over the processes; the same in all of them."""
        together = torch.stack([value.detach().float() for value in values.values()])
        if self.size > 1:
            dist.all_reduce(together)
            together /= self.size
        return dict(zip(values, together.tolist(), strict=True))


@contextmanager
def init_distributed(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, as its environment variables say.

    Args:
        device: auto, cpu, cuda, … With several processes cuda is one GPU for each.

    Raises:
        DerainError: more processes on this machine than it has GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    where = choose_device(device)
    if size == 1:
        yield Processes(where)
        return
    if where.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise DerainError(
                f"There are more processes than GPUs here; use torchrun --nproc-per-node "
                f"{torch.cuda.device_count()}."
            )
        where = torch.device("cuda", local)
        torch.cuda.set_device(where)
    dist.init_process_group("nccl" if where.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(where, dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


def local_gradients(running: nn.Module) -> AbstractContextManager[None]:
    """A context in which gradients add up in this process and are not exchanged."""
    if isinstance(running, DistributedDataParallel):
        return running.no_sync()
    return nullcontext()


class Shard(Samples):
    """The samples of one process: of every joint batch its own part.

    With `size` processes the samples of n batches of b are those of one process with batches of
    n b, whatever their number.
    """

    def __init__(self, samples: Samples, processes: Processes, batches: int) -> None:
        self.samples, self.config = samples, samples.config
        self.rank, self.size = processes.rank, processes.size
        self.length = batches * self.config.batch

    def __getitem__(self, index: int) -> Batch:
        batch, place = divmod(index, self.config.batch)
        return self.samples[(batch * self.size + self.rank) * self.config.batch + place]
