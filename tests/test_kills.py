"""SIGKILL to the process group, at moments from a printed seed: what is begun again ends with the same bits.

Here `fcdd fit --checkpoint` and `fcdd data fetch`; the study and the book in test_kills_study.py.
"""

import gzip
import hashlib
import http.server
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from filelock import FileLock
from safetensors import safe_open
from test_commands import plates

pytestmark = pytest.mark.slow
SEED, KILLS = 18, 6
FIT = (
    "--size",
    "28",
    "--network",
    "fcdd_cnn28",
    "--epochs",
    "25",
    "--device",
    "cpu",
    "--groups",
    "none",
    "--fpr",
    "0.1",
)


def started(command, folder):
    """A command in a process group of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*map(str, command)], cwd=folder, env=environment, start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip


def killed(command, folder, moment: float) -> bool:
    """Kills a command and all that it started so many seconds after its start; whether it still ran."""
    process = started(command, folder)
    try:
        process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def kill(command, place, moment: float) -> None:
    """Kills a command that works in the folder ``place``; where it ended first, as company on the machine has left
    since its seconds were taken, an earlier moment is tried in an empty folder."""
    while not killed(command(place), place.parent, moment):
        shutil.rmtree(place)
        moment *= 0.8
        print(f"{place.name}: it had ended; now after {moment:.2f} seconds")


def done(command, folder) -> float:
    """Runs a command to its end; the seconds that it took."""
    began, process = time.monotonic(), started(command, folder)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return time.monotonic() - began


def moments(seed: int, seconds: float) -> list[float]:
    """When to kill what takes so many seconds, from its first fifth on: before that Python imports."""
    chance = random.Random(seed)
    chosen = [round(chance.uniform(0.2, 0.95) * seconds, 2) for _ in range(KILLS)]
    print(f"seed {seed}, of {seconds:.1f} seconds: {chosen}")
    return chosen


def left_behind(folder, wanted) -> list[str]:
    """Files besides those wanted, and locks that are held."""
    for lock in folder.rglob("*.lock"):
        with FileLock(lock, timeout=0):  # raises Timeout if it is held
            pass
    return sorted({str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - set(wanted))


# ---- fit ----


def content(path):
    with safe_open(path, "np") as file:
        return file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_fit_killed_six_times_ends_with_the_same_bits(tmp_path):
    root = plates(tmp_path / "plate", good=24, test=2, defects=2)

    def fit(place, *more):
        place.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "fcdd", "fit", root, "--model", place / "m.safetensors"]
        return [*command, "--checkpoint", place / "c.pt", *FIT, *more]

    seconds = done(fit(tmp_path / "whole"), tmp_path)
    metadata, arrays = content(tmp_path / "whole" / "m.safetensors")
    files = [path.name for path in (tmp_path / "whole").iterdir()]
    for k, moment in enumerate(moments(SEED, seconds)):
        place = tmp_path / str(k)
        kill(fit, place, moment)
        done(fit(place, "--force"), tmp_path)
        found, tensors = content(place / "m.safetensors")
        assert {key: found[key] for key in ("class", "parameters", "fitted")} == {
            key: metadata[key] for key in ("class", "parameters", "fitted")
        }
        assert tensors.keys() == arrays.keys()
        assert all(np.array_equal(tensors[key], arrays[key]) for key in arrays)
        assert left_behind(place, files) == []


# ---- fetch ----

FETCH = """
import os, sys
os.environ["FCDD_DATA"] = ""  # where it may lie already
from pathlib import Path
import torchvision
from fcdd import cli, datasets
from fcdd.datasets import fetch, idx
home, url, *resources = sys.argv[1:]
fetch.cache = lambda: Path(home)
datasets.REGISTRY["mnist"] = idx.official("mnist", checked=False)
kind = torchvision.datasets.MNIST
kind.mirrors, kind.resources = [url], [tuple(each.split(":")) for each in resources]
sys.argv = ["fcdd", "data", "fetch", "mnist"]
cli.main()
"""


class Slow(http.server.BaseHTTPRequestHandler):
    """Serves files, parts of them too, at about a megabyte a second."""

    files: dict = {}

    def do_GET(self):
        whole = self.files[self.path.strip("/")]
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(whole) - start))
        self.end_headers()
        for place in range(start, len(whole), 2**15):
            self.wfile.write(whole[place : place + 2**15])
            time.sleep(0.03)

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(monkeypatch):
    """Where MNIST's four files are served, and how they are named to the script, with their md5."""

    from fcdd.datasets import idx

    rng = np.random.default_rng(0)
    for key, file in idx.FILES.items():
        count = 2_000 if "train" in key else 300
        array = rng.integers(0, 10 if "labels" in key else 256, (count,) if "labels" in key else (count, 28, 28))
        header = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
        Slow.files[f"{file}.gz"] = gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)
    monkeypatch.setattr(http.server.ThreadingHTTPServer, "handle_error", lambda *_: None)  # who is killed hangs up
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known = [f"{name}:{hashlib.md5(whole).hexdigest()}" for name, whole in Slow.files.items()]
        yield f"http://127.0.0.1:{server.server_port}/", known
        server.shutdown()


def test_fetch_killed_six_times_ends_with_the_same_files(mirror, tmp_path):
    url, known = mirror

    def fetch(place):
        return [sys.executable, "-c", FETCH, place, url, *known]

    seconds = done(fetch(tmp_path / "whole"), tmp_path)
    files = [str(path.relative_to(tmp_path / "whole")) for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert sum(name.endswith(".gz") for name in files) == 4
    for k, moment in enumerate(moments(SEED + 1, seconds)):
        place = tmp_path / str(k)
        kill(fetch, place, moment)
        done(fetch(place), tmp_path)
        for name, whole in Slow.files.items():
            assert (place / "mnist" / name).read_bytes() == whole
        left = left_behind(place, files)  # pooch makes an empty file of its own before it calls for the download
        assert [name for name in left if (place / name).stat().st_size or not name.startswith("mnist/tmp")] == []
