"""The process of one job of `derain serve`; see serve/work.py.

python -m derain.pipeline.cli.job
"""

from __future__ import annotations

import os
import sys

from derain.pipeline.cli.allocator import keep_memory
from derain.pipeline.serve.work import work

if __name__ == "__main__":
    os.environ.setdefault("SVT_LOG", "1")
    keep_memory()
    sys.exit(work())
