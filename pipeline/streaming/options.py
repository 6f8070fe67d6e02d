"""What a user can ask of a run, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from derain.pipeline.video.encoders import Encoding
from derain.pipeline.video.reader import WARM_UP


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """Which network, where it runs, and how much it removes; model_loading.py opens it.

    Args:
        model: a name of `derain.models.list_models()`, or a weight file that says its network.
        weights: a weight file for that name; None takes the shipped ones.
        device: auto, cpu, cuda, cuda:1, mps, xpu.
        precision: auto, fp32, bf16, fp16 or int8; fp16 is not for the CPU.
        streaks, haze: shares to remove, 0 to 1.
        boldness: 0 leaves what might not be rain, 1 removes what might be.
        engine: what computes the network's core.
        tile: pixels a side of the tiles that frames are derained in, `auto` or `off`.
    """

    model: str = "swift"
    weights: str | None = None
    device: str = "auto"
    precision: str = "auto"
    streaks: float = 1.0
    haze: float = 1.0
    boldness: float = 0.5
    engine: Literal["auto", "torch", "openvino"] = "auto"
    tile: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions(NetworkOptions):
    """What a user can ask of `derain video`; the command line's options have the same names."""

    speed: str = "best"  # or "fast": rain estimated at half the size
    steady: bool = False  # blend the results of per-frame networks over time
    encoding: Encoding = Encoding()  # noqa: RUF009 (frozen)
    format: str | None = None  # of the output, where its name does not say it
    input_format: str | None = None
    input_options: dict[str, str] = field(default_factory=dict)
    hwaccel: str | None = None
    allow_network_playlists: bool = False  # and those that name files outside their folder
    interlaced: str = "auto"  # or "keep"
    scene_reset: str = "auto"  # or "off"
    start: float | None = None  # seconds
    end: float | None = None
    warm_up: int = WARM_UP  # frames before start that fill the network's window and memory
    compare: str | None = None  # "side" or "wipe": before and after in one frame
    protect: tuple[str, ...] = ()  # regions X,Y,W,H and mask images that stay as they are
    layers: str | None = None  # folder for images of streaks, transmission, …
    overwrite: bool = False
    resume: bool = False
    allow_damaged: bool = False  # an incomplete source is no failure
    checkpoint_seconds: float = 10.0

    def output_settings(self) -> VideoOptions:
        """The options that form the output, for comparing two runs."""
        where = replace(self, device="", tile="", engine="auto")
        return replace(
            where, overwrite=False, resume=False, allow_damaged=False, checkpoint_seconds=0
        )


CHANGED = 4 / 255  # a change that can be seen
SECOND = 25  # frames
# Share of such changes, in the second with most of them, below which a film was changed next to
# nothing: clean clips have up to 0.2 %, drops on glass 0.01 %, light rain 2 % and more.
UNCHANGED = 0.0025


@dataclass(slots=True)
class Report:
    """What became of one input."""

    source: str
    target: str
    frames_in: int = 0
    frames_out: int = 0
    total: int = 0  # frames the input declares; 0 where nobody knows
    shots: int = 0
    repeats: int = 0
    damaged: int = 0
    resumed_at: int = 0
    seconds: float = 0.0
    measured: int = 0  # frames of this run that `changed` is the mean of
    changed: float = 0.0  # share of samples that the network changed by more than CHANGED
    changed_lately: float = 0.0  # the same, of about a second
    changed_most: float = 0.0  # the most that `changed_lately` was: it may rain for a while only
    skipped: bool = False
    incomplete: bool = False  # the source ended before it should
    notices: list[str] = field(default_factory=list)

    def measure(self, changed: float) -> None:
        """Take the share of samples of one more frame that were changed."""
        self.measured += 1
        self.changed += (changed - self.changed) / self.measured
        self.changed_lately += (changed - self.changed_lately) / min(self.measured, SECOND)
        if self.measured >= SECOND:
            self.changed_most = max(self.changed_most, self.changed_lately)

    @property
    def unchanged(self) -> bool:
        """Whether a second of frames or more came out next to as they went in."""
        return self.measured >= SECOND and self.changed_most < UNCHANGED

    def notice(self, text: str) -> None:
        """Note a sentence, once."""
        if text not in self.notices:
            self.notices.append(text)


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; the text says what is left and how to go on."""
