"""What a job is: its settings, what is told of it, and what only the server knows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from derain.models.errors import DerainError
from derain.pipeline.streaming.quality import Quality

State = Literal["held", "queued", "running", "stopping", "stopped", "done", "failed"]
Origin = Literal["upload", "folder", "watch"]
ENDED = frozenset({"held", "stopped", "done", "failed"})  # nothing happens until somebody asks


class ConflictError(DerainError):
    """What is asked does not fit the state of the job."""


Region = Annotated[str, Field(pattern=r"^\d{1,5},\d{1,5},\d{1,5},\d{1,5}$")]


class Settings(BaseModel):
    """The dials of a job."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    quality: Quality = Field("balanced", description="how good, how slow")
    streaks: float = Field(1.0, ge=0, le=1, description="share of the streaks to remove")
    haze: float = Field(1.0, ge=0, le=1, description="share of the haze to remove")
    boldness: float = Field(
        0.5, ge=0, le=1, description="0 leaves what might not be rain, 1 removes what might be"
    )
    speed: Literal["best", "fast"] = Field(
        "best", description="fast finds the rain at half size: for 1080p and 4K"
    )
    protect: tuple[Region, ...] = Field(
        (),
        max_length=20,
        description="regions X,Y,W,H that stay as they are, in pixels of the upright frame",
    )
    codec: str | None = Field(
        None, pattern=r"^[a-z0-9_-]{1,40}$", description="encoder by FFmpeg's name; by container"
    )
    crf: float | None = Field(
        None, ge=0, le=63, description="quality of the encoder: lower is better"
    )


class Film(BaseModel):
    """What a film is, as far as its file says."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int
    fps: float
    frames: int = Field(description="as declared or estimated; 0 where nobody knows")
    seconds: float | None = None


def check_regions(settings: Settings, film: Film) -> None:
    """Refuse regions to protect that the film's frames do not hold.

    Raises:
        DerainError: one lies outside, or is empty.
    """
    for region in settings.protect:
        x, y, width, height = map(int, region.split(","))
        if not (width and height and x + width <= film.width and y + height <= film.height):
            raise DerainError(
                f"The region {region} does not lie in frames of {film.width}x{film.height}; "
                "it is X,Y,WIDTH,HEIGHT in pixels from the upper left corner."
            )


class Preview(BaseModel):
    """What a preview found; its sheet is at `preview.png`."""

    model_config = ConfigDict(frozen=True)

    state: Literal["queued", "running", "done", "failed"] = "queued"
    error: str | None = None
    settings: Settings | None = Field(None, description="the dials that it was made with")
    rain: list[str] = Field([], description="falling streaks, haze, drops on glass")
    nothing: str | None = Field(None, description="why next to nothing would be changed")
    fps: float = 0.0
    seconds: float = Field(0.0, description="that the whole film takes")
    size: int = Field(0, description="bytes of the result")


class JobView(BaseModel):
    """A job, as everybody who may ask sees it. Times are seconds since 1970."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str = Field(description="of the film; never a path")
    result: str = Field(description="name of the result")
    origin: Origin
    state: State
    settings: Settings = Settings()
    film: Film | None = None
    size: int = 0
    frames: int = Field(0, description="that are done, those of interrupted runs included")
    total: int = 0
    fps: float = Field(0.0, description="of this run")
    seconds_left: float | None = None
    notices: list[str] = []
    error: str | None = None
    preview: Preview | None = None
    result_size: int | None = None
    created: float = 0.0
    started: float | None = None
    finished: float | None = None


class Process(BaseModel):
    """A process of this machine; numbers are given anew, but not with the same time."""

    model_config = ConfigDict(frozen=True)

    pid: int
    created: float


class Job(JobView):
    """A job, with what only the server knows."""

    source: str
    target: str
    queued: float = 0.0  # since when; the first comes first
    process: Process | None = None  # the one that worked on it last
