"""The page in a real browser: a film goes in, is watched while it is rendered, comes out."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from derain.pipeline.video import read_rgb

pytestmark = pytest.mark.timeout(500)

DROP = """
const data = new DataTransfer();
const bytes = Uint8Array.from(atob("%s"), c => c.charCodeAt(0));
data.items.add(new File([bytes], %r));
dispatchEvent(new DragEvent("drop", {dataTransfer: data, cancelable: true}));
"""
LENGTH = 1200  # frames: it is still worked at when the page has shown several
CARD = "document.querySelector('.job[data-id]')"
TIME = "Number(document.getElementById('frame').dataset.time)"
# Mean brightness of the middle of a half of the frame: specks of rain make it brighter.
HALF = """(() => {
  const c = document.getElementById("frame");
  const data = c.getContext("2d").getImageData(%s * c.width, 0, 0.25 * c.width, c.height).data;
  let bright = 0;
  for (let i = 0; i < data.length; i += 4) bright += data[i] > 230;
  return bright / data.length * 4;
})()"""


def badge(word: str) -> str:
    return f"{CARD}?.querySelector('.badge').textContent == '{word}'"


def press(browser: Any, name: str) -> None:
    browser.run(
        f"[...{CARD}.querySelectorAll('button, a.button')]"
        f".find(each => each.textContent == '{name}').click()"
    )


def test_drop_watch_download_and_compare(
    browser: Any, serve: Callable[..., Any], film: Callable[..., Path], tmp_path: Path
) -> None:
    server = serve("--token", "secret")
    source = film(LENGTH, (160, 120))
    browser.download_to(tmp_path)
    browser.open(server.url)
    browser.wait("document.getElementById('state').textContent == 'connected'")

    # What is no film is refused with a sentence.
    problem = "document.getElementById('problem')"
    browser.run(DROP % (b64encode(b"nonsense").decode(), "letter.txt"))
    browser.wait(f"{problem}.textContent.startsWith('letter.txt: The name must end')")

    browser.run(DROP % (b64encode(source.read_bytes()).decode(), "räin <b>.mp4"))
    browser.wait(badge("waits for you"))
    assert browser.run(f"return {CARD}.querySelector('h3').textContent") == "räin <b>.mp4"
    # Dials that cannot be: nothing starts without what the page shows.
    browser.run(f"{CARD}.querySelector('.crf').value = '99'")
    press(browser, "Start")
    browser.wait(f"{problem}.textContent.startsWith('CRF is')")
    assert browser.run(f"return {badge('waits for you')}")
    browser.run(f"{CARD}.querySelector('.crf').value = ''")
    browser.run(f"{CARD}.querySelector('input[value=fast]').click()")
    press(browser, "Start")

    # While it is rendered its frames are there, and newer ones follow.
    browser.wait(f"{badge('working')} && {TIME} > 0")
    first = browser.run(f"return {TIME}")
    browser.wait(f"{TIME} > {first}")
    assert browser.run(f"return {badge('working')}")
    rain, derained = (browser.run(f"return {HALF % at}") for at in (0.1, 0.65))
    assert rain > 0.005 and derained < rain / 3
    browser.run("move(1)")
    assert browser.run(f"return {HALF % 0.65}") > 0.005

    press(browser, "Stop")
    browser.wait(badge("stopped"))
    press(browser, "Resume")
    browser.wait(badge("done"))
    press(browser, "Download")
    target = tmp_path / "räin <b>_clean.mp4"
    until = time.monotonic() + 60
    while not list(tmp_path.glob("r*.mp4")) and time.monotonic() < until:
        time.sleep(0.05)
    (target,) = tmp_path.glob("r*.mp4")  # browsers change what their systems do not take
    shares = [
        [float((frame > 0.9).mean()) for frame in read_rgb(path)] for path in (source, target)
    ]
    assert [len(each) for each in shares] == [LENGTH, LENGTH]
    assert np.mean(shares[1]) < np.mean(shares[0]) / 3
