"""The `derain` command: options in, exit codes out. The work is done in the modules next to it.

Exit codes: 0 all done, 1 some inputs failed, 2 wrong use, 130 interrupted.
Heavy imports stay inside the commands, so that `derain --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .cli_lab import add_commands

app = typer.Typer(
    name="derain",
    help="Remove rain from video: the same film without rain, sound and timing untouched.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Option("--model", "-m", help="Which network; see derain models.")]
Weights = Annotated[str | None, typer.Option(help="Another weight file for the network.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
Codec = Annotated[str | None, typer.Option(help="Encoder, by FFmpeg's name.")]
Crf = Annotated[float, typer.Option(help="Quality of the encoder: lower is better and larger.")]
Preset = Annotated[str | None, typer.Option(help="Speed of the encoder: ultrafast … veryslow.")]
EncoderOption = Annotated[
    list[str] | None, typer.Option("--encoder-opt", help="More for the encoder, as key=value.")
]
Streaks = Annotated[float, typer.Option(help="Share of the streaks to remove, 0 to 1.")]
Haze = Annotated[float, typer.Option(help="Share of the haze to remove, 0 to 1.")]
Overwrite = Annotated[bool, typer.Option("-y", help="Replace outputs that are there.")]


@app.command()
def video(
    inputs: Annotated[list[str], typer.Argument(help="Video files.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The file to make.")],
    model: Model = "swift",
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    codec: Codec = None,
    crf: Crf = 18,
    preset: Preset = None,
    encoder_opt: EncoderOption = None,
    streaks: Streaks = 1.0,
    haze: Haze = 1.0,
    overwrite: Overwrite = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Progress as JSON lines.")] = False,
) -> None:
    """Remove the rain from video files."""
    from .progress import choose_reporter
    from .stream import VideoOptions, derain_video
    from .video import Encoding

    reporter = choose_reporter(log_json)
    options = VideoOptions(
        model=model,
        weights=weights,
        device=device,
        precision=precision,
        streaks=streaks,
        haze=haze,
        encoding=Encoding(codec, crf, preset, key_values(encoder_opt or [])),
        overwrite=overwrite,
    )
    try:
        for source in inputs:
            reporter.done(derain_video(source, output, options, progress=reporter.frame))
    finally:
        reporter.close()


def key_values(pairs: list[str]) -> dict[str, str]:
    """`["a=1", …]` to `{"a": "1", …}`."""
    for pair in pairs:
        if "=" not in pair:
            raise typer.BadParameter(f"'{pair}' is not key=value", param_hint="--encoder-opt")
    return dict(pair.split("=", 1) for pair in pairs)


@app.callback()
def _commands() -> None:
    """Remove rain from video: the same film without rain, sound and timing untouched."""


add_commands(app)


def main() -> None:
    """Run the command line; known failures become one sentence and an exit code."""
    from derain.models.contract import DerainError

    try:
        app()
    except DerainError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
