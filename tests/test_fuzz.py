"""4,000 files with changed bytes: each ends in an error that says what is wrong, or in a right result.

1,000 each of records, of models and checkpoints, of archives, and of pictures, from valid ones; at least a fifth of the
changes lie past the header. What has a checksum must come out as it was, or be refused.
"""
# ruff: noqa: PT017  (a changed file may be refused or not: both are looked at)

import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

import fcdd
from fcdd import pictures, watch
from fcdd.datasets import archives, fetch
from fcdd.errors import DataError
from fcdd_study import records

pytestmark = pytest.mark.slow
MODELS = Path(__file__).parent / "models"
EACH = 1_000


@st.composite
def changes(draw, length: int, header: int):
    """Bytes that are changed, (place, flipped bits), half of the time past the header only; and where the file is cut,
    if it is: once in eight times."""
    first = draw(st.sampled_from([0, min(header, length - 1)]))
    edit = st.tuples(st.integers(first, length - 1), st.integers(1, 255))
    edits = draw(st.lists(edit, min_size=1, max_size=8, unique_by=lambda edit: edit[0]))
    return edits, draw(st.integers(0, length)) if draw(st.integers(0, 7)) == 0 else length


def fuzz(bases: dict[str, tuple[bytes, int]], judge) -> Counter:
    """Calls ``judge(name, content)`` for EACH changed file, of (content, length of the header); counts what it said."""
    said: Counter = Counter()

    @settings(max_examples=EACH, deadline=None, derandomize=True, database=None, phases=[Phase.generate, Phase.shrink],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.data())
    def each(data):
        name = data.draw(st.sampled_from(sorted(bases)))
        whole, header = bases[name]
        edits, end = data.draw(changes(len(whole), header))
        content = bytearray(whole)
        for place, bits in edits:
            content[place] ^= bits
        said["past the header"] += all(place >= header for place, _ in edits)
        said[judge(name, bytes(content[:end]))] += 1
        said["all"] += 1

    each()
    print(dict(said))
    assert said["all"] >= EACH and said["past the header"] >= EACH / 5
    return said


# ---- records ----


def test_records(tmp_path):
    files = sorted(records.COMMITTED.rglob("*.json"))[::40][:12]
    bases = {file.name + str(k): (file.read_bytes(), 40) for k, file in enumerate(files)}
    path = tmp_path / "r.json"

    def judge(name, content):
        path.write_bytes(content)
        try:
            record = records.read(path)
        except ValueError as error:
            assert str(error).startswith(f"{path} is not a run record: ") and "remove it and run again" in str(error)
            return "refused"
        assert record == json.loads(content) and isinstance(records.stale(record), list)
        assert records.run_of(record).id and records._row(record)["auroc"] == record["metrics"]["auroc"]
        return "read"

    said = fuzz(bases, judge)
    assert said["refused"] > 100


# ---- models and checkpoints ----


@pytest.fixture(scope="module")
def images():
    return fcdd.datasets.load("fashion-mnist-small", "Trouser").test.images[:6]


def test_models_and_checkpoints(images, tmp_path):
    bases, scores, X = {}, {}, {}
    for name in ("fcdd", "deep-svdd", "patches", "svdd"):
        detector = fcdd.load(MODELS / f"05e4f3a-{name}.safetensors")
        detector.save(path := tmp_path / f"{name}.safetensors")
        content = path.read_bytes()
        bases[name] = content, 8 + int.from_bytes(content[:8], "little")
        X[name] = images.flatten(1).double().numpy()[:, ::56] if name == "svdd" else images
        scores[name] = detector.anomaly_score(X[name])

    def parts():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.BatchNorm1d(20))
        return {"network": network, "optimizer": torch.optim.Adam(network.parameters())}, torch.Generator().manual_seed(
            1
        )

    own, draws = parts()
    watch.Watch(checkpoint=tmp_path / "c.pt", key="mine").after([[1.5], [0.5]], own, draws, torch.device("cpu"))
    kept = {key: value.clone() for key, value in own["network"].state_dict().items()}
    bases |= {f"checkpoint {k}": ((tmp_path / "c.pt").read_bytes(), 600) for k in range(4)}  # half of all

    def judge(name, content):
        path = tmp_path / "fuzzed"
        path.write_bytes(content)
        try:
            if name in scores:
                np.testing.assert_array_equal(fcdd.load(path).anomaly_score(X[name]), scores[name])
                return "right"
            other, generator = parts()
            for value in other["network"].parameters():
                value.data.zero_()
            history = watch.Watch(checkpoint=path, key="mine").resume(other, generator, torch.device("cpu"), 9)
        except ValueError as error:
            assert str(path) in str(error), error
            return "refused"
        assert history == [[1.5], [0.5]]
        assert all(torch.equal(value, kept[key]) for key, value in other["network"].state_dict().items())
        return "right"

    said = fuzz(bases, judge)
    assert said["refused"] > 800


# ---- archives ----


def test_archives(tmp_path, monkeypatch):
    """Half with a name whose checksum is known: it is found. Of unknown ones nothing leaves their folder."""
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path / "cache")
    content = tmp_path / "set" / "good"
    content.mkdir(parents=True)
    for k in range(3):
        Image.fromarray(np.full((9, 9), 50 * k, np.uint8)).save(content / f"{k}.png")
    bases = {}
    for suffix in ("tar", "tar.gz", "tar.xz", "tar.bz2"):
        with tarfile.open(tmp_path / f"a.{suffix}", f"w:{suffix.partition('.')[2]}") as file:
            file.add(content.parent, "set")
        whole = (tmp_path / f"a.{suffix}").read_bytes()
        bases |= {f"known.{suffix}": (whole, 512 if suffix == "tar" else 20), f"other.{suffix}": (whole, 20)}
    known = {
        f"known.{suffix}": fetch.verify(tmp_path / f"a.{suffix}") for suffix in ("tar", "tar.gz", "tar.xz", "tar.bz2")
    }
    monkeypatch.setattr(fetch, "SHA256", known)
    place, count = tmp_path / "place", iter(range(10**6))

    def judge(name, content):
        home = place / str(next(count))
        home.mkdir(parents=True)
        (home / name).write_bytes(content)
        try:
            archives.extract(home / name, home / "out")
        except DataError as error:
            assert str(home / name) in str(error) and "fetch it again" in str(error)
            said = "refused"
        else:
            assert name in ("other.tar", "other.tar.gz", "other.tar.xz", "other.tar.bz2"), "a checksum was passed over"
            said = "unpacked"
        assert {each.name for each in home.iterdir()} <= {name, "out"} and not list(place.glob("*.txt"))
        for each in home.rglob("*"):
            assert each.resolve().is_relative_to(home.resolve()) and (
                each.is_file() or each.is_dir() or each.is_symlink()
            )
        return said

    said = fuzz(bases, judge)
    assert said["refused"] >= 400


@pytest.mark.parametrize("kind", ["a path out of it", "an absolute path", "a link out of it", "a device"])
def test_an_archive_with_paths_out_of_its_folder_does_nothing(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        names = {"a path out of it": "../outside.txt", "an absolute path": str(tmp_path / "outside.txt")}
        entry = tarfile.TarInfo(names.get(kind, "inside"))
        if kind == "a link out of it":
            entry.type, entry.linkname = tarfile.SYMTYPE, "../../outside.txt"
        if kind == "a device":
            entry.type = tarfile.CHRTYPE
        file.addfile(entry)
    target = tmp_path / "deep" / "out"
    if kind == "an absolute path":  # Python takes the slash off, so that it lies inside
        archives.extract(tmp_path / "a.tar", target)
        assert not (tmp_path / "outside.txt").exists() and all(p.is_relative_to(target) for p in target.rglob("*"))
    else:
        with pytest.raises(DataError, match="a.tar is damaged and cannot be unpacked .*; fetch it again"):
            archives.extract(tmp_path / "a.tar", target)
        assert not [p for p in tmp_path.rglob("*") if "outside" in p.name or "inside" in p.name]


# ---- pictures ----


def test_pictures(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (12, 17), dtype=np.uint8)
    colour = rng.integers(0, 256, (12, 17, 3), dtype=np.uint8)
    written = {"a.png": colour, "b.png": grey, "c.png": grey.astype(np.uint16) * 200, "d.jpg": colour, "e.tif": colour,
               "f.tif": grey.astype(np.float32) / 255, "g.bmp": colour, "h.gif": grey, "i.webp": colour,
               "j.ppm": colour, "k.jp2": colour}  # fmt: skip
    bases = {}
    for name, array in written.items():
        Image.fromarray(array).save(tmp_path / name)
        bases[name] = (tmp_path / name).read_bytes(), 34
    expected = {name: pictures.read(tmp_path / name) for name in bases}
    place = tmp_path / "fuzzed"
    place.mkdir()

    def judge(name, content):
        path = place / name
        path.write_bytes(content)
        try:
            found = pictures.read(path)
        except pictures.PictureError as error:
            assert str(error).startswith(f"{path}: cannot be read (")
            return "refused"
        assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] in (1, 3) and found.size
        same = found.shape == expected[name].shape and (found == expected[name]).all()
        assert same or not name.endswith(".png"), "PNG has checksums"
        return "read"

    said = fuzz(bases, judge)
    assert said["refused"] > 200
