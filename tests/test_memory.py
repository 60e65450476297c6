"""Freed memory is kept: counted in the pages that the system has to hand out anew."""

import os
import subprocess
import sys

import pytest

from fcdd import memory

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")

# 48 MB again and again, as in a training; the first few times glibc looks for a place that can be kept.
LOOP = """
import resource, sys
import torch
from fcdd.memory import keep_freed
if "keep" in sys.argv:
    keep_freed()
for _ in range(20):
    torch.zeros(12_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.zeros(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
STARTS_ANOTHER = """
import subprocess, sys
from fcdd.memory import keep_freed
keep_freed()
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""


def faults(*arguments, **environment) -> int:
    clean = {name: value for name, value in os.environ.items() if name not in memory.KEPT}
    run = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, check=True,
                         env=clean | environment)  # fmt: skip
    return int(run.stdout)


def test_a_loop_gets_the_same_memory_again():
    lost = faults(LOOP)
    if lost < 1_000:
        pytest.skip("this C library keeps it anyway")
    assert faults(LOOP, "keep") < lost / 20


def test_so_do_the_processes_that_it_starts():
    assert faults(STARTS_ANOTHER, LOOP) < 1_000


def test_what_the_user_has_set_stays():
    assert faults(LOOP, "keep", **dict.fromkeys(memory.KEPT, "65536")) == pytest.approx(faults(LOOP), rel=0.1)
