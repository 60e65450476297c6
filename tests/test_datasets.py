"""Data sets: found, fetched, checked; splits; folders of pictures. Real data where it is, small stand-ins elsewhere."""

import gzip
import hashlib
import io
import pickle
import runpy
import shutil
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fcdd import datasets, exposure, pictures
from fcdd.datasets import DataError, Entry, archives, cifar, fetch, folders, idx, overlaps
from fcdd_study import imagenet, voc

DEBIAN = Path("/usr/share/datasets")
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def no_outside(monkeypatch, tmp_path):
    """Only places inside the test's folder are looked at, unless a test says otherwise."""
    monkeypatch.delenv("FCDD_DATA", raising=False)
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(fetch, "DEBIAN", tmp_path / "debian")


@pytest.fixture
def any_mnist(monkeypatch):
    """MNIST's entry without checksums, for files that were made up."""
    entry = idx.official("mnist", checked=False)
    monkeypatch.setitem(datasets.REGISTRY, "mnist", entry)


def shared(path):
    if not (SHARED / path).exists():
        pytest.skip(f"needs {SHARED / path}")
    return SHARED


# ---- the embedded subset ----


def test_embedded_subset():
    assert hashlib.sha256(idx.EMBEDDED.read_bytes()).hexdigest() == idx.EMBEDDED_SHA256
    split = datasets.load("fashion-mnist-small", "Bag")
    assert split.train.images.shape == (1000, 1, 28, 28) and split.train.images.dtype == torch.uint8
    assert split.test.images.shape == (2000, 1, 28, 28)
    assert {name: (split.test.names == name).sum() for name in datasets.classes(split.name)} == dict.fromkeys(
        idx.CLOTHES, 200
    )
    assert idx.EMBEDDED_SHA256 in (idx.EMBEDDED.parent / "README.md").read_text(encoding="utf-8")


def test_embedded_subset_is_the_beginning_of_the_official_files(monkeypatch):
    if not (DEBIAN / "fashion-mnist").is_dir():
        pytest.skip(f"needs Debian's dataset-fashion-mnist in {DEBIAN}")
    monkeypatch.setattr(fetch, "DEBIAN", DEBIAN)
    for normal in ("Trouser", "Ankle boot"):
        whole, part = (datasets.load(name, normal) for name in ("fashion-mnist", "fashion-mnist-small"))
        assert len(whole.train) == 6000 and len(whole.test) == 10_000
        assert torch.equal(whole.train.images[:1000], part.train.images)
        first = np.flatnonzero(whole.test.names == normal)[:200]
        assert torch.equal(whole.test.images[first], part.test.images[part.test.names == normal])
        assert whole.source.endswith("fashion-mnist")


def test_the_embedded_subset_can_be_made_again(monkeypatch, tmp_path):
    """By the script beside it, from official files: here from few made-up ones."""
    monkeypatch.setitem(datasets.REGISTRY, "fashion-mnist", idx.official("fashion-mnist", checked=False))
    monkeypatch.setattr(idx, "EMBEDDED", tmp_path / "small.npz")
    files = idx_files(2500)
    put(tmp_path / "cache" / "fashion-mnist", files)
    runpy.run_module("fcdd_study.make_fashion_mnist_small", run_name="__main__")
    images, labels = (
        np.frombuffer(files[f"test_{kind}"], np.uint8, offset=k) for kind, k in (("images", 16), ("labels", 8))
    )
    with np.load(tmp_path / "small.npz") as made:
        assert (
            made["train_images"].shape == (2500, 1, 28, 28) and made["test_labels"].tolist() == labels[:2000].tolist()
        )
        np.testing.assert_array_equal(made["test_images"], images.reshape(-1, 1, 28, 28)[:2000])
    readme = Path(datasets.__file__).parent / "embedded" / "README.md"
    assert "make_fashion_mnist_small.py" in readme.read_text(encoding="utf-8")


def test_changed_embedded_file(monkeypatch, tmp_path):
    changed = tmp_path / "small.npz"
    changed.write_bytes(idx.EMBEDDED.read_bytes() + b"x")
    monkeypatch.setattr(idx, "EMBEDDED", changed)
    with pytest.raises(DataError, match="small.npz is damaged: expected sha256 .*, got .*; check it out again"):
        datasets.load("fashion-mnist-small", "Bag")


@pytest.mark.parametrize(
    "name, folder, train, test, mean", [
        ("mnist", "MNIST/raw", 60_000, 10_000, 33.3184), ("notmnist", "notMNIST_10k/raw", 10_000, 10_000, None),
    ],
)  # fmt: skip
def test_shared_idx_files(name, folder, train, test, mean):
    """Equal to the official files: their sha256 is checked while reading."""
    root = shared(folder)
    split = datasets.load(name, datasets.classes(name)[0], root=root)
    assert split.source == str(root / folder) and len(split.test) == test
    whole = datasets.load_all(name, root)
    assert whole.shape == (train, 1, 28, 28)
    assert mean is None or whole.float().mean().item() == pytest.approx(mean, abs=0.01)  # 0.1307 of 255
    assert len(split.train) == (5923 if name == "mnist" else 1000)


def test_only_the_shared_half_of_notmnist_is_checked(tmp_path):
    files = {key: raw for key, raw in idx_files().items() if "test" in key}
    put(tmp_path / "other" / "notmnist", files)
    assert len(datasets.load("notmnist", "A", root=tmp_path / "other").test) == 30
    put(tmp_path / "notMNIST_10k" / "raw", files)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte is not the official file: expected sha256 8e7f38ae"):
        datasets.load("notmnist", "A", root=tmp_path)


# ---- splits ----


def test_one_class_is_nominal_the_rest_anomalous():
    split = datasets.load("fashion-mnist-small", "Sandal")
    assert (split.train.names == "Sandal").all() and not split.train.anomalous.any()
    assert (split.train.y == 0).all()  # nobody labelled them
    assert np.array_equal(split.test.anomalous, split.test.names != "Sandal")
    assert np.array_equal(split.test.y.numpy(), np.where(split.test.anomalous, -1, 1))
    assert split.train.masks is None and split.test.masks is None
    assert str(split) == (
        "fashion-mnist-small, nominal: Sandal. 1000 training images, 2000 test images (1800 anomalous). "
        "From the package itself (embedded subset)"
    )


@pytest.mark.parametrize("share, count", [(0.0, 0), (0.01, 10), (0.05, 53), (0.2, 250), (0.5, 1000)])
def test_share_of_labelled_anomalies(share, count):
    split = datasets.load("fashion-mnist-small", "Bag", labelled=share, seed=1)
    labelled = split.train.y < 0
    assert int(labelled.sum()) == count and len(split.train) == 1000 + count
    assert np.array_equal(labelled.numpy(), split.train.anomalous)
    assert (
        len(set(split.train.names[split.train.anomalous])) <= 1
        and "Bag" not in split.train.names[split.train.anomalous]
    )
    if share:
        assert int(labelled.sum()) / len(split.train) == pytest.approx(share, abs=0.001)
        assert f"({count} labelled anomalies)" in repr(split)


def test_labelled_anomalies_come_from_the_seed():
    def known(seed):
        train = datasets.load("fashion-mnist-small", "Bag", labelled=0.05, seed=seed).train
        return train.names[-1], train.images[-53:].sum().item()

    assert known(3) == known(3)
    assert len({known(seed)[0] for seed in range(8)}) > 3


@pytest.mark.parametrize("share", [-0.1, 0.95, 1.0])
def test_labelled_share_out_of_range(share):
    with pytest.raises(ValueError, match=f"labelled share between 0 and 0.9, got {share}"):
        datasets.load("fashion-mnist-small", "Bag", labelled=share)


@pytest.mark.parametrize("wrong, text", [
    ({"pollution": -0.01}, "expected a pollution between 0 and 0.9, got -0.01"),
    ({"pollution": 1.0}, "expected a pollution between 0 and 0.9, got 1.0"),
    ({"known_classes": 0}, "expected known_classes from 1 to the 9 others, got 0"),
    ({"known_classes": 10}, "expected known_classes from 1 to the 9 others, got 10"),
    ({"labelled": 0.6}, "1500 anomalies are asked for, the 1 known anomalous .* have 1000 images; lower the share"),
    ({"pollution": 0.9, "labelled": 0.01}, "9000 anomalies are asked for, the classes other than Bag.* have 8899"),
])  # fmt: skip
def test_shares_that_cannot_be_had(wrong, text):
    with pytest.raises(ValueError, match=text):
        datasets.load("fashion-mnist-small", "Bag", **wrong)


@pytest.mark.parametrize("pollution, known, labelled", [
    (0.01, 10, 53), (0.05, 53, 55), (0.1, 111, 58), (0.2, 250, 66),
])  # fmt: skip
def test_pollution(pollution, known, labelled):
    """Deep SAD's second experiment: 5 % labelled anomalies, and some anomalies nobody knows of."""
    split = datasets.load("fashion-mnist-small", "Bag", labelled=0.05, pollution=pollution, seed=4)
    train, y = split.train, split.train.y.numpy()
    assert (~train.anomalous).sum() == 1000 and (train.anomalous & (y == 0)).sum() == known
    assert (y == -1).sum() == labelled and train.anomalous[y == -1].all() and not (y == 1).any()
    assert known / (1000 + known) == pytest.approx(pollution, abs=0.001)
    assert labelled / len(train) == pytest.approx(0.05, abs=0.001)
    assert len(set(train.names[train.anomalous & (y == 0)])) >= 5 and len(set(train.names[y == -1])) == 1
    assert f"({labelled} labelled anomalies) ({known} unlabelled anomalies)" in repr(split)


def test_known_classes():
    """Deep SAD's third experiment: labelled anomalies of k classes."""
    for k in (1, 2, 3, 5, 9):
        train = datasets.load("fashion-mnist-small", "Bag", labelled=0.2, known_classes=k, seed=1).train
        assert len(set(train.names[train.y.numpy() == -1])) == k and (train.y == -1).sum() == 250


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_one_known_class_is_drawn_as_ever(seed):
    """Committed records depend on this order of drawing."""
    with np.load(idx.EMBEDDED) as arrays:
        images, labels = arrays["train_images"], arrays["train_labels"]
    rng = np.random.default_rng(seed)
    known = rng.choice([k for k in range(10) if k != 8])
    extra = rng.choice(np.flatnonzero(labels == known), 53, replace=False)
    train = datasets.load("fashion-mnist-small", "Bag", labelled=0.05, seed=seed).train
    np.testing.assert_array_equal(train.images, images[np.concatenate([np.flatnonzero(labels == 8), extra])])
    assert train.y.dtype == torch.int64 and (train.y[-53:] == -1).all() and (train.y[:-53] == 0).all()


@given(
    st.lists(st.integers(20, 60), min_size=2, max_size=6),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
def test_shares_hold_and_no_image_is_taken_twice(counts, labelled, pollution, known_classes, seed):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    number = torch.arange(len(labels)).to(torch.int32)[:, None, None, None]  # each image is its own number
    arrays = {"train_images": number, "train_labels": labels, "test_images": number, "test_labels": labels}
    names = [str(k) for k in range(len(counts))]
    options = {"labelled": labelled, "pollution": pollution, "known_classes": known_classes, "seed": seed}
    if known_classes >= len(counts):
        with pytest.raises(ValueError, match="expected known_classes"):
            datasets.one_vs_rest("toy", arrays, names, "0", "nowhere", **options)
        return
    n = counts[0]
    p = max(1, round(pollution / (1 - pollution) * n)) if pollution else 0
    m = max(1, round(labelled / (1 - labelled) * (n + p))) if labelled else 0
    try:
        train = datasets.one_vs_rest("toy", arrays, names, "0", "nowhere", **options).train
    except ValueError as error:
        assert "are asked for" in str(error) and (m > 20 or p + m > sum(counts[1:]))  # noqa: PT017
        return
    taken, y = train.images.flatten().tolist(), train.y.numpy()
    assert len(set(taken)) == len(taken) == n + p + m
    assert taken[:n] == list(range(n)) and (train.anomalous == (np.arange(n + p + m) >= n)).all()
    assert (y == -1).sum() == m and len(set(train.names[y == -1])) <= known_classes
    assert train.names.tolist() == [str(k) for k in labels[taken].tolist()]


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown data set 'imagenette'; known: cifar10, cifar100, emnist-letters"):
        datasets.load("imagenette", "Bag")
    for normal in ("Hat", None, 3):
        with pytest.raises(
            ValueError, match=f"unknown class {normal!r} of fashion-mnist-small; known: T-shirt/top, Trouser"
        ):
            datasets.load("fashion-mnist-small", normal)
    for call in (datasets.load_all, datasets.classes, datasets.where):
        with pytest.raises(ValueError, match="unknown data set"):
            call("imagenette")


# ---- the registry ----


@pytest.mark.parametrize("name", [n for n, e in datasets.REGISTRY.items() if e.places and not e.split])
def test_every_data_set_says_how_to_get_it(name, tmp_path):
    entry = datasets.REGISTRY[name]
    for call in (datasets.load_all, datasets.where):
        with pytest.raises(FileNotFoundError) as error:
            call(name)
        told = str(error.value)
        assert told.startswith(f"{name} was not found. Looked for {tmp_path / 'cache' / entry.places[0]}, ")
        assert entry.expects and f"put {entry.expects} there; or set $FCDD_DATA" in told
        assert (f"fcdd data fetch {name}" in told) == bool(entry.fetch)
    if not entry.exposure_only:
        with pytest.raises(FileNotFoundError, match=f"{name} was not found"):
            datasets.load(name, entry.classes[0] if entry.classes else "any")


def test_a_data_set_with_a_split_of_its_own(monkeypatch):
    """One line in the registry; it gets what it takes, and what it does not take is refused."""

    def own(normal, *, seed=0, side=4):
        images = torch.full((3, 1, side, side), seed, dtype=torch.uint8)
        part = datasets.Images(images, torch.zeros(3), np.array([False, False, True]), np.array(list("aab")))
        return datasets.Split("toy", normal, part, part, "thin air")

    monkeypatch.setitem(datasets.REGISTRY, "toy", Entry(("wood", "tile"), split=own))
    assert "toy" in datasets.names() and datasets.classes("toy") == ["wood", "tile"]
    split = datasets.load("toy", "tile", root="/anywhere", seed=3, side=2, download=True)
    assert split.normal == "tile" and split.train.images.shape == (3, 1, 2, 2) and (split.train.images == 3).all()
    assert datasets.where("toy") == "thin air"
    assert len(datasets.load_all("toy")) == 4 and len(datasets.load_all("toy", without=["wood"])) == 2
    assert len(datasets.load_all("toy", limit=3)) == 3
    for wrong in ({"labelled": 0.1}, {"pollution": 0.1}, {"known_classes": 2}, {"colour": "red"}):
        with pytest.raises(ValueError, match=f"toy takes no {next(iter(wrong))}; leave it out"):
            datasets.load("toy", "wood", **wrong)
    with pytest.raises(ValueError, match="unknown class 'steel' of toy; known: wood, tile"):
        datasets.load("toy", "steel")


def test_another_package_adds_a_data_set(tmp_path, monkeypatch):
    """By an entry point; its module is imported when the set is first asked for. The study's textures come so."""
    (tmp_path / "toys.py").write_text("from fcdd.datasets import Entry\nENTRIES = {'toy': Entry(('wood', 'tin'))}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(datasets.REGISTRY, "toy", EntryPoint("toy", "toys:ENTRIES", "fcdd.datasets"))
    assert "toy" in datasets.names() and "toys" not in sys.modules
    assert datasets.classes("toy") == ["wood", "tin"] and "toys" in sys.modules
    assert datasets.REGISTRY["textures"] is import_module("fcdd_study.textures").ENTRIES["textures"]


def test_options_that_a_data_set_does_not_take():
    with pytest.raises(ValueError, match="fashion-mnist-small takes no size; leave it out"):
        datasets.load("fashion-mnist-small", "Bag", size=(32, 32))


def test_where_does_not_read(tmp_path):
    (tmp_path / "imagenet" / "train").mkdir(parents=True)
    assert datasets.where("imagenet", tmp_path) == str(tmp_path / "imagenet" / "train")
    assert datasets.where("fashion-mnist-small") == "the package itself (embedded subset)"


# ---- idx files: found, damaged, fetched ----


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def idx_files(count=30, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    return {key: idx_bytes(images if "images" in key else labels) for key in idx.FILES}


def put(folder, files=None, packed=False):
    folder.mkdir(parents=True)
    for key, raw in (files or idx_files()).items():
        if packed:
            (folder / f"{idx.FILES[key]}.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / idx.FILES[key]).write_bytes(raw)
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path, packed, any_mnist):
    put(tmp_path / "mnist", packed=packed)
    split = datasets.load("mnist", "3", root=tmp_path)
    expected = np.frombuffer(idx_files()["train_images"], np.uint8, offset=16).reshape(30, 1, 28, 28)
    np.testing.assert_array_equal(split.train.images, expected[3::10])
    assert split.test.names.tolist() == [str(k % 10) for k in range(30)]
    np.testing.assert_array_equal(datasets.load_all("mnist", tmp_path), expected)


def test_places_in_order(tmp_path, monkeypatch, any_mnist):
    """First data/cache, then $FCDD_DATA's folders in order, then Debian's; the root alone if one is given."""
    homes = [tmp_path / name for name in ("cache", "first", "second", "debian")]
    for k, home in enumerate(homes):
        put(home / "mnist", idx_files(seed=k))
    put(tmp_path / "root" / "mnist")
    monkeypatch.setenv("FCDD_DATA", f"{homes[1]}:{homes[2]}")
    for home in homes:
        assert datasets.load("mnist", "0").source == str(home / "mnist")
        (home / "mnist" / idx.FILES["test_labels"]).unlink()  # no longer complete: the next place is taken
    with pytest.raises(FileNotFoundError):
        datasets.load("mnist", "0")
    assert datasets.load("mnist", "0", root=tmp_path / "root").source == str(tmp_path / "root" / "mnist")


@pytest.mark.parametrize("layout", ["MNIST/raw", "mnist"])
def test_layouts(tmp_path, layout, any_mnist):
    """The folder above is named, or the folder itself."""
    put(tmp_path / "here" / layout)
    for root in (tmp_path / "here", tmp_path / "here" / layout):
        assert len(datasets.load("mnist", "0", root=root).train) == 3


def test_notmnist_has_one_part_that_serves_as_both(tmp_path):
    files = {key: raw for key, raw in idx_files().items() if "test" in key}
    put(tmp_path / "notmnist", files)
    split = datasets.load("notmnist", "B", root=tmp_path)
    assert torch.equal(split.train.images, split.test.images[~split.test.anomalous])


def test_another_data_set_of_the_family_is_not_taken_for_it(tmp_path):
    """All of the family use the same file names: a folder that holds Fashion-MNIST is no MNIST."""
    if not (DEBIAN / "fashion-mnist").is_dir():
        pytest.skip(f"needs Debian's dataset-fashion-mnist in {DEBIAN}")
    for name in ("mnist", "notmnist"):
        with pytest.raises((FileNotFoundError, DataError)):
            datasets.load(name, datasets.classes(name)[0], root=DEBIAN / "fashion-mnist")


def test_missing_data_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        datasets.load("fashion-mnist", "Bag")
    for text in (
        "fashion-mnist was not found. Looked for",
        str(tmp_path / "cache" / "fashion-mnist"),
        "train-images-idx3-ubyte",
        "$FCDD_DATA",
        "fcdd data fetch fashion-mnist",
        "Debian's package dataset-fashion-mnist",
        "embedded subset 'fashion-mnist-small'",
    ):
        assert text in str(error.value)
    with pytest.raises(FileNotFoundError) as error:
        datasets.load("notmnist", "A", download=True)
    assert "data fetch" not in str(error.value)  # it has no mirror


def test_folders_that_do_not_exist(tmp_path, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match="root names .*nowhere, which is not a folder; create it or correct the name"
    ):
        datasets.load("mnist", "0", root=tmp_path / "nowhere")
    monkeypatch.setenv("FCDD_DATA", f"{tmp_path}:/no/such/place")
    with pytest.raises(FileNotFoundError, match=r"\$FCDD_DATA .* names /no/such/place, which is not a folder"):
        datasets.load("mnist", "0")


def packed_cut(path):
    raw = path.read_bytes()
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw)[:-20])


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def cut_in_the_header(path):
    path.write_bytes(path.read_bytes()[:10])


def no_gzip(path):
    path.rename(path.with_name(path.name + ".gz"))


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [packed_cut, cut, cut_in_the_header, no_gzip, empty])
@pytest.mark.parametrize("key", ["train_images", "test_labels"])
def test_damaged_files(tmp_path, damage, key, any_mnist):
    damage(put(tmp_path / "mnist") / idx.FILES[key])
    with pytest.raises(DataError, match=f"{idx.FILES[key]}.* is damaged or cut short.*; remove it and fetch it again"):
        datasets.load("mnist", "0", root=tmp_path)


def test_changed_bytes(tmp_path):
    put(tmp_path / "fashion-mnist")
    with pytest.raises(
        DataError, match="train-images-idx3-ubyte is not the official file: expected sha256 c59f46.*, got .*; fetch"
    ):
        datasets.load("fashion-mnist", "Bag", root=tmp_path)


@pytest.mark.parametrize("files, text", [
    ({"train_labels": idx_bytes(np.zeros(29, np.uint8))}, "30 .*29|29 .*30"),
    ({"train_labels": idx_bytes(np.full(30, 11, np.uint8))}, "label"),
])  # fmt: skip
def test_files_that_do_not_belong_together(tmp_path, files, text, any_mnist):
    put(tmp_path / "mnist", idx_files() | files)
    with pytest.raises(DataError, match=text):
        datasets.load("mnist", "0", root=tmp_path)


@pytest.fixture
def serve(monkeypatch):
    """Serves folders over HTTP on this machine; gives their addresses."""
    servers = []

    def call(folder):
        handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setattr(ThreadingHTTPServer, "handle_error", lambda *_: None)  # a client that hangs up early
    yield call
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirror(tmp_path, monkeypatch, serve):
    """A web server that holds MNIST's packed files, of which torchvision knows; gives their md5s."""
    served = put(tmp_path / "served", packed=True)
    md5 = {key: hashlib.md5((served / f"{file}.gz").read_bytes()).hexdigest() for key, file in idx.FILES.items()}
    kind = torchvision.datasets.MNIST
    monkeypatch.setitem(datasets.REGISTRY, "mnist", idx.official("mnist", checked=False))

    def register():
        monkeypatch.setattr(kind, "mirrors", [serve(served)])
        monkeypatch.setattr(kind, "resources", [(f"{file}.gz", md5[key]) for key, file in idx.FILES.items()])
        return md5

    return register


def test_download(mirror, tmp_path):
    mirror()
    with pytest.raises(FileNotFoundError):
        datasets.load("mnist", "0")  # nothing is fetched unasked
    split = datasets.load("mnist", "0", download=True)
    assert split.source == str(tmp_path / "cache" / "mnist") and len(split.train) == 3
    for file in (tmp_path / "served").iterdir():
        file.unlink()
    assert datasets.load("mnist", "0").source == split.source  # now it is here
    assert datasets.load("mnist", "0", download=True).source == split.source


def test_download_with_a_wrong_checksum(mirror, tmp_path):
    mirror()["train_labels"] = "0" * 32
    mirror()
    with pytest.raises(ValueError, match="hash of downloaded file .*train-labels.* does not match"):
        datasets.load("mnist", "0", download=True)
    assert not (tmp_path / "cache" / "mnist" / "train-labels-idx1-ubyte.gz").exists()
    with pytest.raises(FileNotFoundError):
        datasets.load("mnist", "0")


def test_download_of_what_is_not_there(mirror, tmp_path):
    mirror()
    (tmp_path / "served" / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(OSError, match="404"):
        datasets.load("mnist", "0", download=True)


def test_emnist_letters_are_upright_and_begin_with_a(tmp_path):
    """The files hold them with rows and columns exchanged, and a is 1."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (52, 28, 28), dtype=np.uint8)
    labels = (np.arange(52) % 26 + 1).astype(np.uint8)
    files = datasets.REGISTRY["emnist-letters"].files
    folder = tmp_path / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    for file in files:
        array = images.transpose(0, 2, 1) if "images" in file else labels
        (folder / file).write_bytes(idx_bytes(np.ascontiguousarray(array)))
    assert sorted(files)[0] == "emnist-letters-test-images-idx3-ubyte"  # as torchvision unpacks them
    split = datasets.load("emnist-letters", "c", root=tmp_path)
    np.testing.assert_array_equal(split.train.images[:, 0], images[[2, 28]])
    np.testing.assert_array_equal(split.test.images[:, 0], images)
    assert split.test.names[:3].tolist() == ["a", "b", "c"] and split.test.names[25] == "z"
    letter = next(file for file in files if "train-labels" in file)
    (folder / letter).write_bytes(idx_bytes(labels - 1))
    with pytest.raises(DataError, match="52 labels from -1 to 24 for 26 classes"):
        datasets.load("emnist-letters", "c", root=tmp_path)


# ---- CIFAR ----


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def made_cifar(classes, count, parts=("train", "test")):
    """Noise, a part each: images, labels and file names, in an order that is neither theirs nor that of the labels."""
    made = {}
    for seed, part in enumerate(parts):
        order = np.random.default_rng(seed).permutation(count * len(classes))
        files = [f"{'aspz'[k % 4]}_{classes[k % len(classes)]}_s_{7919 * k % 1000:06}.png" for k in order]
        made[part] = noise(len(order), 3, 32, 32, seed=seed), order % len(classes), np.array(files)
    return made


def in_order(images, labels, files):
    """By class and file name: the order of every copy."""
    order = sorted(range(len(files)), key=lambda k: (labels[k], files[k]))
    return images[order], labels[order]


def official_cifar(root, monkeypatch, name="CIFAR10", made=None):
    """Batches in the official layout, whose md5s torchvision is told; gives the folder."""
    kind = getattr(torchvision.datasets, name)
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    key, classes = ("labels", cifar.TEN) if name == "CIFAR10" else ("fine_labels", cifar.HUNDRED)
    for part, (images, labels, files) in (made or made_cifar(classes, 2)).items():
        batches = getattr(kind, f"{part}_list")
        for (file, _), some in zip(batches, np.array_split(np.arange(len(files)), len(batches)), strict=True):
            shown = {
                "data": images[some].reshape(-1, 3072),
                key: labels[some].tolist(),
                "filenames": files[some].tolist(),
            }
            (folder / file).write_bytes(pickle.dumps(shown))
        md5s = [[file, hashlib.md5((folder / file).read_bytes()).hexdigest()] for file, _ in batches]
        monkeypatch.setattr(kind, f"{part}_list", md5s)
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: list(classes)}))
    md5 = hashlib.md5((folder / kind.meta["filename"]).read_bytes()).hexdigest()
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5})
    return folder


def sheets(root, made, classes=cifar.TEN, file="cifar10_sheets.tar", columns=50):
    """The tar of lossless sheets: for each part and class rows of images, and their file names."""
    root.mkdir(exist_ok=True)
    with tarfile.open(root / file, "w") as archive:
        for part, (images, labels, files) in made.items():
            for k, name in enumerate(classes):
                chosen = sorted(np.flatnonzero(labels == k), key=lambda i: files[i])
                rows = -(-len(chosen) // columns)
                sheet = Image.new("RGB", (32 * columns, 32 * rows))
                for place, i in enumerate(chosen):
                    one = Image.fromarray(np.ascontiguousarray(images[i].transpose(1, 2, 0)))
                    sheet.paste(one, (place % columns * 32, place // columns * 32))
                sheet.save(packed := io.BytesIO(), "WEBP", lossless=True, quality=0)
                listed = "\n".join(files[chosen]).encode()
                for suffix, raw in (("webp", packed.getvalue()), ("txt", listed)):
                    member = tarfile.TarInfo(f"{file.split('_')[0]}/{part}/{name}.{suffix}")
                    member.size = len(raw)
                    archive.addfile(member, io.BytesIO(raw))
    return root / file


@pytest.mark.parametrize("name, classes, normal", [("cifar10", cifar.TEN, "cat"), ("cifar100", cifar.HUNDRED, "bus")])
def test_official_cifar(tmp_path, monkeypatch, name, classes, normal):
    made = made_cifar(classes, 6)
    folder = official_cifar(tmp_path, monkeypatch, name.upper(), made)
    images, labels = in_order(*made["train"])
    split = datasets.load(name, normal, root=tmp_path)
    assert datasets.classes(name) == list(classes) and split.source == str(folder)
    np.testing.assert_array_equal(split.train.images, images[labels == classes.index(normal)])
    np.testing.assert_array_equal(datasets.load_all(name, tmp_path), images)
    images, labels = in_order(*made["test"])
    np.testing.assert_array_equal(split.test.images, images)
    assert split.test.names.tolist() == [classes[k] for k in labels]
    assert len(classes) == len(set(classes)) == (10 if name == "cifar10" else 100)


def test_a_changed_cifar_batch(tmp_path, monkeypatch):
    official_cifar(tmp_path, monkeypatch)
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="cifar-10-batches-py is damaged or not complete .*; remove it and fetch it"):
        datasets.load("cifar10", "cat", root=tmp_path)


def cifar_folder(root, made):
    for part, (images, labels, files) in made.items():
        for image, label, file in zip(images, labels, files, strict=True):
            path = root / "cifar10" / part / cifar.TEN[label] / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(path)
    return root / "cifar10"


def packed(folder, file, mode="w:xz"):
    """A tar beside the folder, which is removed."""
    with tarfile.open(folder.parent / file, mode) as archive:
        for path in sorted(folder.rglob("*"), reverse=True):  # in no order the reader could rely on
            if path.is_file():
                archive.add(path, str(path.relative_to(folder.parent)))
    shutil.rmtree(folder)
    return folder.parent / file


@pytest.fixture
def any_archive(monkeypatch):
    monkeypatch.setattr(fetch, "SHA256", {})


def same_split(one, other):
    for a, b in ((one.train, other.train), (one.test, other.test)):
        assert torch.equal(a.images, b.images) and a.names.tolist() == b.names.tolist() and torch.equal(a.y, b.y)
    return True


def test_cifar10_is_the_same_from_every_source(tmp_path, monkeypatch, any_archive):
    """Official batches, sheets and a folder of lossless pictures: equal arrays, whatever order they are stored in."""
    made = made_cifar(cifar.TEN, 61)
    folder = official_cifar(tmp_path / "a", monkeypatch, made=made)
    tar, tree = sheets(tmp_path / "b", made), cifar_folder(tmp_path / "c", made)
    official, packed, pictures = (datasets.load("cifar10", "deer", tmp_path / place, labelled=0.1) for place in "abc")
    assert same_split(official, packed) and same_split(official, pictures) and len(packed.train) == 61 + 7
    assert official.source == str(folder)
    assert packed.source == f"{tar} (the official images as lossless sheets)"
    assert pictures.source == f"{tree} (a copy as pictures, not the official batches)"
    whole = [datasets.load_all("cifar10", tmp_path / place) for place in "abc"]
    assert torch.equal(whole[0], whole[1]) and torch.equal(whole[0], whole[2]) and len(whole[0]) == 610


def test_official_batches_are_preferred(tmp_path, monkeypatch, any_archive):
    made = made_cifar(cifar.TEN, 1)
    wanted = [cifar_folder(tmp_path, made)]
    found = [datasets.where("cifar10", tmp_path)]
    wanted.append(sheets(tmp_path, made))
    found.append(datasets.where("cifar10", tmp_path))
    wanted.append(official_cifar(tmp_path, monkeypatch))
    found.append(datasets.where("cifar10", tmp_path))
    assert [text.split(" ")[0] for text in found] == [str(path) for path in wanted]


def test_a_part_of_cifar100_serves_as_exposure_only(tmp_path, monkeypatch, any_archive):
    made = made_cifar(cifar.HUNDRED, 3)
    tar = sheets(tmp_path / "b", {"train": made["train"]}, cifar.HUNDRED, "cifar100_25k_sheets.tar")
    source = datasets.where("cifar100", tmp_path / "b")
    assert source == f"{tar} (official training images as lossless sheets, the first 250 of each class)"
    images, labels = in_order(*made["train"])
    np.testing.assert_array_equal(datasets.load_all("cifar100", tmp_path / "b"), images)
    left = datasets.load_all("cifar100", tmp_path / "b", without=["bus"])
    np.testing.assert_array_equal(left, images[labels != cifar.HUNDRED.index("bus")])
    with pytest.raises(FileNotFoundError, match="expected test images of cifar100, found none in .*100_25k_sheets.tar"):
        datasets.load("cifar100", "bus", root=tmp_path / "b")
    official_cifar(tmp_path / "b", monkeypatch, "CIFAR100", made)
    assert len(datasets.load("cifar100", "bus", root=tmp_path / "b").test) == 300


def test_a_cifar_folder_without_one_class(tmp_path):
    folder = cifar_folder(tmp_path, made_cifar(cifar.TEN, 1))
    for part in ("train", "test"):
        shutil.rmtree(folder / part / "frog")
    with pytest.raises(DataError, match="cifar10 does not hold the classes of cifar10; missing or strange: frog"):
        datasets.load("cifar10", "cat", root=tmp_path)
    shutil.rmtree(folder / "test" / "dog")
    with pytest.raises(FileNotFoundError, match="expected one folder a class in .*test, missing: dog"):
        datasets.load("cifar10", "cat", root=tmp_path)


# ---- tars, decoded once ----


@pytest.fixture
def tar(tmp_path, any_archive):
    return sheets(tmp_path, made_cifar(cifar.TEN, 2))


def kept_in(tmp_path):
    return list((tmp_path / "cache").rglob("*.*"))


def test_decoded_once(tar, tmp_path, monkeypatch):
    first = datasets.load("cifar10", "cat", root=tmp_path)
    sha = hashlib.sha256(tar.read_bytes()).hexdigest()
    assert kept_in(tmp_path) == [tmp_path / "cache" / "decoded" / f"cifar10_sheets-{sha[:12]}.npz"]
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("decoded again"))
    assert same_split(first, datasets.load("cifar10", "cat", root=tmp_path))


def test_fresh_and_kept_images_lie_alike_in_memory(tar, tmp_path, monkeypatch):
    """Sums over another layout are rounded otherwise: a first run would differ from all later ones."""

    def found():
        split = datasets.load("cifar10", "cat", root=tmp_path)
        return split.train.images, split.test.images, datasets.load_all("cifar10", tmp_path)

    fresh = found()[:2]
    shutil.rmtree(tmp_path / "cache")
    fresh += (datasets.load_all("cifar10", tmp_path),)
    official_cifar(tmp_path / "official", monkeypatch)
    batches = datasets.load("cifar10", "cat", root=tmp_path / "official").train.images
    assert all(images.is_contiguous() for images in (*fresh, *found(), batches))
    assert [images.stride() for images in fresh] == [images.stride() for images in found()]


@pytest.mark.parametrize("damage", [lambda raw: raw[:-100], lambda raw: b"", lambda raw: b"x" * 500,
                                    lambda raw: raw[:3000] + bytes([raw[3000] ^ 1]) + raw[3001:]])  # fmt: skip
def test_a_damaged_decoded_file_is_made_again(tar, tmp_path, damage, caplog):
    first = datasets.load("cifar10", "cat", root=tmp_path)
    file = kept_in(tmp_path)[0]
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert same_split(first, datasets.load("cifar10", "cat", root=tmp_path))
    assert f"{file} is damaged" in caplog.text and file.read_bytes() == whole


def test_another_archive_is_not_taken_for_it(tar, tmp_path):
    datasets.load("cifar10", "cat", root=tmp_path)
    sheets(tmp_path, made_cifar(cifar.TEN, 3))
    assert len(datasets.load("cifar10", "cat", root=tmp_path).train) == 3


def test_a_decoded_file_is_there_whole_or_not_at_all(tar, tmp_path, monkeypatch, caplog):
    def full(file, **_):
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(archives.np, "savez", full)
    assert len(datasets.load("cifar10", "cat", root=tmp_path).train) == 2
    assert kept_in(tmp_path) == [] and "could not be written (no space left on device)" in caplog.text


def test_a_cache_that_cannot_be_written(tar, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert len(datasets.load("cifar10", "cat", root=tmp_path).train) == 2


def test_damaged_archives(tar, tmp_path, monkeypatch):
    whole = tar.read_bytes()
    first = whole.index(b"RIFF")
    for wrong in (
        whole[: len(whole) // 2],
        whole[:700],
        b"",
        b"x" * 1000,
        whole[:first] + b"RUFF" + whole[first + 4 :],
    ):
        tar.write_bytes(wrong)
        with pytest.raises(DataError, match="cifar10_sheets.tar is damaged or cut short .*; fetch it again"):
            datasets.load("cifar10", "cat", root=tmp_path)
    tar.write_bytes(whole[:-1] + b"x")
    monkeypatch.setattr(fetch, "SHA256", {"cifar10_sheets.tar": "d5d4"})
    with pytest.raises(DataError, match="cifar10_sheets.tar is damaged: expected sha256 d5d4, got .*; fetch it again"):
        datasets.load("cifar10", "cat", root=tmp_path)


def test_archives_that_hold_something_else(tmp_path, any_archive):
    made = made_cifar(cifar.TEN, 2)
    (tmp_path / "notes.txt").write_text("no sheets")
    sheets(tmp_path, made, [*cifar.TEN[:9], "lorry"])
    with pytest.raises(DataError, match="one sheet a class in train/, missing or strange: lorry, truck"):
        datasets.load("cifar10", "cat", root=tmp_path)
    with tarfile.open(tmp_path / "cifar10_sheets.tar", "w") as archive:
        archive.add(tmp_path / "notes.txt", "cifar10/notes.txt")
    with pytest.raises(DataError, match="one sheet a class in train/, missing or strange: airplane, automobile"):
        datasets.load("cifar10", "cat", root=tmp_path)


@pytest.mark.parametrize("names", [3, 5])
def test_sheets_whose_names_do_not_fit(tmp_path, any_archive, monkeypatch, names):
    """Up to a row less one may be empty: more than that, or more names than places, is no whole sheet."""
    sheets(tmp_path, made_cifar(cifar.TEN, 4), columns=1 if names == 3 else 4)
    listed, plain = b"\n".join([b"a.png"] * names), tarfile.TarFile.extractfile

    def changed(archive, name):
        return io.BytesIO(listed) if name.endswith("train/dog.txt") else plain(archive, name)

    monkeypatch.setattr(tarfile.TarFile, "extractfile", changed)
    with pytest.raises(DataError, match=f"train/dog.webp shows up to 4 images, {names} file names stand beside it"):
        datasets.load("cifar10", "cat", root=tmp_path)


# ---- Tiny ImageNet, Omniglot ----


def wnid_tree(root, wnids, count=2, size=(40, 30), inside="", suffix="JPEG", mode="RGB"):
    """Pictures as <wnid>/<inside>/<wnid>_<number>; the red of a class is 10 times its number."""
    for k, wnid in enumerate(wnids):
        for number in range(count):
            picture(root / wnid / inside / f"{wnid}_{number}.{suffix}", (10 * k, 100, 200), mode, size)
    return root


TINY = ("n01443537", "n02085620", "n02423022", "n04133789")  # goldfish, Chihuahua, gazelle, sandal


def test_tiny_imagenet(tmp_path):
    """The official tree, shrunk to 32 px."""
    wnid_tree(tmp_path / "tiny-imagenet-200" / "train", TINY, size=(64, 64), inside="images")
    wnid_tree(tmp_path / "tiny-imagenet-200" / "val", ["images"])  # as it is unpacked: not by class
    assert datasets.classes("tiny-imagenet", tmp_path) == list(TINY)
    images = datasets.load_all("tiny-imagenet", tmp_path)
    assert images.shape == (8, 3, 32, 32)
    np.testing.assert_allclose(images[:, :, 16, 16], [(10 * (k // 2), 100, 200) for k in range(8)], atol=4)
    assert len(datasets.load_all("tiny-imagenet", tmp_path, without="cifar10")) == 4
    assert len(datasets.load_all("tiny-imagenet", tmp_path, without="fashion-mnist-small")) == 6
    assert len(datasets.load("tiny-imagenet", TINY[1], tmp_path).train) == 2


def test_large_pictures_are_shrunk_without_aliasing(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    path = tmp_path / "tiny-imagenet-200" / "train" / TINY[0] / "images" / "0.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(stripes).save(path)  # grey, as 1,821 of the official ones are
    image = datasets.load_all("tiny-imagenet", tmp_path)
    assert image.shape == (1, 3, 32, 32) and image[:, :, :, 2:-2].float().std() < 3


def test_omniglot(tmp_path):
    """As torchvision unpacks it: 105 px, black ink on white."""
    root = tmp_path / "omniglot-py" / "images_background"
    for character in ("Greek/character01", "Greek/character02", "Latin/character01"):
        for k in range(3):
            drawn = Image.new("1", (105, 105), 1)
            drawn.paste(0, (0, 0, 52, 52 if "02" in character else 105))
            (root / character).mkdir(parents=True, exist_ok=True)
            drawn.save(root / character / f"0001_{k:02}.png")
    split = datasets.load("omniglot", "Greek/character02", root=tmp_path)
    assert datasets.classes("omniglot", tmp_path) == ["Greek/character01", "Greek/character02", "Latin/character01"]
    assert split.train.images.shape == (3, 1, 28, 28) and len(split.test) == 9
    assert split.train.images[0, 0, 5, 5] == 255 and split.train.images[0, 0, 20, 20] == 0
    assert split.train.images[0, 0, 5, 20] == 0 and split.train.images[0, 0, 20, 5] == 0


def test_damaged_omniglot(tmp_path, any_archive):
    file = tmp_path / "omniglot_small_28.npz"
    for wrong in (b"no archive", b""):
        file.write_bytes(wrong)
        with pytest.raises(DataError, match="omniglot_small_28.npz is damaged .*; fetch it again"):
            datasets.load_all("omniglot", tmp_path)


# ---- ImageNet ----


def thirty(root, names=None, test="val", count=2):
    for k, (name, wnid) in enumerate(imagenet.THIRTY.items()):
        folder = wnid if names is None else name.replace(" ", names)
        for part in ("train", test):
            for number in range(count):
                picture(root / part / folder / f"{number}.JPEG", (8 * k, 100, 200), size=(20, 30))
    return root


@pytest.mark.parametrize(
    "folder, names, test", [("imagenet30", " ", "test"), ("imagenet", None, "val"), ("imagenet-30", "_", "test")]
)
def test_imagenet_30(tmp_path, folder, names, test):
    """In a tree of its own, by class name, or among all classes of ImageNet, by WordNet id."""
    root = thirty(tmp_path / folder, names, test)
    picture(root / "train" / "n01440764" / "tench.JPEG")  # another class of ImageNet
    split = datasets.load("imagenet-30", "american alligator", root=tmp_path, size=(32, 32))
    assert split.train.images.shape == (2, 3, 32, 32) and split.test.images.shape == (60, 3, 32, 32)
    np.testing.assert_allclose(split.train.images[:, 0, 5, 5], 24, atol=4)
    assert split.test.names[0] == "acorn" and split.test.names[-1] == "volcano"
    assert len(datasets.classes("imagenet-30")) == 30 == len(set(imagenet.THIRTY.values()))


def test_only_the_pictures_of_the_split_are_opened(tmp_path):
    root = thirty(tmp_path / "imagenet30")
    for number in range(2):
        (root / "train" / imagenet.THIRTY["banjo"] / f"{number}.JPEG").write_bytes(b"not to be opened")
    assert len(datasets.load("imagenet-30", "acorn", tmp_path, size=(8, 8)).train) == 2
    assert len(datasets.load_all("imagenet-30", tmp_path, without=["banjo"], size=(8, 8))) == 58
    with pytest.raises(DataError, match="2 pictures are damaged:\n- .*banjo|n02787622/0.JPEG: cannot be read"):
        datasets.load("imagenet-30", "banjo", tmp_path)
    with pytest.raises(DataError):
        datasets.load_all("imagenet-30", tmp_path)


def test_imagenet_30_with_a_class_missing(tmp_path):
    root = thirty(tmp_path / "imagenet30")
    shutil.rmtree(root / "val" / imagenet.THIRTY["nail"])
    with pytest.raises(FileNotFoundError, match="expected one folder a class in .*val, missing: n03804744"):
        datasets.load("imagenet-30", "acorn", tmp_path)


@pytest.mark.parametrize("width, height", [(300, 400), (500, 333), (256, 256), (90, 1000), (224, 100)])
def test_crops_are_those_of_torchvision(width, height):
    image = Image.fromarray(noise(height, width, 3))
    expected = torchvision.transforms.CenterCrop(224)(torchvision.transforms.Resize(256)(image))
    np.testing.assert_array_equal(folders.crop(image, (224, 224), 256 / 224), expected)


def test_crops_keep_the_aspect_ratio():
    image = Image.new("L", (200, 100))
    image.paste(255, (50, 0, 150, 100))  # the middle square
    assert np.asarray(folders.crop(image, (50, 50))).min() > 100
    assert np.asarray(folders.squeeze(image, (50, 50))).min() == 0
    assert folders.crop(image, (30, 90)).size == (90, 30)


SOME = ("n01443537", "n02389026", "n02690373", "n03404251", "n04192698")  # goldfish, sorrel, airliner, fur coat, shield


@pytest.mark.parametrize("kind", ["tree", "tar"])
def test_imagenet_as_exposure(tmp_path, kind, any_archive):
    wnid_tree(tmp_path / ("imagenet/train" if kind == "tree" else "imagenet_sample_256"), SOME)
    if kind == "tar":
        packed(tmp_path / "imagenet_sample_256", "imagenet_sample_256.tar", "w")
    assert datasets.classes("imagenet", tmp_path) == list(SOME)
    images = datasets.load_all("imagenet", tmp_path, size=(64, 64))
    assert images.shape == (10, 3, 64, 64)
    np.testing.assert_allclose(images[:, 0, 9, 9], [10 * (k // 2) for k in range(10)], atol=4)
    for data, left in (("cifar10", 6), ("voc", 6), ("imagenet-30", 8), ("fashion-mnist", 8), ("mnist", 10)):
        assert len(datasets.load_all("imagenet", tmp_path, without=data, size=(8, 8))) == left, data
    assert datasets.load_all("imagenet", tmp_path).shape == (10, 3, 224, 224)
    with pytest.raises(ValueError, match="imagenet serves as outlier exposure only; take it from load_all"):
        datasets.load("imagenet", SOME[0], tmp_path)


def test_a_limit_decodes_no_more(tmp_path, monkeypatch):
    wnid_tree(tmp_path / "imagenet" / "train", SOME, count=4)
    opened = []
    plain = pictures.pixels
    monkeypatch.setattr(pictures, "pixels", lambda file, *rest: opened.append(file) or plain(file, *rest))
    images = datasets.load_all("imagenet", tmp_path, size=(8, 8), limit=5, seed=2)
    assert len(images) == 5 == len(opened)
    chosen = torch.randperm(20, generator=torch.Generator().manual_seed(2))[:5]
    assert torch.equal(images, datasets.load_all("imagenet", tmp_path, size=(8, 8))[chosen])
    monkeypatch.setattr(datasets, "MOST", 1e3)
    with pytest.raises(ValueError, match=r"20 images of imagenet take 0 GB; set a limit \(exposure_limit\)"):
        datasets.load_all("imagenet", tmp_path, size=(8, 8))


def test_damaged_imagenet_tar(tmp_path, any_archive):
    file = packed(wnid_tree(tmp_path / "imagenet_sample_256", SOME), "imagenet_sample_256.tar", "w")
    whole = file.read_bytes()
    for wrong in (b"no tar" * 200, whole[:700]):
        file.write_bytes(wrong)
        with pytest.raises(DataError, match="imagenet_sample_256.tar.*(damaged|cannot be read)"):
            datasets.load_all("imagenet", tmp_path, size=(8, 8))
    picture(tmp_path / "flat" / "0.png")
    with tarfile.open(file, "w") as archive:
        archive.add(tmp_path / "flat" / "0.png", "0.png")
    with pytest.raises(FileNotFoundError, match="expected one folder a class in .*imagenet_sample_256, missing: all"):
        datasets.load_all("imagenet", tmp_path)


# ---- Pascal VOC ----


def voc_image(root, name, objects, image_set, watermark=False):
    base = root / "VOCdevkit" / "VOC2007"
    picture(base / "JPEGImages" / f"{name}.jpg", (90, 120, 60), size=(500, 333))
    if watermark:
        image = Image.open(base / "JPEGImages" / f"{name}.jpg")
        image.paste((255, 255, 255), (0, 320, 60, 333))
        image.save(base / "JPEGImages" / f"{name}.jpg")
    for folder in ("Annotations", "ImageSets/Main"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    boxes = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    parts = "<part><name>head</name></part>"  # people have parts with names, which are no objects
    listed = "".join(f"<object><name>{kind}</name>{boxes}{parts}</object>" for kind in objects)
    (base / "Annotations" / f"{name}.xml").write_text(f"<annotation><filename>{name}</filename>{listed}</annotation>")
    with (base / "ImageSets" / "Main" / f"{image_set}.txt").open("a") as file:
        file.write(f"{name}\n")


@pytest.fixture
def voc_tree(tmp_path):
    voc_image(tmp_path, "000001", ["person", "horse"], "train", watermark=True)
    voc_image(tmp_path, "000002", ["cat"], "train")
    voc_image(tmp_path, "000003", ["horse", "horse"], "train")
    voc_image(tmp_path, "000004", ["dog", "person", "horse"], "val")
    voc_image(tmp_path, "000005", ["bus", "person"], "val")
    return tmp_path


def test_voc(voc_tree):
    split = datasets.load("voc", "horse", root=voc_tree)
    assert split.train.images.shape == (2, 3, 224, 224) and split.test.names.tolist() == ["horse", "bus"]
    assert split.test.anomalous.tolist() == [False, True] and split.source.endswith("VOC2007")
    corner = split.train.images[:, :, -4:, :20].float().mean((1, 2, 3))  # the watermark, which a crop would cut off
    assert corner[0] > 240 and corner[1] < 130
    assert datasets.load("voc", "person", root=voc_tree, size=(50, 60)).test.anomalous.tolist() == [False, False]
    assert datasets.load("voc", "horse", voc_tree, labelled=0.3).train.y.tolist() == [0, 0, -1]
    assert len(datasets.load_all("voc", voc_tree, size=(8, 8))) == 3 and len(voc.CLASSES) == 20


def test_voc_opens_only_what_it_needs(voc_tree):
    (voc_tree / "VOCdevkit" / "VOC2007" / "JPEGImages" / "000002.jpg").write_bytes(b"not to be opened")
    assert len(datasets.load("voc", "horse", voc_tree).train) == 2
    with pytest.raises(DataError, match="1 pictures are damaged:\n- .*000002.jpg: cannot be read"):
        datasets.load("voc", "cat", voc_tree)


def test_damaged_voc(voc_tree):
    file = voc_tree / "VOCdevkit" / "VOC2007" / "Annotations" / "000005.xml"
    for damage in (lambda: file.write_text("<annotation>"), file.unlink):
        damage()
        with pytest.raises(DataError, match="VOC2007 is not complete or damaged .*; fetch it again"):
            datasets.load("voc", "horse", voc_tree)


# ---- fetched by torchvision ----


def test_cifar_is_fetched(tmp_path, monkeypatch, serve):
    official_cifar(tmp_path / "made", monkeypatch)
    kind = torchvision.datasets.CIFAR10
    file = packed(tmp_path / "made" / kind.base_folder, kind.filename, "w:gz")
    monkeypatch.setattr(kind, "url", serve(file.parent) + file.name)
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(file.read_bytes()).hexdigest())
    with pytest.raises(FileNotFoundError):
        datasets.load("cifar10", "cat")
    split = datasets.load("cifar10", "cat", download=True)
    assert split.source == str(tmp_path / "cache" / "cifar-10-batches-py") and len(split.train) == 2
    monkeypatch.setattr(kind, "tgz_md5", "0" * 32)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(RuntimeError, match="corrupted"):
        datasets.load("cifar10", "cat", download=True)


@pytest.mark.parametrize("name, kind, asked", [
    ("cifar100", "CIFAR100", {}), ("emnist-letters", "EMNIST", {"split": "letters"}),
    ("omniglot", "Omniglot", {"background": True}), ("voc", "VOCDetection", {"year": "2007", "image_set": "train"}),
])  # fmt: skip
def test_torchvision_is_asked_to_fetch_into_the_cache(tmp_path, monkeypatch, name, kind, asked):
    calls = []
    monkeypatch.setattr(torchvision.datasets, kind, lambda *places, **options: calls.append((places, options)))
    with pytest.raises(FileNotFoundError):  # nothing came
        datasets.where(name, download=True)
    assert calls == [((tmp_path / "cache",), asked | {"download": True})]


# ---- exposure without the classes that overlap ----


def test_overlaps_name_classes_that_exist():
    """Every WordNet id and every end of a range is one of ImageNet's 1,000; ranges hold as many as are meant."""
    root = shared("imagenet_sample_256.tar")
    known = datasets.classes("imagenet", root)
    for name in ("imagenet", "tiny-imagenet"):
        for listed in overlaps.OVERLAPS[name].values():
            ends = [end for item in listed.split() for end in item.split("-")]
            assert [end for end in ends if end not in known] == []
            assert len(ends) == len(set(ends))
    kinds = {kind: len(overlaps.within(wnids, known)) for kind, wnids in overlaps.IMAGENET.items()}
    assert (kinds["bird"], kinds["dog"], kinds["cat"], kinds["frog"]) == (59, 125, 13, 3)
    assert len(datasets.load_all("imagenet", root, without="imagenet-30", size=(8, 8))) == 970


def test_pairs_are_known_both_with_and_without_overlap():
    assert overlaps.overlapping("cifar100", "cifar10", cifar.HUNDRED) == []  # the papers use all 100
    assert overlaps.overlapping("mnist", "fashion-mnist-small", "0123456789") == []
    assert [len(listed.split()) for listed in overlaps.OVERLAPS["tiny-imagenet"].values()] == [31, 14, 0]
    assert {name for pair in overlaps.OVERLAPS.items() for name in (pair[0], *pair[1])} <= set(datasets.names())
    with pytest.raises(ValueError, match="which classes of omniglot overlap with voc is not known .known: mnist,"):
        overlaps.overlapping("omniglot", "voc", ["a"])
    with pytest.raises(ValueError, match="which classes of voc overlap with mnist is not known .known: none.; name"):
        overlaps.overlapping("voc", "mnist", ["a"])


def test_named_classes_are_left_out():
    whole = datasets.load_all("fashion-mnist-small")
    part = datasets.load_all("fashion-mnist-small", without=["Bag", "Coat"])
    assert len(part) == len(whole) - 2000
    bags = datasets.load("fashion-mnist-small", "Bag").train.images
    assert not np.isin(exposure._hashes(bags), exposure._hashes(part)).any()
    assert torch.equal(whole, datasets.load_all("fashion-mnist-small", without=()))


@pytest.mark.parametrize("without, text", [
    (["Bagg"], "unknown classes of fashion-mnist-small: 'Bagg'; close to it: Bag"),
    ([8], "unknown classes of fashion-mnist-small: 8; close to it: T-shirt/top, Trouser"),
    ("cifar-10", "the classes to leave out as a list, or a data set's name, got 'cifar-10'; did you mean cifar10"),
    ("Bag", "the classes to leave out as a list, or a data set's name, got 'Bag'; known: cifar10, "),
    ("fashion-mnist", "without 'fashion-mnist' no class of fashion-mnist-small is left; name the classes"),
    (idx.CLOTHES, "no class of fashion-mnist-small is left"),
    ("voc", "which classes of fashion-mnist overlap with voc is not known"),
])  # fmt: skip
def test_classes_that_cannot_be_left_out(without, text):
    with pytest.raises(ValueError, match=text):
        datasets.load_all("fashion-mnist-small", without=without)


# ---- the shared copies of real data ----


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """A cache that the tests of this section share, as decoding takes a while; half a GB, removed afterwards."""
    cache = tmp_path_factory.mktemp("decoded")
    yield cache
    shutil.rmtree(cache)


@pytest.fixture
def real(decoded, monkeypatch):
    monkeypatch.setattr(fetch, "cache", lambda: decoded)


def sheet_of(tar, name):
    """One sheet, read in another way than the library does: file names and pictures, cut out one by one."""
    with tarfile.open(tar) as archive:
        names = archive.extractfile(f"{name}.txt").read().decode().split("\n")
        with Image.open(io.BytesIO(archive.extractfile(f"{name}.webp").read())) as sheet:
            boxes = [(k % 50 * 32, k // 50 * 32, k % 50 * 32 + 32, k // 50 * 32 + 32) for k in range(len(names))]
            pictures = [np.asarray(sheet.convert("RGB").crop(box)).transpose(2, 0, 1) for box in boxes[:100]]
    return np.array(names), np.array(pictures)


def test_real_cifar10(real):
    root = shared("cifar10_sheets.tar")
    split = datasets.load("cifar10", "ship", root=root)
    assert len(split.train) == 5000 and len(split.test) == 10_000
    assert {name: int((split.test.names == name).sum()) for name in cifar.TEN} == dict.fromkeys(cifar.TEN, 1000)
    images = datasets.load_all("cifar10", root)
    assert images.shape == (50_000, 3, 32, 32) and images.is_contiguous()
    # those of the official batches, in all 50,000 images
    np.testing.assert_allclose(images.double().mean((0, 2, 3)), [125.30692, 122.95039, 113.86538], atol=1e-5)
    np.testing.assert_allclose(images.double().std((0, 2, 3)), [62.99322, 62.08871, 66.70490], atol=2e-5)


def test_real_sheets_equal_the_official_layout(real, tmp_path, monkeypatch):
    """The first 100 images of each sheet of CIFAR-10, written as official batches in another order and read again."""
    root, made = shared("cifar10_sheets.tar"), {}
    for part in ("train", "test"):
        read = [sheet_of(root / "cifar10_sheets.tar", f"cifar10/{part}/{name}") for name in cifar.TEN]
        order = np.random.default_rng(0).permutation(1000)
        labels = np.repeat(np.arange(10), 100)[order]
        files = np.concatenate([names[:100] for names, _ in read])[order]
        made[part] = np.concatenate([pictures for _, pictures in read])[order], labels, files
    official_cifar(tmp_path, monkeypatch, made=made)
    few, whole = (datasets.load("cifar10", "ship", root=place) for place in (tmp_path, root))
    assert torch.equal(few.train.images, whole.train.images[:100])
    first = np.concatenate([np.flatnonzero(whole.test.names == name)[:100] for name in cifar.TEN])
    assert torch.equal(few.test.images, whole.test.images[first])
    assert few.test.names.tolist() == whole.test.names[first].tolist()


def test_real_part_of_cifar100(real):
    root = shared("cifar100_25k_sheets.tar")
    images = datasets.load_all("cifar100", root)
    assert images.shape == (25_000, 3, 32, 32) and images.dtype == torch.uint8 and images.is_contiguous()
    for k, name in enumerate(("apple", "worm")):
        _, first = sheet_of(root / "cifar100_25k_sheets.tar", f"cifar100/train/{name}")
        np.testing.assert_array_equal(images[24_750 * k : 24_750 * k + 100], first)
    assert len(datasets.load_all("cifar100", root, without=["apple", "worm"])) == 24_500
    assert "the first 250 of each class" in datasets.where("cifar100", root)


def test_real_omniglot():
    root = shared("omniglot_small_28.npz")
    images = datasets.load_all("omniglot", root)
    assert images.shape == (4840, 1, 28, 28) and len(datasets.classes("omniglot", root)) == 242
    assert (images[:, :, 0].float().mean() < 20) and images.float().mean() < 60  # ink is bright, the ground is black
    assert len(datasets.load("omniglot", "Balinese/character01", root).train) == 20


def test_real_imagenet_sample():
    root = shared("imagenet_sample_256.tar")
    images = datasets.load_all("imagenet", root, size=(224, 224), limit=20)
    assert images.shape == (20, 3, 224, 224) and images.float().std() > 40
    assert len(datasets.classes("imagenet", root)) == 1000


# ---- folders ----


def picture(path, colour=(10, 20, 30), mode="RGB", size=(40, 30), box=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size, colour if mode == "RGB" else colour[0])
    if box:
        image.paste(255 if mode == "L" else (255, 255, 255), box)
    image.save(path)


def tree(root, mode="RGB", suffix="png"):
    for k in range(3):
        picture(root / "train" / "good" / f"{k}.{suffix}", (10 + k, 20, 30), mode)
    picture(root / "test" / "good" / f"000.{suffix}", (50, 50, 50), mode)
    for k, defect in enumerate(("crack", "hole")):
        picture(root / "test" / defect / f"000.{suffix}", (90, 20, 30), mode)
        picture(root / "ground_truth" / defect / "000_mask.png", (0,), "L", box=(0, 0, 20, 15 + 15 * k))
    return root


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("channels", [1, 3])
def test_folder(tmp_path, mode, suffix, channels):
    split = datasets.folder(tree(tmp_path / "screw", mode, suffix), size=(24, 32), channels=channels)
    assert split.train.images.shape == (3, channels, 24, 32) and split.train.images.dtype == torch.uint8
    assert split.test.images.shape == (3, channels, 24, 32)
    assert split.test.names.tolist() == ["crack/000", "good/000", "hole/000"]
    assert split.test.anomalous.tolist() == [True, False, True] and split.test.y.tolist() == [-1, 1, -1]
    assert split.train.y.tolist() == [0, 0, 0] and split.train.names.tolist() == ["0", "1", "2"]
    assert split.name == "screw" and split.normal == "good"
    masks = split.test.masks
    assert masks.dtype == torch.bool and masks.shape == (3, 1, 24, 32)
    assert masks.sum((1, 2, 3)).tolist() == [24 * 32 / 4, 0, 24 * 32 / 2]
    assert masks[0, 0, :12, :16].all()
    if mode == "RGB" and channels == 3 and suffix == "png":
        assert split.train.images[1, :, 5, 5].tolist() == [11, 20, 30]


def test_folder_feeds_fcdd(tmp_path):
    """From files to heatmaps, masks included."""
    import fcdd

    split = datasets.folder(tree(tmp_path / "screw"), size=(28, 28), channels=1)
    X = torch.cat([split.train.images, split.test.images])
    noise = torch.randint(0, 40, X.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    masks = torch.cat([torch.zeros(3, 1, 28, 28, dtype=torch.bool), split.test.masks])
    detector = fcdd.FCDD(network="fcdd_cnn28", epochs=1, batch_size=4, exposure=None).fit(X + noise, masks=masks)
    assert detector.anomaly_map(split.test.images).shape == (3, 28, 28)


def test_all_problems_of_a_folder_at_once(tmp_path):
    root = tree(tmp_path / "screw")
    (root / "ground_truth" / "crack" / "000_mask.png").unlink()
    (root / "test" / "good" / "001.png").write_bytes(b"this is no picture")
    whole = (root / "train" / "good" / "0.png").read_bytes()
    (root / "train" / "good" / "0.png").write_bytes(whole[: len(whole) // 2])
    (root / "train" / "good" / "3.jpg").write_bytes(b"")
    with pytest.raises(DataError) as error:
        datasets.folder(root)
    lines = str(error.value).splitlines()
    assert lines[0] == f"4 problems in {root}:" and len(lines) == 5
    text = str(error.value)
    assert "crack/000_mask.png: missing (every image in a defect folder needs a mask)" in text
    for file in ("test/good/001.png", "train/good/0.png", "train/good/3.jpg"):
        assert f"{root / file}: cannot be read (" in text


def test_any_damaged_byte_is_read_or_told(tmp_path):
    """However a PNG is broken, the error is the library's own and names the file."""
    path = tmp_path / "0.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(path)
    whole, told = path.read_bytes(), 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            assert datasets.image_folder(tmp_path, (8, 8)).shape == (1, 3, 8, 8)
        except DataError as error:
            told += 1
            assert "0.png: cannot be read" in str(error)  # noqa: PT017
    assert told > len(whole) / 2


def test_no_good_images(tmp_path):
    (tmp_path / "train" / "good").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"expected nominal images in .*train/good, found none \(of .apng, "):
        datasets.folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder: .*nowhere"):
        datasets.folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="expected images below .*, found none"):
        datasets.image_folder(tmp_path, (8, 8))


def test_image_folder_reads_all_kinds_below(tmp_path):
    picture(tmp_path / "b" / "1.JPG", (200, 0, 0))
    picture(tmp_path / "a.png", (1, 2, 3))
    picture(tmp_path / "c.bmp", (7,), "L")
    Image.new("RGBA", (9, 9), (5, 6, 7, 255)).save(tmp_path / "d.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    images = datasets.image_folder(tmp_path, (8, 6))
    assert images.shape == (4, 3, 8, 6)
    assert images[[0, 2, 3], :, 4, 4].tolist() == [[1, 2, 3], [7, 7, 7], [5, 6, 7]]
    assert [p.name for p in datasets.pictures(tmp_path)] == ["a.png", "1.JPG", "c.bmp", "d.png"]


def test_pictures_with_16_bits_keep_their_contrast(tmp_path):
    """Industrial cameras write 16-bit greys; they must be scaled to 8 bits, not clipped to white."""
    ramp = np.linspace(0, 65535, 16 * 16).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "0.png")
    image = datasets.image_folder(tmp_path, (16, 16), channels=1)[0, 0].numpy()
    np.testing.assert_allclose(image, ramp / 257, atol=2)


# ---- one folder a class ----


@pytest.mark.parametrize("test", ["test", "val"])
def test_class_folders(tmp_path, test):
    for part in ("train", test):
        for k, name in enumerate(("pear", "plum")):
            for number in range(4):
                picture(tmp_path / "fruit" / part / name / f"{number}.png", (10 * k, 20, 30))
    split = datasets.class_folders(tmp_path / "fruit", "plum", (16, 12), labelled=0.2)
    assert split.train.images.shape == (5, 3, 16, 12) and split.train.names.tolist() == ["plum"] * 4 + ["pear"]
    assert split.train.images[:, 0, 5, 5].tolist() == [10] * 4 + [0] and split.test.anomalous.sum() == 4
    assert split.name == "fruit" and split.source == str(tmp_path / "fruit")
    assert datasets.class_folders(tmp_path / "fruit", "pear", (8, 8), channels=1).test.images.shape == (8, 1, 8, 8)
    with pytest.raises(ValueError, match="unknown class 'kiwi' of .*fruit; known: pear, plum"):
        datasets.class_folders(tmp_path / "fruit", "kiwi", (8, 8))
    with pytest.raises(FileNotFoundError, match="expected one folder a class in .*nowhere/train, missing: all"):
        datasets.class_folders(tmp_path / "nowhere", "plum", (8, 8))
    for number in range(4):
        (tmp_path / "fruit" / test / "pear" / f"{number}.png").unlink()
    with pytest.raises(FileNotFoundError, match="expected pictures of each class in .*, found none of pear"):
        datasets.class_folders(tmp_path / "fruit", "plum", (8, 8))


def test_folders_to_leave_out(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / name / "0.png")
    assert len(datasets.image_folder(tmp_path, (8, 8), without=["b"])) == 1
    with pytest.raises(FileNotFoundError, match="expected images below"):
        datasets.image_folder(tmp_path, (8, 8), without=["a", "b"])
