"""Training in two processes (gloo, CPU) against one process with the doubled batch.

The test runs this file twice, as torchrun would; each run leaves what it found in a file.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

from derain.configs.training import DataConfig, RefinementConfig, TrainingConfig
from derain.models import DerainError
from derain.stages.data.real_rain import refinement_samples
from derain.stages.data.rendered_clips import RainyClips, cached_clip, find_clips
from derain.stages.losses.refinement import refinement_objective
from derain.stages.training.distributed import Processes, Shard, init_distributed
from derain.stages.training.learner import make_learners, make_network
from derain.stages.training.loop import train

pytestmark = pytest.mark.timeout(900)  # two more processes start; seconds on a machine at rest
# As torchrun starts this file, with the environment that it gives.
START = f"""
import runpy
os.environ |= %r
runpy.run_path({__file__!r}, run_name="__main__")
"""
NETWORKS = {
    "swift": {"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4},
    "two_stage": {"width": 4, "blocks": 1},
}


def configuration(folder: Path, model: str, batch: int, **changes: Any) -> TrainingConfig:
    data = DataConfig(
        clips=str(folder / "clips"),
        real=str(folder / "clips"),
        real_prob=0.5,
        validation=None,
        frames=3,
        crop=48,
        batch=batch,
        workers=0,
    )
    settings = {
        "model": model,
        "settings": NETWORKS[model],
        "data": data,
        "refinement": RefinementConfig(
            settings={"width": 4, "layers": 2}, adversarial=0.1, critic_warmup=0
        ),
        "steps": 2,
        "warmup": 0,
        "precision": "fp32",
        "log_every": 1,
        "validate_every": 100,
    }
    return TrainingConfig(**settings | changes)


def gradients_of_two_steps(folder: Path, model: str, batch: int, processes: Processes) -> Any:
    """Gradients of network and discriminator, of two steps of two batches; and the buffers after.

    The steps are the discriminator's: the network stays, so that its gradients can be compared.
    """
    config = configuration(folder, model, batch)
    torch.manual_seed(0)
    network = make_network(config, fresh=True).train()
    learners = make_learners(
        config, network, refinement_objective(config, processes.device), processes
    )
    with processes.main_first():
        files = [cached_clip(p, folder / "cache") for p in find_clips(folder / "clips")]
        samples = refinement_samples(RainyClips(files, config.data, 1, 8), 1, folder / "cache")
    portion = Shard(samples, processes, 4)
    found: dict[str, Any] = {}
    for step in range(2):
        for learner in learners:
            learner.optimiser.zero_grad()
        for part in range(2):
            first = (2 * step + part) * batch
            given: Any = default_collate([portion[first + i] for i in range(batch)])
            for learner in learners:
                given, _ = learner.backward(given, 2, last=part == 1)
        for name, learner in zip(("network", "critic"), learners, strict=True):
            gradients = {k: p.grad.clone() for k, p in learner.module.named_parameters()}
            found[f"{name} {step}"] = gradients
        for parameter in learners[1].module.parameters():
            parameter.data -= 0.1 * parameter.grad
    found["buffers"] = dict(learners[1].module.named_buffers())
    return found


def worker(folder: Path) -> None:
    torch.set_num_threads(1)
    with init_distributed("cpu") as processes:
        found = {name: gradients_of_two_steps(folder, name, 1, processes) for name in NETWORKS}
        found["mean"] = processes.mean({"rank": torch.tensor(float(processes.rank))})
    torch.save(found, folder / f"found{os.environ['RANK']}.pt")
    lines: list[str] = []
    config = configuration(folder, "swift", 1, checkpointing=True)
    # On the first port the one process could meet what the other is about to leave.
    os.environ["MASTER_PORT"] = os.environ["SECOND_PORT"]
    train(config, folder / "run", device="cpu", report=lines.append)
    (folder / f"lines{os.environ['RANK']}.json").write_text(json.dumps(lines))


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_walk: Callable[..., Path],
    forked_for_module: Callable[..., Any],
) -> Path:
    """What two processes found, and the clip that they learned from."""
    folder = tmp_path_factory.mktemp("distributed")
    make_walk(folder / "clips", 8)
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        ports = [str(probe.getsockname()[1]) for probe in (first, second)]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": ports[0], "SECOND_PORT": ports[1]}
    shared |= {"XDG_CACHE_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    started = [
        forked_for_module(str(folder), script=START % (shared | {"RANK": rank, "LOCAL_RANK": rank}))
        for rank in "01"
    ]
    ends = [process.communicate() for process in started]
    assert [code for _, _, code in ends] == [0, 0], [said for _, said, _ in ends]
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_two_processes_give_the_gradients_of_the_doubled_batch(name: str, folder: Path) -> None:
    """Of the network and of the discriminator, with accumulation, real rain and grey clips."""
    found = [torch.load(folder / f"found{rank}.pt", weights_only=True)[name] for rank in (0, 1)]
    alone = gradients_of_two_steps(folder, name, 2, Processes(torch.device("cpu")))
    for key in ("network 0", "critic 0", "network 1", "critic 1"):
        for parameter, expected in alone[key].items():
            largest = float(expected.abs().max())
            for one in found:
                torch.testing.assert_close(
                    one[key][parameter], expected, rtol=1e-3, atol=1e-5 + 1e-4 * largest
                )
        assert any(float(x.abs().max()) > 1e-3 for x in alone[key].values())


@pytest.mark.parametrize("name", NETWORKS)
def test_spectral_norms_agree_between_processes(name: str, folder: Path) -> None:
    a, b = (torch.load(folder / f"found{rank}.pt", weights_only=True)[name] for rank in (0, 1))
    assert len(a["buffers"]) > 4
    for key, value in a["buffers"].items():
        assert torch.equal(value, b["buffers"][key]), key
    for step in ("network 0", "critic 1"):
        for key, value in a[step].items():
            assert torch.equal(value, b[step][key]), key


def test_one_process_writes_and_all_know_the_mean(folder: Path, tmp_path: Path) -> None:
    for rank in (0, 1):
        found = torch.load(folder / f"found{rank}.pt", weights_only=True)
        assert found["mean"] == {"rank": 0.5}
    lines = [json.loads((folder / f"lines{rank}.json").read_text()) for rank in (0, 1)]
    assert len(lines[0]) == 2
    assert lines[1] == []
    assert (folder / "run" / "swift.safetensors").is_file()
    rows = [json.loads(x) for x in (folder / "run" / "metrics.jsonl").open()]
    train(configuration(folder, "swift", 2), tmp_path / "run", device="cpu")
    alone = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert len(rows) == 2
    names = ("loss", "image", "flicker", "dark", "grey", "adversarial", "gradient", "critic loss")
    for name in (*names, "critic gradient", "truth gradient", "adversary gradient"):
        assert rows[0][name] == pytest.approx(alone[name], rel=1e-3, abs=1e-6), name


class Numbers:
    """Samples that are their indices."""

    config = DataConfig(batch=3)

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("size", [1, 2, 3])
def test_portions_are_the_joint_batches(size: int) -> None:
    device = torch.device("cpu")
    portions = [
        Shard(Numbers(), Processes(device, rank, size), 2)  # type: ignore[arg-type]
        for rank in range(size)
    ]
    assert [len(portion) for portion in portions] == [6] * size
    for step in range(2):
        joint = [portion[3 * step + i] for portion in portions for i in range(3)]
        assert joint == list(range(3 * size * step, 3 * size * (step + 1)))


def test_more_processes_than_gpus_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DerainError, match="--nproc-per-node 1"), init_distributed("cuda"):
        pass


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
