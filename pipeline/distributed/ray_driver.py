"""The workers of a job as actors of a Ray cluster; Ray is an extra, `derain[ray]`.

Only the job's folder and a segment's outcome travel, never frames: all nodes see the folder and the
source under the same paths. Who does what is told by leases, as without Ray, so that a call which
Ray repeats, since its actor died, just takes the next segment.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from derain.models.errors import DerainError
from derain.models.registry import ENTRIES
from derain.pipeline.distributed.claiming import Claimer
from derain.pipeline.distributed.plan import Job, Plan
from derain.pipeline.distributed.work import Worker, WorkerOptions
from derain.pipeline.storage.stores import StorePath, shared_path

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

CONNECTING = 5.0  # seconds until a cluster must answer
LOOK = 1.0  # seconds between two looks at the job
BASE = 1_500_000_000  # bytes of a process before it sees a frame: torch, FFmpeg
MEMORY = (220, 830)  # bytes a pixel of a network that is not registered
STORE = 80 << 20  # bytes of the objects of a cluster that is started here: no frames travel
NODE_LOST = 60.0  # seconds of silence after which a node's segment is given to another


class SegmentActor:
    """A worker with its network loaded; what Ray starts anew when it dies.

    Args:
        folder: the job's.
        device, tile, threads: of the worker.
    """

    def __init__(self, folder: str, device: str, tile: str, threads: int) -> None:
        own = WorkerOptions(device=device, tile=tile, threads=threads, expiry=NODE_LOST)
        self.worker = Worker(Job(shared_path(folder)), own)

    def step(self) -> bool:
        """Derain one segment, or wait a little where others have all; whether anything is left."""
        never = threading.Event()
        claim = self.worker.claimer.next()
        if claim is not None:
            self.worker.attempt(claim, never, lambda frames: None)
            return True
        if self.worker.claimer.is_over():
            return False
        never.wait(2)
        return True


@dataclass(frozen=True, slots=True)
class Cluster:
    """How a job uses a Ray cluster.

    address: auto, local, or the cluster's. workers: at most; 0 is as many as fit. threads: of each.
    device, tile: of each.
    """

    address: str
    workers: int
    threads: int | None
    device: str
    tile: str

    def work(self, job: Job, plan: Plan, look: Callable[[], None], stop: threading.Event) -> str:
        """Let actors work until nothing is left; the last words of one that failed.

        Args:
            job: the folder, which all nodes see.
            plan: of the film.
            look: called now and then, to show how far it is.
            stop: set by somebody else to end early.

        Raises:
            DerainError: there is no Ray, no cluster, or nothing in it that a worker fits on.
        """
        try:
            import ray
            from ray.exceptions import RayError
        except ImportError as error:
            raise DerainError(
                "Ray is not installed; pip install 'derain[ray]', or use --workers."
            ) from error
        began_here = not ray.is_initialized()
        if began_here:
            self._connect()
        words = ""
        actors = []
        try:
            actors = [self._start(job, plan) for _ in range(self._count(plan))]
            # One call in flight an actor: what is not asked for cannot pile up.
            calls: dict[ObjectRef, ActorHandle[SegmentActor]]
            calls = {actor.step.remote(): actor for actor in actors}
            # An actor whose node is gone may never find another: others can have done its share.
            watch = Claimer(job, len(plan.segments), expiry=NODE_LOST)
            while calls and not stop.is_set() and not watch.is_over():
                ready, _ = ray.wait(list(calls), num_returns=1, timeout=LOOK)
                for call in ready:
                    actor = calls.pop(call)
                    try:
                        if ray.get(call):
                            calls[actor.step.remote()] = actor
                    except RayError as error:
                        words = str(error).strip().splitlines()[-1]
                look()
        finally:
            for actor in actors:
                ray.kill(actor)
            if began_here:
                ray.shutdown()
        return words

    def _connect(self) -> None:
        import ray
        from ray.exceptions import RayError

        nowhere = DerainError(
            f"There is no Ray cluster at '{self.address}'; start one with ray start --head, or "
            "use --ray local."
        )
        if not answers(self.address):
            raise nowhere
        if self.address == "local":
            # Ray's own 15 would let a worker starve beside anything else that computes.
            os.environ.setdefault("RAY_worker_niceness", "0")
        try:
            ray.init(
                address=None if self.address == "local" else self.address,
                log_to_driver=False,
                object_store_memory=STORE if self.address == "local" else None,
                include_dashboard=False if self.address == "local" else None,
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, RayError) as error:
            raise nowhere from error

    def _needs(self, plan: Plan) -> dict[str, float]:
        """What Ray must set aside for an actor."""
        held, working = (
            ENTRIES[plan.options.model].memory if (plan.options.model in ENTRIES) else MEMORY
        )
        gpu = self._uses_gpu()
        memory = BASE + (0 if gpu else (held + working) * plan.width * plan.height)
        return {"num_cpus": self._cpus(), "num_gpus": int(gpu), "memory": memory}

    def _cpus(self) -> int:
        return self.threads or (1 if not self._uses_gpu() else 2)

    def _uses_gpu(self) -> bool:
        import ray

        wanted = self.device.startswith("cuda")
        there = ray.cluster_resources().get("GPU", 0) >= 1
        return wanted or (self.device == "auto" and there)

    def _count(self, plan: Plan) -> int:
        """How many actors: no more than fit, than are wanted, and than there are segments."""
        import ray

        there = ray.cluster_resources()
        needs = self._needs(plan)
        fit = int(there.get("CPU", 0) // needs["num_cpus"])
        fit = min(fit, int(there.get("memory", 0) // needs["memory"]))
        if needs["num_gpus"]:
            fit = min(fit, int(there.get("GPU", 0)))
        if not fit:
            raise DerainError(
                f"No node of the Ray cluster has {needs['num_cpus']:g} CPUs and "
                f"{needs['memory'] / 1e9:.1f} GB of memory for a worker; use fewer --threads, or "
                "smaller --tile."
            )
        return min(fit, self.workers or fit, len(plan.segments))

    def _start(self, job: Job, plan: Plan) -> ActorHandle[SegmentActor]:
        import ray
        from ray.actor import ActorHandle

        needs = self._needs(plan)
        actor = ray.remote(SegmentActor).options(
            max_restarts=-1,
            max_task_retries=-1,  # the segment that a call had is given up after three attempts
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(self._cpus())}},
            **needs,
        )
        place = job.folder
        folder = str(place) if isinstance(place, StorePath) else os.path.abspath(place)
        made = actor.remote(folder, self.device, self.tile, self._cpus())
        assert isinstance(made, ActorHandle)  # its types promise a class too
        return made


def answers(address: str) -> bool:
    """Whether anything listens at HOST:PORT or ray://HOST:PORT; Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return True  # auto, local, or a name that Ray judges
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTING):
            return True
    except (OSError, OverflowError):
        return False
