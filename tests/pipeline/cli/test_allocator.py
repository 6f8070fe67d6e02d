"""One heap for all threads, in a process of its own: the setting cannot be taken back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from derain.pipeline.cli.allocator import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
ready = threading.Barrier(4)
def work():
    ready.wait()
    library.malloc(1 << 16)
    ready.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
library.fdopen.restype = ctypes.c_void_p
file = library.fdopen(1, b"w")
library.malloc_info(0, file)
library.fflush(ctypes.c_void_p(file))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of another C library")
def test_all_threads_share_one_heap() -> None:
    heaps = {}
    for word in ("keep", "leave"):
        command = [sys.executable, "-c", PROGRAM, word]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        heaps[word] = result.stdout.count("<heap ")
    assert heaps["keep"] == 1
    assert heaps["leave"] > 1
