"""One word for one thing: words that this project has given up for the field's own stay away.

`picture` is the widest of them. What comes out of a decoder or goes into an encoder at a time is a
frame; every other array of pixels, and a file with one still, is an image. `picture` stays in terms
of standards alone: an attached picture (cover art), a group of pictures, picture in picture.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("configs", "models", "pipeline", "stages", "tests", ".readme")
ENDINGS = {".py", ".md", ".yaml", ".html", ".css", ".js"}
# These name old words to refuse them.
EXEMPT = {"tests/test_words.py", "configs/training.py", ".readme/CHANGELOG.md"}

INSTEAD = {
    r"(?<!attached )(?<!group of )(?<!groups of )(?<!picture in )picture": "frame or image",
    r"\bglance|glimpse": "haze estimator, thumbnail",
    r"\binvert_veil|\bveil": "add_haze, dehaze",
    r"wipe_memory|\bForgetful": "reset_hidden_state, stateless",
    r"\bCutter\b|\bFootprint\b": "TilePlanner, MemoryProfile",
    r"\bdecibel_loss|\bshare_loss": "log_mse, bernoulli_kl",
    r"\bclip_gradient\b": "max_grad_norm",
    r"\btell_losses\b": "warn_unsupported_features",
    r"\bclass (Judged|Game)\b": "real and fake, AdversarialLoss",
    r"\bcomes_again\b|\bAviOrder\b": "is_replayable, AviTimestampFixer",
}


@pytest.mark.parametrize("word", INSTEAD)
def test_words_that_were_given_up_stay_away(word: str) -> None:
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*"))]
    files.append(ROOT / "README.md")
    pattern = re.compile(word, re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        if path.suffix in ENDINGS and str(path.relative_to(ROOT)) not in EXEMPT
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"say {INSTEAD[word]}"
