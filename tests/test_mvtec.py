"""MVTec-AD: found, unpacked, fetched; the layout's problems, all at once; masks at both sizes."""

import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest
import torch
from conftest import SHARED
from PIL import Image

from fcdd import datasets
from fcdd.datasets import DataError, fetch, mvtec
from fcdd.datasets.folders import folder, original_masks


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing outside the test's folder is looked at or written to."""
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(fetch, "DEBIAN", tmp_path / "debian")
    monkeypatch.delenv("FCDD_DATA", raising=False)


def picture(path, size=(40, 30), mode="RGB", value=100, box=None, paint=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size, value if mode == "L" else (value,) * 3)
    if box:
        image.paste(paint, box)
    image.save(path)
    return path


def category(root, suffix="png", mode="RGB"):
    """A small category: pictures of several sizes, two defects."""
    for k in range(3):
        picture(root / "train" / "good" / f"{k:03}.{suffix}", (40 + 10 * k, 30), mode, 100 + k)
    picture(root / "test" / "good" / f"000.{suffix}", (44, 33), mode)
    for k, kind in enumerate(("broken", "dirty")):
        picture(root / "test" / kind / f"000.{suffix}", (60, 40 + 10 * k), mode)
        picture(root / "ground_truth" / kind / "000_mask.png", (60, 40 + 10 * k), "L", 0, box=(0, 0, 30, 10))
    return root


# ---- where it lies ----


@pytest.mark.parametrize("place", ["mvtec/screw", "mvtec_anomaly_detection/screw", "mvtec/mvtec_ad_256/screw",
                                   "MVTec-AD/screw"])  # fmt: skip
def test_found_in_folders_named_after_it(tmp_path, monkeypatch, place):
    category(tmp_path / "data" / place)
    monkeypatch.setenv("FCDD_DATA", str(tmp_path / "data"))
    split = mvtec.mvtec("screw", size=(24, 32))
    assert split.name == "mvtec/screw" and split.normal == "good" and split.source == str(tmp_path / "data" / place)
    assert split.train.images.shape == (3, 3, 24, 32) and split.test.masks.shape == (3, 1, 24, 32)
    assert split.test.names.tolist() == ["broken/000", "dirty/000", "good/000"]
    assert split.test.anomalous.tolist() == [True, True, False]


def test_a_root_may_have_any_name(tmp_path):
    category(tmp_path / "things" / "cable")
    for root in (tmp_path, tmp_path / "things"):
        assert len(mvtec.mvtec("cable", root=root, size=(8, 8)).train) == 3
    (tmp_path / "data").mkdir()
    with pytest.raises(FileNotFoundError, match="cable was not found"):
        mvtec.mvtec("cable", root=tmp_path / "data")


def test_any_subset_of_the_categories(tmp_path):
    assert len(mvtec.CATEGORIES) == 15 and sorted(mvtec.CATEGORIES) == list(mvtec.CATEGORIES)
    for name in ("metal_nut", "wood"):
        category(tmp_path / "mvtec" / name, "jpg", "L")
        assert len(mvtec.mvtec(name, root=tmp_path).test) == 3


def test_not_found_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        mvtec.mvtec("pill")
    for text in (f"pill/train/good in {tmp_path}/cache/mvtec*", "mvtec.com/company/research/datasets", "$FCDD_DATA",
                 "download=True"):  # fmt: skip
        assert text in str(error.value)
    with pytest.raises(ValueError, match="unknown category 'bolt' of MVTec-AD; known: bottle, cable"):
        mvtec.mvtec("bolt")


# ---- archives ----


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The publisher's archive, as small as can be."""
    category(tmp_path / "made" / "zipper")
    path = tmp_path / "data" / mvtec.OFFICIAL
    path.parent.mkdir()
    with tarfile.open(path, "w:xz") as file:
        file.add(tmp_path / "made" / "zipper", "zipper")
    monkeypatch.setitem(fetch.SHA256, mvtec.OFFICIAL, hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_archive_is_unpacked_once(tmp_path, archive, monkeypatch):
    split = mvtec.mvtec("zipper", root=archive.parent, size=(8, 8))
    assert split.source == str(tmp_path / "cache" / "mvtec" / "mvtec_anomaly_detection" / "zipper")
    archive.write_bytes(b"not looked at again")
    again = mvtec.mvtec("zipper", root=archive.parent, size=(8, 8))
    assert torch.equal(again.test.images, split.test.images)
    assert not list((tmp_path / "cache" / "mvtec").glob(".unpacking*"))


def test_archive_without_the_category(archive):
    with pytest.raises(FileNotFoundError, match="pill was not found"):
        mvtec.mvtec("pill", root=archive.parent)


def test_damaged_archive(tmp_path, archive, monkeypatch):
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DataError, match="mvtec_anomaly_detection.tar.xz is damaged: expected sha256"):
        mvtec.mvtec("zipper", root=archive.parent)
    monkeypatch.setitem(fetch.SHA256, mvtec.OFFICIAL, hashlib.sha256(archive.read_bytes()).hexdigest())
    with pytest.raises(DataError, match="cannot be unpacked"):
        mvtec.mvtec("zipper", root=archive.parent)
    assert not [path for path in (tmp_path / "cache" / "mvtec").iterdir() if path.suffix != ".lock"]


def test_archive_that_leaves_its_folder_is_refused(tmp_path, archive, monkeypatch):
    with tarfile.open(archive, "w:xz") as file:
        harmful = tarfile.TarInfo("../../outside.txt")
        harmful.size = 4
        file.addfile(harmful, io.BytesIO(b"evil"))
    monkeypatch.setitem(fetch.SHA256, mvtec.OFFICIAL, hashlib.sha256(archive.read_bytes()).hexdigest())
    with pytest.raises(DataError, match="cannot be unpacked"):
        mvtec.mvtec("zipper", root=archive.parent)
    assert not list(tmp_path.rglob("outside.txt"))


# ---- downloads ----


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file, parts of it too; may break off."""

    content, breaks_after, ranges, asked = b"", None, True, []

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.ranges else 0
        type(self).asked.append(start)
        if start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start : self.breaks_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(archive, monkeypatch):
    handler = type("Handler", (Server,), {"content": archive.read_bytes(), "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(mvtec, "URL", f"http://127.0.0.1:{running.server_port}/{mvtec.OFFICIAL}")
        yield handler
        running.shutdown()


def test_download(server, tmp_path):
    split = mvtec.mvtec("zipper", size=(8, 8), download=True)
    assert split.source.startswith(str(tmp_path / "cache"))
    mvtec.mvtec("zipper", size=(8, 8), download=True)
    assert server.asked == [0]  # once


@pytest.mark.parametrize("ranges", [True, False])
def test_download_goes_on_where_it_stopped(server, tmp_path, ranges):
    """Also where the server starts anew whatever it is asked."""
    server.ranges, server.breaks_after = ranges, 1000
    with pytest.raises(OSError, match="the connection ended after 1000 of .* bytes; try again to go on"):
        mvtec.mvtec("zipper", size=(8, 8), download=True)
    server.breaks_after = None
    assert len(mvtec.mvtec("zipper", size=(8, 8), download=True).train) == 3
    assert server.asked == [0, 1000 if ranges else 0]


def test_download_that_was_complete_but_not_yet_checked(server, tmp_path):
    part = tmp_path / "cache" / "mvtec" / f"{mvtec.OFFICIAL}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.content)
    assert len(mvtec.mvtec("zipper", size=(8, 8), download=True).train) == 3


def test_download_of_another_file(server, tmp_path):
    server.content = b"this is a page that asks for a password"
    with pytest.raises(DataError, match="did not give the file expected .*; what came was removed, try again"):
        mvtec.mvtec("zipper", size=(8, 8), download=True)
    assert not list((tmp_path / "cache" / "mvtec").glob("*.part"))


# ---- the layout ----


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_masks_at_both_sizes(tmp_path, suffix, mode):
    split = folder(category(tmp_path / "x", suffix, mode), size=(20, 20))
    original = original_masks(split)
    assert [mask.shape for mask in original] == [(40, 60), (50, 60), (33, 44)]  # varying sizes and aspect ratios
    assert [mask.dtype for mask in original] == [np.dtype(bool)] * 3
    assert [int(mask.sum()) for mask in original] == [300, 300, 0] and original[0][:10, :30].all()
    assert split.test.masks.sum((1, 2, 3)).tolist() == [5 * 10, 4 * 10, 0]  # nearest: nothing in between


def test_masks_written_as_0_and_1(tmp_path):
    root = category(tmp_path / "x")
    picture(root / "ground_truth" / "broken" / "000_mask.png", (60, 40), "L", 0, box=(0, 0, 30, 10), paint=1)
    split = folder(root, size=(20, 20))
    assert split.test.masks[0].sum() == 50 and original_masks(split)[0].sum() == 300


def test_masks_with_other_names(tmp_path):
    root = category(tmp_path / "x")
    mask = root / "ground_truth" / "broken" / "000_mask.png"
    for name in ("000.png", "000_mask.bmp"):
        other = mask.with_name(name)
        Image.open(mask).save(other)
        mask.unlink()
        mask = other
        assert folder(root, size=(20, 20)).test.masks[0].sum() == 50


def test_images_and_masks_move_together(tmp_path):
    """A defect drawn into image and mask alike is at the same place in both, at every size."""
    root = category(tmp_path / "x")
    picture(root / "test" / "broken" / "000.png", (60, 40), box=(12, 8, 48, 32), paint=(255, 0, 0))
    picture(root / "ground_truth" / "broken" / "000_mask.png", (60, 40), "L", 0, box=(12, 8, 48, 32))
    for size in ((40, 60), (20, 30), (33, 17), (80, 90)):
        split = folder(root, size=size)
        drawn = split.test.images[0, 0].float() > 177
        assert (drawn != split.test.masks[0, 0]).float().mean() < 0.09


def test_original_masks_of_a_part(tmp_path):
    from dataclasses import replace

    split = folder(category(tmp_path / "x"), size=(20, 20))
    part = replace(split, test=replace(split.test, names=split.test.names[[2, 1]]))
    assert [mask.shape for mask in original_masks(part)] == [(33, 44), (50, 60)]
    (tmp_path / "x" / "test" / "good" / "000.png").unlink()
    with pytest.raises(FileNotFoundError, match="expected the picture good/000 below .*x; it was there when"):
        original_masks(part)


def test_an_original_mask_damaged_since_it_was_read_is_told(tmp_path):
    """Not taken for a blank one: that would count every pixel of the defect as good."""
    split = folder(category(tmp_path / "x"), size=(20, 20))
    mask = tmp_path / "x" / "ground_truth" / "broken" / "000_mask.png"
    whole = mask.read_bytes()
    for kept in (len(whole) - 40, 10):
        mask.write_bytes(whole[:kept])
        with pytest.raises(DataError, match="broken/000_mask.png: cannot be read"):
            original_masks(split)


def test_all_problems_are_listed_at_once(tmp_path):
    root = category(tmp_path / "x")
    truth, test = root / "ground_truth", root / "test"
    picture(truth / "broken" / "007_mask.png", mode="L")  # no image
    picture(truth / "bent" / "000_mask.png", mode="L")  # no such defect
    picture(test / "broken" / "001.png")  # no mask
    picture(truth / "dirty" / "000_mask.png", (50, 60), "L")  # turned
    (test / "lost").mkdir()  # empty
    (test / "good" / "000.png").write_bytes((test / "dirty" / "000.png").read_bytes()[:60])
    with pytest.raises(DataError) as error:
        folder(root)
    lines = str(error.value).splitlines()
    assert lines[0] == f"6 problems in {root}:" and len(lines) == 7
    assert sorted(line.removeprefix(f"- {root}/").split(" (")[0] for line in lines[1:]) == sorted([
        f"ground_truth/broken/007_mask.png: there is no image for this mask in {test}/broken",
        f"ground_truth/bent/000_mask.png: there is no image for this mask in {test}/bent",
        "ground_truth/broken/001_mask.png: missing",
        "ground_truth/dirty/000_mask.png: 50×60 px, but its image has 60×50",
        "test/lost: empty; put images there or remove it",
        "test/good/000.png: cannot be read",
    ])  # fmt: skip


def test_damaged_masks_are_named(tmp_path):
    root = category(tmp_path / "x")
    mask = root / "ground_truth" / "dirty" / "000_mask.png"
    mask.write_bytes(mask.read_bytes()[:60])
    with pytest.raises(DataError, match="1 problems in .*\n- .*dirty/000_mask.png: cannot be read"):
        folder(root)


def test_no_good_images_beside_other_problems(tmp_path):
    root = category(tmp_path / "x")
    for file in (root / "train" / "good").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="expected nominal images in"):
        folder(root)
    (root / "ground_truth" / "dirty" / "000_mask.png").unlink()
    with pytest.raises(DataError, match="2 problems in .*\n- .*000_mask.png: missing .*\n- expected nominal images in"):
        folder(root)


# ---- the real ones ----


@pytest.fixture(scope="module")
def bottle(tmp_path_factory):
    if not (SHARED / "data" / "mvtec_ad_256_bottle_screw.tar").exists():
        pytest.skip("needs MVTec-AD's bottle in the shared data")
    place = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "cache", lambda: place)
        patch.setenv("FCDD_DATA", str(SHARED / "data"))
        yield {name: mvtec.mvtec(name, size=(64, 64)) for name in ("bottle", "screw")}


def test_counts_of_the_real_images(bottle):
    """As published: 209 and 320 good images to train, 20 and 41 to test, 63 and 119 defective ones."""
    assert {name: (len(s.train), int((~s.test.anomalous).sum()), int(s.test.anomalous.sum()))
            for name, s in bottle.items()} == {"bottle": (209, 20, 63), "screw": (320, 41, 119)}  # fmt: skip
    for split in bottle.values():
        assert split.test.masks[~split.test.anomalous].sum() == 0
        masks = original_masks(split)
        assert {mask.shape for mask in masks} == {(256, 256)}
        assert [bool(mask.any()) for mask in masks] == split.test.anomalous.tolist()


def test_datasets_know_the_same_error():
    assert datasets.DataError is DataError
