"""The command `derain live`: options in, a session, a page or a window.

Heavy imports stay inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from derain.pipeline.cli.common import (
    ADVANCED,
    COMMON,
    ENCODING,
    FILES,
    AllowNetworkPlaylists,
    Boldness,
    ChosenModel,
    Debug,
    Device,
    Haze,
    InputFormat,
    InputOpt,
    Overwrite,
    Precision,
    Quality,
    SceneReset,
    Streaks,
    Weights,
    key_values,
    say,
)

if TYPE_CHECKING:
    import threading

    from derain.pipeline.live.http import LiveServer
    from derain.pipeline.live.session import Live, LiveOptions

HTTP = "127.0.0.1:8000"
SOURCE = "Source"


def live(
    source: Annotated[
        str, typer.Argument(help="Camera number or device, URL, file, or lavfi:GRAPH.")
    ] = "0",
    http: Annotated[
        str | None,
        typer.Option(help=f"Show in the browser here, such as {HTTP}.", rich_help_panel=COMMON),
    ] = None,
    window: Annotated[
        bool, typer.Option("--window", help="Show in a window.", rich_help_panel=COMMON)
    ] = False,
    quality: Quality = None,
    streaks: Streaks = 1.0,
    haze: Haze = 1.0,
    boldness: Boldness = 0.5,
    resolution: Annotated[
        str,
        typer.Option(
            help="WIDTHxHEIGHT to work at, source, or auto: what the machine can take.",
            rich_help_panel=COMMON,
        ),
    ] = "auto",
    fps: Annotated[
        float | None, typer.Option(help="Frames a second, at most.", rich_help_panel=SOURCE)
    ] = None,
    every: Annotated[
        int, typer.Option(min=1, help="Only each so many-th frame.", rich_help_panel=SOURCE)
    ] = 1,
    record: Annotated[
        str | None,
        typer.Option(help="Also write what is shown; without sound.", rich_help_panel=COMMON),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET",
            help="Also send it on, sound too; repeatable: rtsp:// rtmp:// srt:// udp:// tcp://, "
            "camera:, hls:FOLDER, - or mjpeg:- (standard output).",
            rich_help_panel=COMMON,
        ),
    ] = None,
    codec: Annotated[
        str | None, typer.Option(help="Encoder of --record and --to.", rich_help_panel=ENCODING)
    ] = None,
    crf: Annotated[
        float | None,
        typer.Option(
            help="Quality of --record and --to: lower is better.", rich_help_panel=ENCODING
        ),
    ] = None,
    overwrite: Overwrite = False,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            help="A file at its own pace; else every frame of it.",
            rich_help_panel=SOURCE,
        ),
    ] = False,
    loop: Annotated[
        bool, typer.Option("--loop", help="A file again and again.", rich_help_panel=SOURCE)
    ] = False,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="End after so long.", rich_help_panel=SOURCE)
    ] = None,
    snapshots: Annotated[
        Path, typer.Option(help="Folder for the window's snapshots.", rich_help_panel=FILES)
    ] = Path(),
    model: ChosenModel = None,
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    token: Annotated[
        str | None,
        typer.Option(
            help="Secret that viewers need; made up for addresses others can reach.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    scene_reset: SceneReset = "auto",
    opencv: Annotated[
        bool,
        typer.Option(
            "--opencv", help="Read the camera with OpenCV, not FFmpeg.", rich_help_panel=ADVANCED
        ),
    ] = False,
    input_format: InputFormat = None,
    input_opt: InputOpt = None,
    allow_network_playlists: AllowNetworkPlaylists = False,
    debug: Debug = False,
) -> None:
    """Watch the rain go away: a camera, a stream or a file, in the browser or a window."""
    import cv2  # noqa: F401  (before PyAV, or no window ever opens: see window.py)

    from derain.pipeline.live.session import Live, LiveOptions
    from derain.pipeline.streaming.inputs import interruptible
    from derain.pipeline.streaming.quality import choose_model
    from derain.pipeline.video.encoders import Encoding

    network, network_weights = choose_model("live", model, weights, quality)
    options = LiveOptions(
        source=source,
        model=network,
        weights=network_weights,
        device=device,
        precision=precision,
        streaks=streaks,
        haze=haze,
        boldness=boldness,
        resolution=resolution,
        fps=fps,
        every=every,
        realtime=realtime,
        loop=loop,
        opencv=opencv,
        input_format=input_format,
        input_options=key_values(input_opt),
        allow_network_playlists=allow_network_playlists,
        scene_reset=scene_reset,
        record=record,
        to=tuple(to or ()),
        encoding=Encoding(codec, crf),
        overwrite=overwrite,
    )
    in_window, address = _choose_preview(window, http, sends=bool(to))
    with interruptible([record] if record else []) as stop:
        session = Live(options, say=say)
        server = _serve(session, address, token) if address else None
        with session:
            _until_the_end(session, stop, seconds, snapshots if in_window else None)
        if server is not None:
            server.shutdown()
            if not stop.is_set() and not session.capture.source.lives:
                say("the film is over; --loop plays it again and again")
    say(_summary(session, options))


def _choose_preview(window: bool, http: str | None, sends: bool) -> tuple[bool, str | None]:
    """Whether to open a window, and the address of the page; asked for, or what can be had.

    Args:
        window: a window is asked for.
        http: the address that is asked for.
        sends: the frames go to receivers, so that nobody here needs to look.
    """
    from derain.models.errors import DerainError
    from derain.pipeline.live.window import can_open_window

    if http is not None and not window:
        return False, http
    if sends and not window:
        return False, None
    if can_open_window():
        return True, http
    if window:
        raise DerainError(
            f"No window can be opened here; leave --window out and look with a browser: "
            f"--http {http or HTTP}."
        )
    return False, HTTP


def _serve(session: Live, address: str, token: str | None) -> LiveServer:
    from derain.pipeline.live.http import LiveServer
    from derain.pipeline.web.access import choose_token
    from derain.pipeline.web.address import parse_address

    host, port = parse_address(address)
    server = LiveServer(session, (host, port), choose_token(token, host))
    server.start()
    say(f"open {server.url}")
    return server


def _until_the_end(
    session: Live, stop: threading.Event, seconds: float | None, snapshots: Path | None
) -> None:
    """Wait for the user, the clock or the source."""
    import threading

    if seconds is not None:
        timer = threading.Timer(seconds, stop.set)
        timer.daemon = True
        timer.start()
    if snapshots is not None:
        from derain.pipeline.live.window import show_window

        say("showing in a window; --http shows it in the browser")
        show_window(session, stop, folder=snapshots, say=say)
        return
    while not session.ended and not stop.wait(0.2):
        pass


def _summary(session: Live, options: LiveOptions) -> str:
    from derain.models.log import mask_credentials

    text = f"{session.frames} frames derained, {session.latest.dropped} dropped"
    if session.size is not None:
        text += f", at {session.size[0]}x{session.size[1]}"
    if options.record:
        text += f"; recorded to {options.record}"
    for push in session.outputs.pushes:
        text += f"; {push.frames} sent to {mask_credentials(push.target.name)}"
    return text


def add_commands(app: typer.Typer) -> None:
    """Register the command on `app`."""
    app.command("live", rich_help_panel="Remove rain")(live)
