"""How torch's threads wait is said before torch is loaded, or a warning tells how to."""

from __future__ import annotations

import os
import subprocess
import sys

PRINT = "import os; print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'))"


def run(script: str, **more: str) -> subprocess.CompletedProcess[str]:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {key: value for key, value in os.environ.items() if key not in names} | more
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )


def test_derain_before_torch_sets_it() -> None:
    for first in ("derain.models", "derain.pipeline"):
        done = run(f"import {first}; import sys; assert 'torch' not in sys.modules; {PRINT}")
        assert done.stdout == "PASSIVE 20000\n"
        assert done.stderr == ""


def test_a_setting_of_the_user_stays() -> None:
    done = run(f"import sys, derain.models; {PRINT}", OMP_WAIT_POLICY="ACTIVE")
    assert done.stdout == "ACTIVE 20000\n"
    assert done.stderr == ""


def test_derain_after_torch_says_what_to_do() -> None:
    # What counts is that torch was loaded; loading it really takes seconds.
    loaded = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')"
    done = run(f"{loaded}; import derain.models; {PRINT}")
    assert done.stdout == "None None\n"
    assert "import derain.models first, or set OMP_WAIT_POLICY=PASSIVE" in done.stderr
