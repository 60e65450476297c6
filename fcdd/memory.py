"""Memory that is freed stays with the process; what a GPU cannot hold goes in halves. Taught in: the page on speed."""

import ctypes
import os
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# glibc's names for them, in its environment variables and in its malloc.h, and bytes: as many as its call can be told.
KEPT = {"MALLOC_MMAP_THRESHOLD_": (-3, 2**30), "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1)}


def keep_freed() -> None:
    """Tells the C library to keep what is freed, in this process and in those it starts; of value on Linux only.

    A network asks for the same blocks at every step. glibc gives those above 32 MB back each time, and the system
    clears them anew: of a training on large images more than a tenth of the time (the page on speed has it measured).
    The price: memory once needed is held until the process ends. What the environment says already stays as it is.
    """
    if not sys.platform.startswith("linux") or not hasattr(library := ctypes.CDLL(None), "mallopt"):
        return
    for name, (option, size) in KEPT.items():
        if name not in os.environ:
            library.mallopt(option, size)
            os.environ[name] = str(size)


def halving(work: Callable[[int], T], batch_size: int, least: int = 1) -> T:
    """``work(batch_size)``; where a GPU's memory is too small, from the beginning with half of it, with a warning.
    Raises torch.OutOfMemoryError where not even ``least`` fit."""
    import torch  # here, as the command line imports this file first

    while True:
        try:
            return work(batch_size)
        except torch.OutOfMemoryError:
            if batch_size // 2 < least:
                raise
        batch_size //= 2  # out of the handler, whose error holds what filled the memory
        warnings.warn(f"out of memory on the GPU: once more with batches of {batch_size}", stacklevel=2)
        torch.cuda.empty_cache()
