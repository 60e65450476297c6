"""Data sets: found, fetched, checked; splits; folders in the layout of MVTec-AD."""

import gzip
import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcdd import datasets
from fcdd.datasets import DataError, fetch, idx

DEBIAN = Path("/usr/share/datasets")
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def no_outside(monkeypatch, tmp_path):
    """Only places inside the test's folder are looked at, unless a test says otherwise."""
    monkeypatch.delenv("FCDD_DATA", raising=False)
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(fetch, "DEBIAN", tmp_path / "debian")


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


def test_changed_embedded_file(monkeypatch, tmp_path):
    changed = tmp_path / "small.npz"
    changed.write_bytes(idx.EMBEDDED.read_bytes() + b"x")
    monkeypatch.setattr(idx, "EMBEDDED", changed)
    with pytest.raises(DataError, match="small.npz is damaged: expected sha256 .*, got .*; check it out again"):
        datasets.load("fashion-mnist-small", "Bag")


@pytest.mark.parametrize("name, folder, count", [("mnist", "MNIST/raw", 5923), ("notmnist", "notMNIST_10k/raw", None)])
def test_shared_data(name, folder, count):
    if not (SHARED / folder).is_dir():
        pytest.skip(f"needs {SHARED / folder}")
    split = datasets.load(name, datasets.classes(name)[0], root=SHARED)
    assert split.source == str(SHARED / folder)
    assert (len(split.test) == 10_000 or name == "notmnist") and split.train.images.shape[1:] == (1, 28, 28)
    assert count is None or len(split.train) == count  # zeros among MNIST's training images


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


@pytest.mark.parametrize("share, count", [(0.0, 0), (0.01, 10), (0.05, 53), (0.2, 250), (0.9, 1000)])
def test_share_of_labelled_anomalies(share, count):
    split = datasets.load("fashion-mnist-small", "Bag", labelled=share, seed=1)
    labelled = split.train.y < 0
    assert int(labelled.sum()) == count and len(split.train) == 1000 + count
    assert np.array_equal(labelled.numpy(), split.train.anomalous)
    assert (
        len(set(split.train.names[split.train.anomalous])) <= 1
        and "Bag" not in split.train.names[split.train.anomalous]
    )
    if share not in (0, 0.9):
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


def test_unknown_names():
    with pytest.raises(
        ValueError, match="unknown data set 'imagenet'; known: fashion-mnist, fashion-mnist-small, mnist"
    ):
        datasets.load("imagenet", "Bag")
    for normal in ("Hat", None, 3):
        with pytest.raises(
            ValueError, match=f"unknown class {normal!r} of fashion-mnist-small; known: T-shirt/top, Trouser"
        ):
            datasets.load("fashion-mnist-small", normal)
    with pytest.raises(ValueError, match="unknown data set"):
        datasets.load_all("imagenet")
    with pytest.raises(ValueError, match="unknown data set"):
        datasets.classes("imagenet")


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
def test_idx_files(tmp_path, packed):
    put(tmp_path / "mnist", packed=packed)
    split = datasets.load("mnist", "3", root=tmp_path)
    expected = np.frombuffer(idx_files()["train_images"], np.uint8, offset=16).reshape(30, 1, 28, 28)
    np.testing.assert_array_equal(split.train.images, expected[3::10])
    assert split.test.names.tolist() == [str(k % 10) for k in range(30)]
    np.testing.assert_array_equal(datasets.load_all("mnist", tmp_path), expected)


def test_places_in_order(tmp_path, monkeypatch):
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
def test_layouts(tmp_path, layout):
    """The folder above is named, or the folder itself."""
    put(tmp_path / "here" / layout)
    for root in (tmp_path / "here", tmp_path / "here" / layout):
        assert len(datasets.load("mnist", "0", root=root).train) == 3


def test_notmnist_has_one_part_that_serves_as_both(tmp_path):
    files = {key: raw for key, raw in idx_files().items() if "test" in key}
    put(tmp_path / "notMNIST_10k" / "raw", files)
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
        "fashion-mnist was not found. Looked in",
        str(tmp_path / "cache" / "fashion-mnist"),
        "train-images-idx3-ubyte",
        "$FCDD_DATA",
        "fcdd.datasets.load('fashion-mnist', ..., download=True)",
        "Debian's package dataset-fashion-mnist",
        "embedded subset 'fashion-mnist-small'",
    ):
        assert text in str(error.value)
    with pytest.raises(FileNotFoundError) as error:
        datasets.load("notmnist", "A", download=True)
    assert "download=True" not in str(error.value)  # it has no mirror


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
def test_damaged_files(tmp_path, damage, key):
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
def test_files_that_do_not_belong_together(tmp_path, files, text):
    put(tmp_path / "mnist", idx_files() | files)
    with pytest.raises(DataError, match=text):
        datasets.load("mnist", "0", root=tmp_path)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A web server on this machine that holds MNIST's packed files, and the data set's entry with its address."""
    served = put(tmp_path / "served", packed=True)
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        md5 = {key: hashlib.md5((served / f"{file}.gz").read_bytes()).hexdigest() for key, file in idx.FILES.items()}
        entry = idx.Entry(idx.FAMILY["mnist"].classes, ("mnist",), {}, f"http://127.0.0.1:{server.server_port}/", md5)
        monkeypatch.setitem(idx.FAMILY, "mnist", entry)
        yield entry
        server.shutdown()


def test_download(mirror, tmp_path):
    with pytest.raises(FileNotFoundError):
        datasets.load("mnist", "0")  # nothing is fetched unasked
    split = datasets.load("mnist", "0", download=True)
    assert split.source == str(tmp_path / "cache" / "mnist") and len(split.train) == 3
    for file in (tmp_path / "served").iterdir():
        file.unlink()
    assert datasets.load("mnist", "0").source == split.source  # now it is here
    assert datasets.load("mnist", "0", download=True).source == split.source


def test_download_with_a_wrong_checksum(mirror, tmp_path):
    mirror.md5["train_labels"] = "0" * 32
    with pytest.raises(ValueError, match="hash of downloaded file .*train-labels.* does not match"):
        datasets.load("mnist", "0", download=True)
    assert not (tmp_path / "cache" / "mnist" / "train-labels-idx1-ubyte.gz").exists()
    with pytest.raises(FileNotFoundError):
        datasets.load("mnist", "0")


def test_download_of_what_is_not_there(mirror, tmp_path):
    (tmp_path / "served" / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(OSError, match="404"):
        datasets.load("mnist", "0", download=True)


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
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            FileNotFoundError, match=r"expected nominal images in .*train/good, found none \(of .bmp, .jpeg, .jpg"
        ):
            datasets.folder(path)
    with pytest.raises(FileNotFoundError, match="expected images below .*, found none"):
        datasets.image_folder(tmp_path, (8, 8))


def test_image_folder_reads_all_kinds_below(tmp_path):
    picture(tmp_path / "b" / "1.JPG", (200, 0, 0))
    picture(tmp_path / "a.png", (1, 2, 3))
    picture(tmp_path / "c.bmp", (7,), "L")
    Image.new("RGBA", (9, 9), (5, 6, 7, 8)).save(tmp_path / "d.png")
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
