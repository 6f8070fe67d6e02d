"""Every kind of stream into every container, checked by the ffprobe program.

    python tests/fuzz/matrix.py --json matrix.json

Each film of sources.py goes through `derain_video` with the median network into each container that
can be written. Then ffprobe says what is in both files. A pair fails where the run ends in an error
or the output has other frames, times or packets than the source, and where something is missing
that no notice names. Not collected by pytest as a whole: test_matrix.py runs a slice.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from checks import Seen, compare, probe
from odd import FILMS as ODD
from sources import FILMS

TARGETS = [
    ".mp4",
    ".mov",
    ".m4v",
    ".3gp",
    ".mkv",
    ".webm",
    ".avi",
    ".ts",
    ".m2ts",
    ".mpg",
    ".vob",
    ".nut",
    ".flv",
    ".wmv",
    ".mxf",
    ".gif",
    ".y4m",
    "_%03d.png",
]


def run_pair(
    film: Path, target: Path, model: Any, codec: str | None
) -> tuple[list[str], list[str]]:
    """Derain one film into one container; what is wrong, and the notices."""
    from derain.models.errors import DerainError
    from derain.pipeline.streaming.derain_video import derain_video
    from derain.pipeline.streaming.options import Report, VideoOptions
    from derain.pipeline.video import Encoding

    report = Report(str(film), str(target))
    options = VideoOptions(model="median", encoding=Encoding(codec), overwrite=True)
    try:
        derain_video(film, target, options, model=model, report=report)
    except DerainError as error:
        return [f"error: {error}"], report.notices
    except Exception:
        return [f"TRACEBACK: {traceback.format_exc()}"], report.notices
    left = [p.name for p in target.parent.iterdir() if ".part" in p.name]
    faults = [f"left over: {left}"] if left else []
    if report.incomplete:
        faults.append("called incomplete")
    return faults, report.notices


def main() -> int:
    """Run; the exit code is 1 if a pair failed."""
    from derain.pipeline.streaming.options import VideoOptions
    from derain.pipeline.streaming.temporal_smoothing import load_chosen

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--odd", action="store_true", help="those of odd.py")
    parser.add_argument("--films", default="", help="only those whose name begins so")
    parser.add_argument("--targets", default="", help="only these endings, with commas")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all")
    parser.add_argument("--json", type=Path, help="write the result there")
    arguments = parser.parse_args()
    chosen = arguments.targets.split(",") if arguments.targets else TARGETS
    model = load_chosen(VideoOptions(model="median"))
    counts: Counter[str] = Counter()
    failures = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        for film_name, make in (ODD if arguments.odd else FILMS).items():
            late = time.monotonic() - began > 60 * arguments.minutes
            if late or not film_name.startswith(arguments.films):
                continue
            folder = Path(name) / film_name
            folder.mkdir()
            film = make(folder)
            before = Seen(probe(film))
            for suffix in chosen:
                out = folder / suffix.strip("._%d")
                out.mkdir(exist_ok=True)
                target = out / f"out{suffix}"
                faults, notices = run_pair(film, target, model, None)
                if not any(f.startswith(("error", "TRACEBACK")) for f in faults):
                    faults += compare(before, Seen(probe(target)), suffix, notices)
                counts["failed" if faults else "passed"] += 1
                if faults:
                    pair = {"film": film_name, "target": suffix, "faults": faults}
                    failures.append(pair | {"notices": notices})
                    sys.stdout.write(f"{film_name} -> {suffix}: {'; '.join(faults)}\n")
                    sys.stdout.flush()
    result = {"pairs": sum(counts.values()), "results": counts, "failures": failures}
    sys.stdout.write(f"{result['pairs']} pairs, {counts['failed']} failed\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
