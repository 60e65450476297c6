"""How two ways of doing the same thing are compared: in turn, in one run, several times, by their medians."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from fcdd.memory import KEPT

ROOT = Path(__file__).parents[1]


class Options(NamedTuple):
    """What the command line asks for: the device, tiny sizes to try the code out, and what takes minutes a time."""

    device: str = "cpu"
    quick: bool = False
    long: bool = False


class Measured(NamedTuple):
    """What one side of a comparison gives back: the seconds that count, and its result."""

    seconds: float
    result: Any


class Fact(NamedTuple):
    """A number beside the times, such as the difference of two results, and the most that it may be, if it matters."""

    what: str
    value: float
    most: float | None = None


class Limit(NamedTuple):
    """What the hardware needs at least, and where that is known from."""

    seconds: float
    what: str


Side = Callable[[], Measured]


@dataclass(frozen=True)
class Comparison:
    """Ours against others that do the same; ``goal`` is how many times faster ours wants to be, if it was promised.

    ``limit``: of the peaks of the hardware, by type of number in FLOP/s, and the result of ours. ``facts``: of the two
    results. ``times``: how often at most, for what takes long. ``parts``: where the time goes, in seconds by kind of
    work, for each way.
    """

    name: str
    what: str
    ours: Side
    peers: dict[str, Side]
    goal: float | None = None
    limit: Callable[[dict, Any], Limit] | None = None
    facts: Callable[[Any, Any], list[Fact]] = field(default=lambda ours, peer: [])
    times: int = 100
    parts: Callable[[], dict[str, dict[str, float]]] | None = None


def timed(function: Callable, device="cpu") -> Measured:
    """Calls a function; waits for the GPU before and after, as it works on while Python has gone ahead."""
    cuda = str(device).startswith("cuda")
    if cuda:
        import torch  # here, so that what needs no tensors does without its memory

        torch.cuda.synchronize()
    start = time.perf_counter()
    result = function()
    if cuda:
        torch.cuda.synchronize()
    return Measured(time.perf_counter() - start, result)


def in_a_process(module: str, *arguments):
    """What ``python -m benchmarks.<module>`` prints as JSON, in a process with the C library's own settings."""
    clean = {name: value for name, value in os.environ.items() if name not in KEPT} | {"TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    told = subprocess.run(command, cwd=ROOT, env=clean, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(told)


def calls(comparison: Comparison, repetitions: int) -> int:
    """How many sides :func:`measure` runs."""
    peers = len(comparison.peers)
    return 1 + peers + (min(repetitions, comparison.times) - 1) * (1 + min(peers, 1))


def measure(comparison: Comparison, repetitions: int, peaks: dict[str, float], step: Callable = lambda: None) -> dict:
    """One comparison as it goes into the record. Of several peers only the fastest is repeated, and counts.

    ``step`` is called after every side of every repetition.
    """
    sides, results = {"": comparison.ours, **comparison.peers}, {}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for k in range(min(repetitions, comparison.times)):
        for name, side in sides.items():
            took, results[name] = side()
            seconds[name].append(took)
            step()
        if k == 0 and comparison.peers:
            best = min(comparison.peers, key=lambda name: seconds[name][0])
            sides = {"": comparison.ours, best: comparison.peers[best]}
    ours = median(seconds[""])
    record = {"name": comparison.name, "what": comparison.what, "ours": seconds[""], "goal": comparison.goal}
    if comparison.peers:
        record |= {"peer": best, "peers": {name: seconds[name] for name in comparison.peers}}
        record |= {"ratio": median(seconds[best]) / ours}
        record |= {"facts": [fact._asdict() for fact in comparison.facts(results[""], results[best])]}
    if comparison.parts is not None:
        record["parts"] = comparison.parts()
    if comparison.limit is not None:
        limit = comparison.limit(peaks, results[""])
        record["limit"] = {**limit._asdict(), "share": limit.seconds / ours}
    return record
