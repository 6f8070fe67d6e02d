"""The page in a real browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from derain.models.networks.per_frame import PerFrame
from derain.pipeline.live.http import LiveServer
from derain.pipeline.live.session import Live, LiveOptions

pytestmark = pytest.mark.timeout(280)


class Darken(nn.Module):
    """Half as bright, so that before and after can be told apart anywhere."""

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy / 2


# The mean brightness of a place of the frame, as shares of its width.
MEAN = """(() => {
  const c = document.getElementById("frame"), w = c.width, h = c.height;
  const data = c.getContext("2d").getImageData(%f * w, 0, Math.max(1, 0.1 * w), h).data;
  let sum = 0;
  for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];
  return 1 + sum / data.length * 4 / 3;
})()"""
# The first frame by WebRTC is gone before it is drawn, as happens in a busy browser.
LOSE_A_FRAME = """
const draw = window.createImageBitmap;
window.lost = 0;
window.createImageBitmap = (source, ...more) => {
  if (!(source instanceof HTMLVideoElement) || window.lost) return draw(source, ...more);
  window.lost = 1;
  return Promise.reject(new DOMException("not usable", "InvalidStateError"));
};
"""
FRAME = 'Number(document.getElementById("frame").dataset.frame)'


def text(name: str) -> str:
    return f'document.getElementById("{name}").textContent'


def test_the_page_shows_compares_and_controls(browser: Any) -> None:
    source = "lavfi:color=c=gray:size=320x180:rate=25,noise=alls=20:allf=t"
    with Live(LiveOptions(source, resolution="source"), PerFrame(Darken())) as live:
        server = LiveServer(live, ("127.0.0.1", 0), "secret")
        server.start()
        browser.open(server.url)

        # Moving frames.
        first = browser.wait(FRAME)
        browser.wait(f"{FRAME} > {first} + 3")
        assert browser.run('return document.getElementById("frame").width') == 320

        # Left of the border the rain, right of it what the network made.
        left, right = browser.run(f"return {MEAN % 0.3}"), browser.run(f"return {MEAN % 0.6}")
        assert right < 0.65 * left

        # The slider moves the border.
        box = browser.run(
            'const b = document.getElementById("frame").getBoundingClientRect();'
            "return [b.left, b.top, b.width, b.height]"
        )
        middle = round(box[1] + box[3] / 2)
        at = [(round(box[0] + share * box[2]), middle) for share in (0.5, 0.6, 0.8)]
        browser.drag(at)
        browser.wait('document.getElementById("border").getAttribute("aria-valuenow") == "80"')
        assert browser.run(f"return {MEAN % 0.6}") > 0.9 * left
        assert browser.run(f"return {MEAN % 0.85}") < 0.65 * left

        # The strength changes pixels.
        browser.run(
            'const s = document.getElementById("streaks"); s.value = 0;'
            's.dispatchEvent(new Event("input")); s.dispatchEvent(new Event("change"))'
        )
        browser.wait(f"{MEAN % 0.85} > {0.9 * left}")
        assert live.derainer.streaks == 0

        # Numbers arrive.
        browser.wait(f"Number({text('fps')}) > 0 && Number({text('p95')}) > 0")
        browser.wait(f"{text('part-delivery')}.endsWith('ms')")
        browser.wait(f"{text('state')} == 'live' && {text('viewers')} == '1'")

        # Pause holds the frame.
        browser.run('document.getElementById("pause").click()')
        browser.wait(f"{text('state')} == 'paused'")
        assert not live.running.is_set()
        browser.run('document.getElementById("pause").click()')
        browser.wait(f"{text('state')} == 'live'")
        server.shutdown()


def test_the_page_shows_the_same_by_webrtc(browser: Any) -> None:
    pytest.importorskip("aiortc", reason="needs aiortc: pip install 'derain[webrtc]'")
    source = "lavfi:color=c=gray:size=320x180:rate=25,noise=alls=20:allf=t"
    with Live(LiveOptions(source, resolution="source"), PerFrame(Darken())) as live:
        server = LiveServer(live, ("127.0.0.1", 0), "secret")
        server.start()
        browser.open(server.url)
        browser.wait(f'{FRAME} && !document.getElementById("thin-label").hidden')
        browser.run(LOSE_A_FRAME)
        browser.run('document.getElementById("thin").click()')
        browser.wait("peer?.connectionState == 'connected'")
        for _ in range(3):  # MJPEG has ended: what comes now is WebRTC's
            last = browser.run(f"return {FRAME}")
            browser.wait(f"{FRAME} != {last}")
        browser.wait("window.lost")
        left, right = browser.run(f"return {MEAN % 0.3}"), browser.run(f"return {MEAN % 0.6}")
        assert right < 0.65 * left
        assert browser.run('return document.getElementById("thin").checked')
        # Back again: the viewer by WebRTC leaves, the one by MJPEG is the only one.
        browser.run('document.getElementById("thin").click()')
        browser.wait(f"{text('viewers')} == '1' && peer === null")
        server.shutdown()


@pytest.mark.slow
def test_a_screenshot_of_the_own_scene(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For README: set DERAIN_SCREENSHOT to where it goes, and DERAIN_SCREENSHOT_MODEL."""
    from derain.models.ops.image_arrays import to_uint8
    from derain.pipeline.rendered.demo import RAIN
    from derain.pipeline.rendered.scenes import demo_frames
    from derain.pipeline.rendered.synth import named_rain, rain_on
    from derain.pipeline.video import Encoding, write_rgb

    monkeypatch.chdir(tmp_path)  # the page shows the path
    scene = "village.mp4"
    rain = rain_on(demo_frames(360, 640, 40), named_rain(RAIN, 360), RAIN.seed)
    write_rgb(scene, (to_uint8(r.rainy[0]) for r in rain), 25, Encoding(crf=12))
    model = os.environ.get("DERAIN_SCREENSHOT_MODEL", "median")
    options = LiveOptions(scene, model=model, realtime=True, loop=True, resolution="source")
    with Live(options) as live:
        server = LiveServer(live, ("127.0.0.1", 0))
        server.start()
        browser.open(server.url)
        browser.wait(f"{FRAME} > 60 && Number({text('p95')}) > 0")
        image = browser.screenshot()
        assert image[:4] == b"\x89PNG"
        target = os.environ.get("DERAIN_SCREENSHOT")
        if target:
            Path(target).write_bytes(image)
        server.shutdown()
