"""Training on a processor with freed memory kept by the process (:mod:`fcdd.memory`), against giving it back.

Each has a process of its own: ``python -m benchmarks.memory kept fcdd_cnn224 48``.
"""

import json
import sys

import fcdd
from fcdd import datasets
from fcdd.memory import keep_freed

from .compare import Comparison, Measured, Options, in_a_process, timed
from .images import one_class

EPOCHS = 3


def wide(count: int):
    """The FCDD paper's network on Fashion-MNIST."""
    images = one_class("T-shirt/top", False, count)[1]
    return fcdd.FCDD(network="fcdd_cnn28_w", epochs=EPOCHS, batch_size=128, device="cpu"), images


def large(count: int):
    """What ``fcdd fit`` does with a folder of images."""
    wall = datasets.load("textures", "brick", size=224, train=count, test_good=1, test_each=1, channels=3)
    settings = {"exposure": "confetti", "epochs": EPOCHS, "batch_size": 16, "sigma": 8.0, "device": "cpu"}
    return fcdd.FCDD(network="fcdd_cnn224", **settings), wall.train.images


CASES = {"fcdd_cnn28_w": (wide, 1_280), "fcdd_cnn224": (large, 96)}


def main(which: str, network: str, count: str) -> None:
    """Prints the seconds of one side, as JSON."""
    if which == "kept":
        keep_freed()
    detector, images = CASES[network][0](int(count))
    detector.fit(images)  # what is prepared at the first time counts in neither
    print(json.dumps(timed(lambda: detector.fit(images)).seconds))


def comparisons(options: Options):
    if options.device != "cpu":
        return
    for network, (_, full) in CASES.items():
        count = 32 if options.quick else full
        yield Comparison(
            f"memory-{network}",
            f"Training {network}, freed memory kept",
            lambda network=network, count=count: _in_a_process("kept", network, count),
            {"given back": lambda network=network, count=count: _in_a_process("given back", network, count)},
        )


def _in_a_process(which: str, network: str, count: int) -> Measured:
    return Measured(in_a_process("memory", which, network, count), None)


if __name__ == "__main__":
    main(*sys.argv[1:])
