"""The machine: what it is, and how many multiplications and additions a second it was seen to do."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from .compare import timed

DTYPES = ("float32", "bfloat16", "float64")


def describe(device: str) -> dict:
    """The machine and the software, in words, with the load on it before the first measurement."""
    gpu = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    machine = {"processor": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    machine |= {"memory_gb": round(psutil.virtual_memory().total / 1e9), "load": round(psutil.getloadavg()[0], 2)}
    versions = {name: version(name) for name in ("torch", "numpy", "scikit-learn")}
    return gpu | machine | {"versions": {"python": platform.python_version(), **versions}}


def processor() -> str:
    """The processor's name, as the system knows it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peaks(device: str, quick: bool) -> dict[str, float]:
    """FLOP/s by type of number: what the fastest of many products of two large square matrices reaches.

    On a GPU float32 is what PyTorch takes for it if not told otherwise, without TensorFloat32.
    """
    side = 256 if quick else 8192 if device == "cuda" else 2048
    return {dtype: _peak(getattr(torch, dtype), device, side, 0.01 if quick else 1.0) for dtype in DTYPES}


def _peak(dtype: torch.dtype, device: str, side: int, seconds: float) -> float:
    """Sides double up to ``side``, but not beyond ``seconds``: bfloat16 may be a thousand times slower than float32."""
    best, end, now = 0.0, time.perf_counter() + seconds, min(side, 256)
    while now <= side:
        a, b = (torch.rand(now, now, device=device).to(dtype) for _ in range(2))
        best = max(best, *(2 * now**3 / timed(lambda a=a, b=b: a @ b, device).seconds for _ in range(3)))
        if time.perf_counter() > end:
            break
        now = min(2 * now, side) if now < side else side
    return best


def flops(function) -> int:
    """Multiplications and additions of the matrix products and convolutions that a function does with tensors."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()
