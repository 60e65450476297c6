"""Shared fixtures: the golden numbers of the official code, and small real splits of the embedded Fashion-MNIST."""

import os
import shutil
import subprocess
import sys

os.environ["TQDM_DISABLE"] = "1"  # before tqdm is imported
os.environ["MPLBACKEND"] = "agg"

from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

from fcdd import datasets  # noqa: E402

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

torch.set_num_threads(1)  # two workers share two cores
settings.register_profile("fcdd", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("fcdd")


@pytest.fixture(scope="session")
def golden():
    """Numbers computed with the official FCDD code, as tensors."""
    path = SHARED / "golden" / "fcdd_reference.npz"
    if not path.exists():
        pytest.skip(f"needs the golden numbers of the official code in {path}")
    with np.load(path) as arrays:
        return {key: torch.as_tensor(arrays[key]) for key in arrays}


def small(normal, train=300, test=30):
    """The first ``train`` nominal and the first ``test`` test images of each class, all of them real."""
    whole = datasets.load("fashion-mnist-small", normal)
    chosen = np.concatenate([np.flatnonzero(whole.test.names == name)[:test] for name in np.unique(whole.test.names)])

    def take(images, index):
        return replace(images, **{key: getattr(images, key)[index] for key in ("images", "y", "anomalous", "names")})

    return replace(whole, train=take(whole.train, np.arange(train)), test=take(whole.test, chosen))


@pytest.fixture(scope="session")
def boots():
    return small("Ankle boot")


@pytest.fixture(scope="session")
def trousers():
    return small("Trouser", train=60, test=6)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A copy of the project's files, without what was built, in a folder whose name holds a space."""
    root = tmp_path_factory.mktemp("copy") / "a b"
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    return root


@pytest.fixture(scope="session")
def book(checkout):
    """The folder of the rendered book, built by the graph in profile smoke from the copy."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy", "--nolock", "book"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    result = subprocess.run([*command, "--config", "profile=smoke"], cwd=checkout, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return checkout / "_build" / "html"
