"""`plan.json`: all that workers must agree on. Making one is planning.py's.

A plan holds no frames: paths, time stamps, and which frames belong together.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from derain.models.errors import DerainError
from derain.models.registry import ENTRIES, weights_file
from derain.pipeline.storage.shared import replace, scratch
from derain.pipeline.storage.stores import SharedPath, StoreError, StorePath, shared_path
from derain.pipeline.streaming.checkpoints import fingerprint_of
from derain.pipeline.streaming.options import VideoOptions

VERSION: Literal[1] = 1  # of the schema
Ratio = Annotated[
    Fraction, BeforeValidator(Fraction), PlainSerializer(str, return_type=str)
]  # "1/25" in the file


class Segment(BaseModel):
    """Frames that one worker derains at a stretch, `first` to `end` - 1.

    context_from, context_to: the frames around them that the network must see.
    thumbnail: brightness of the first context frame, 8x8 bytes in hexadecimal: a worker that winds
        the source compares it to know where it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    context_from: int
    first: int
    end: int
    context_to: int
    thumbnail: str = ""

    @property
    def frames(self) -> int:
        """How many are written."""
        return self.end - self.first


class StreamNote(BaseModel):
    """One stream of the source, for people who read the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    kind: str
    codec: str


class Plan(BaseModel):
    """What becomes of one film, and by whom it may be made.

    product, weights: the version of derain, and a hash of the network's weights.
    fingerprint: of the source, as checkpoints have it.
    options: of the run; their encoding is the one that was tried, with what joining needs.
    suffix: the ending of the output that the encoder was chosen for.
    pts: of all frames in the order to show them, in units of `time_base` seconds; those before
        `first` only warm up (--start).
    last_duration: how long the last frame stays, in the same units.
    damaged: places of the source that could not be decoded. missing: what it lacks, as a sentence.
    shots: the frames that begin one. repeats: the frames that show what the one before showed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = VERSION
    product: str
    weights: str
    source: str
    fingerprint: dict[str, object]
    options: VideoOptions
    suffix: str
    streams: list[StreamNote]
    width: int
    height: int
    time_base: Ratio
    pts: list[int]
    first: int
    last_duration: int
    shots: list[int]
    repeats: list[int]
    warm_up: int
    damaged: int
    missing: str
    segments: list[Segment]

    @property
    def frames(self) -> int:
        """How many are written."""
        return len(self.pts) - self.first

    @property
    def options_hash(self) -> str:
        """Of the options that form the output."""
        return sha256(str(self.options.output_settings()).encode()).hexdigest()

    def check_worker(self, weights: str) -> None:
        """Refuse to work with anything else than what was planned.

        Args:
            weights: the hash of this worker's weights.

        Raises:
            DerainError: another version of derain or of the weights, or a changed source.
        """
        own = product_version()
        if own != self.product:
            raise DerainError(
                f"The plan was made by derain {self.product} and this is {own}; install the same "
                "version everywhere, or plan again."
            )
        if weights != self.weights:
            raise DerainError(
                "The weights here are not those that the film was planned with; copy them from "
                "there, or plan again."
            )
        self.check_source()

    def check_source(self) -> None:
        """Refuse a source that is not there or that changed since it was planned.

        Raises:
            DerainError: so it is.
        """
        stored = shared_path(self.source)
        if isinstance(stored, StorePath) and not stored.exists():
            raise DerainError(f"There is no {self.source} any more; put it back, or plan again.")
        if os.path.isabs(self.source) and not os.path.exists(self.source):
            raise DerainError(
                f"There is no file {self.source} on this machine; mount it there, as it was when "
                "the film was planned."
            )
        if fingerprint_of(self.source, "") != self.fingerprint:
            raise DerainError(f"{self.source} changed since it was planned; plan it again.")


@dataclass(frozen=True, slots=True)
class Job:
    """The folder that a plan and all its workers share."""

    folder: SharedPath

    @property
    def plan(self) -> SharedPath:
        """What is to be done."""
        return self.folder / "plan.json"

    @property
    def leases(self) -> SharedPath:
        """Who does what."""
        return self.folder / "leases"

    @property
    def work(self) -> Path:
        """Parts that are being written; on this machine's disk where the job lies in a store."""
        return scratch(self.folder) / "work"

    @property
    def parts(self) -> SharedPath:
        """Parts that are complete."""
        return self.folder / "parts"

    @property
    def journal(self) -> SharedPath:
        """What was done, a file for each worker."""
        return self.folder / "journal"

    def make(self) -> None:
        """Make the folders in it."""
        for folder in (self.leases, self.work, self.parts, self.journal):
            folder.mkdir(parents=True, exist_ok=True)


def write_plan(job: Job, plan: Plan) -> None:
    """Write a plan as a whole; the workers may start at once."""
    job.make()
    replace(job.plan, plan.model_dump_json())


def read_plan(job: Job) -> Plan:
    """Read a plan.

    Raises:
        DerainError: there is none, it is of a later version, or it is no plan.
    """
    try:
        text = job.plan.read_text(encoding="utf-8")
    except StoreError:
        raise
    except OSError as error:
        raise DerainError(
            f"There is no plan in {job.folder}; make one with derain plan FILM -o {job.folder}."
        ) from error
    try:
        found = json.loads(text)
        later = isinstance(found, dict) and isinstance(found.get("version"), int)
        if later and found["version"] > VERSION:
            raise DerainError(
                f"{job.plan} is of a later version of derain; install that here, or plan again."
            )
        return Plan.model_validate(found)
    except (ValueError, ValidationError) as error:
        raise DerainError(f"{job.plan} is not a plan of derain; plan the film again.") from error


def product_version() -> str:
    """The version of derain that runs."""
    try:
        return version("derain")
    except PackageNotFoundError:
        return "unknown"


def weights_hash(options: VideoOptions) -> str:
    """A hash of the weights that options name; empty where nothing is learned."""
    path = Path(options.weights) if options.weights else None
    if path is None:
        path = weights_file(options.model) if options.model in ENTRIES else Path(options.model)
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            digest = sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DerainError(f"{path} cannot be read ({error.strerror}); check --weights.") from error
    return digest.hexdigest()
