"""PIPED: real defects inside the package and beside it; ``fcdd data`` lists, fetches, verifies and copies."""

import gzip
import hashlib
import shutil
import tarfile

import numpy as np
import pytest
import torch
from conftest import SHARED
from PIL import Image
from typer.testing import CliRunner

import fcdd
from fcdd import datasets
from fcdd.cli import data
from fcdd.datasets import DataError, fetch, idx, piped
from fcdd_study import make_piped, protocol
from fcdd_study.defects import with_defects

TYPES = ("bft01_tl", "brg01_rl", "fvn02_rl", "gla01_tl")
LOSSLESS = SHARED / "data" / "piped_8types_128.tar"


@pytest.fixture(autouse=True)
def no_outside(monkeypatch, tmp_path):
    """Nothing outside the test's folder is looked at or written to."""
    monkeypatch.delenv("FCDD_DATA", raising=False)
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(fetch, "DEBIAN", tmp_path / "debian")


# ---- inside the package ----


def test_the_archive_is_the_one_whose_checksum_is_registered():
    sha256 = hashlib.sha256(piped.SMALL.read_bytes()).hexdigest()
    assert sha256 == fetch.SHA256["piped_small.tar"] == datasets.checksums("piped-small", None)[piped.SMALL]
    assert piped.SMALL.stat().st_size < 6e6 and datasets.classes("piped-small") == list(TYPES)


def test_authors_licence_and_changes_stand_beside_it():
    told = piped.LICENCE.read_text(encoding="utf-8")
    for text in ("Bianconi", "Ceccarelli", "Fernández", "Saetta", "Computers in Industry 65 (2014) 325–332", *TYPES,
                 "https://creativecommons.org/licenses/by/4.0/", "https://github.com/bianconif/PIPED", "JPEG",
                 "split is ours", "without any warranty", fetch.SHA256["piped_small.tar"]):  # fmt: skip
        assert text in told


@pytest.mark.parametrize("normal", TYPES)
def test_a_split_by_sheet(normal):
    split = datasets.load("piped-small", normal, size=(128, 128))
    train, test = split.train, split.test
    assert split.name == f"piped-small/{normal}" and split.normal == "good" and "PIPED, CC BY 4.0" in repr(split)
    assert train.images.shape == (32, 3, 128, 128) and train.images.dtype == torch.uint8 and not train.anomalous.any()
    assert sorted(set(train.groups)) == [f"{sheet:02}" for sheet in range(1, 9)]
    assert len(test) == 32 and test.anomalous.sum() == 16 and set(test.groups) == {"09", "10", "11", "12"}
    assert [name.split("/")[-1][:2] for name in test.names] == list(test.groups)
    assert test.masks.shape == (32, 1, 128, 128) and test.masks.dtype == torch.bool
    assert np.array_equal(test.masks.flatten(1).any(1).numpy(), test.anomalous)
    assert 0.001 < test.masks[test.anomalous].float().mean() < 0.1


def test_not_strict_keeps_the_defects_of_sheets_that_good_images_train_from():
    strict, whole = (datasets.load("piped-small", "bft01_tl", size=(32, 32), strict=strict) for strict in (True, False))
    assert whole.test.anomalous.sum() == 48 and len(whole.test) == 64
    assert set(whole.test.groups[whole.test.anomalous]) == {f"{sheet:02}" for sheet in range(1, 13)}
    kept = np.isin(whole.test.names, strict.test.names)
    assert torch.equal(whole.test.images[kept], strict.test.images) and torch.equal(
        whole.train.images, strict.train.images
    )
    assert not set(whole.test.groups[~kept]) - set(whole.train.groups)


@pytest.mark.parametrize("normal", TYPES)
def test_the_masks_lie_on_the_impurities(normal):
    """Impurities are darker than the paper around them; where a mask of another picture is, it is not."""
    test = datasets.load("piped-small", normal, size=(128, 128), strict=False).test
    grey, masks = test.images.float().mean(1)[test.anomalous], test.masks[:, 0][test.anomalous]

    def darker(masks):
        return [bool(g[m].mean() < g[~m].mean()) for g, m in zip(grey, masks, strict=True)]

    assert np.mean(darker(masks)) > 0.95 and np.mean(darker(masks.roll(1, 0))) < 0.8


def test_masks_at_the_size_of_the_files():
    split = datasets.load("piped-small", "gla01_tl")
    assert split.train.images.shape[2:] == split.test.masks.shape[2:] == (256, 256)
    originals = datasets.original_masks(split)
    assert {mask.shape for mask in originals} == {(128, 128)}
    doubled = np.stack(originals).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(doubled, split.test.masks[:, 0].numpy())  # no pixel of a mask is mixed


def test_groups_stay_with_their_images():
    split = datasets.load("piped-small", "fvn02_rl", size=(32, 32))
    chosen = [5, 20, 3]
    assert list(split.test.take(chosen).groups) == list(split.test.groups[chosen])
    assert datasets.load("fashion-mnist-small", "Bag").test.take([1]).groups is None
    semi = with_defects(split, k=2)
    moved = semi.train.names[semi.train.anomalous]
    assert len(semi.train.groups) == len(semi.train) == 34 and len(semi.test.groups) == len(semi.test) == 30
    assert [name.split("/")[-1][:2] for name in moved] == list(semi.train.groups[-2:])
    folds = fcdd.calibration.parts(np.ones(32, bool), 0, split.train.groups, count=4)
    held = [set(split.train.groups[part]) for part in folds]
    assert [len(part) for part in held] == [2] * 4 and len(set.union(*held)) == 8


def test_unpacked_once(tmp_path, monkeypatch):
    where = piped.tree(piped.SMALL)
    assert where.is_relative_to(tmp_path / "cache")
    monkeypatch.setattr(piped, "extract", None)
    (where / TYPES[0] / "train" / "good" / "01_1.jpg").unlink()
    assert len(datasets.load("piped-small", TYPES[0], size=(8, 8)).train) == 31  # the same folder again


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(fetch, "cache", lambda: tmp_path / "file" / "cache")
    piped._alone.cache_clear()
    assert len(datasets.load("piped-small", TYPES[1], size=(8, 8)).train) == 32
    assert "piped_small.tar is unpacked for this process alone" in caplog.text


def test_a_changed_archive(tmp_path, monkeypatch):
    changed = tmp_path / "piped_small.tar"
    changed.write_bytes(piped.SMALL.read_bytes()[:-1])
    monkeypatch.setattr(piped, "SMALL", changed)
    with pytest.raises(DataError, match="piped_small.tar is damaged: expected sha256 f1d7fbb17343"):
        datasets.load("piped-small", "bft01_tl")


@pytest.mark.parametrize("call, text", [
    (lambda: datasets.load("piped-small", "zpb01_rl"), "unknown class 'zpb01_rl' of piped-small; known: bft01_tl"),
    (lambda: datasets.load("piped-small", "bft01_tl", labelled=0.1), "piped-small takes no labelled; leave it out"),
])  # fmt: skip
def test_what_it_does_not_take(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_the_study_knows_it():
    split = protocol.split("smoke", "bft01_tl", "piped-small")
    assert split.name == "piped-small/bft01_tl" and split.test.masks is not None
    assert "piped" in protocol.data_sets("full") and len(protocol.classes("full", "piped")) == 8


# ---- the lossless eight ----


@pytest.fixture
def lossless(monkeypatch):
    if not LOSSLESS.exists():
        pytest.skip(f"needs {LOSSLESS}")
    monkeypatch.setenv("FCDD_DATA", str(LOSSLESS.parent))


def test_lossless_types(lossless):
    for normal, sheets in (("zpb01_rl", 8), ("bdp01_tl", 4)):
        split = datasets.load("piped", normal, size=(128, 128))
        assert len(split.train) == 32 and len(split.test) == 32 and split.test.anomalous.sum() == 16
        assert len(set(split.train.groups)) == sheets and min(split.test.groups) > max(split.train.groups)
    assert datasets.where("piped") == str(LOSSLESS)


def test_the_small_one_is_a_part_of_it(lossless):
    small, whole = (datasets.load(name, "gla01_tl", size=(128, 128)) for name in ("piped-small", "piped"))
    assert list(small.train.names) == list(whole.train.names) and list(small.test.names) == list(whole.test.names)
    assert torch.equal(small.test.masks, whole.test.masks)
    change = (small.train.images.int() - whole.train.images.int()).abs().float()
    assert 0 < change.mean() < 4  # grey levels: JPEG


def test_not_found_says_how_to_get_it():
    for call in (lambda: datasets.load("piped", "bdp01_tl"), lambda: datasets.where("piped", download=True)):
        with pytest.raises(FileNotFoundError) as error:
            call()
        for text in ("piped_8types_128.tar", "github.com/bianconif/PIPED", "'piped-small'", "$FCDD_DATA"):
            assert text in str(error.value)
        assert "data fetch" not in str(error.value)  # nobody offers it


def test_found_as_a_folder(tmp_path, monkeypatch):
    shutil.copytree(piped.tree(piped.SMALL), tmp_path / "data" / "piped")
    monkeypatch.setenv("FCDD_DATA", str(tmp_path / "data"))
    split = datasets.load("piped", "brg01_rl", size=(16, 16))
    assert split.source == str(tmp_path / "data" / "piped" / "brg01_rl") and len(split.test) == 32
    assert datasets.checksums("piped", tmp_path / "data" / "piped") == {}


# ---- fcdd data ----


@pytest.fixture
def run():
    """Calls ``fcdd data``; returns what it prints on stdout and on stderr."""

    def call(*arguments):
        result = CliRunner().invoke(data.app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout, result.stderr

    return call


def test_copied_as_folders_with_the_licence(run, tmp_path):
    told, _ = run("copy", "piped-small", tmp_path / "new" / "paper")
    copied = tmp_path / "new" / "paper"
    assert told == f"577 files in {copied}: {', '.join(TYPES)}\n"
    assert (copied / "LICENCE.md").read_bytes() == piped.LICENCE.read_bytes()
    split, inside = (
        datasets.folder(copied / "fvn02_rl", (32, 32)),
        datasets.load("piped-small", "fvn02_rl", size=(32, 32)),
    )
    assert torch.equal(split.train.images, inside.train.images) and len(split.test) == 64
    with tarfile.open(piped.SMALL) as archive:
        member = archive.extractfile("piped/gla01_tl/ground_truth/impurity/09_1_mask.png").read()
    assert (copied / "gla01_tl" / "ground_truth" / "impurity" / "09_1_mask.png").read_bytes() == member


def test_nothing_is_overwritten_unless_forced(run, tmp_path):
    mine = tmp_path / "gla01_tl" / "train" / "good" / "08_4.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    other = tmp_path / "other.txt"
    other.write_text("other")
    with pytest.raises(
        FileExistsError, match=r"1 of 577 files are there already, .*08_4.jpg.* none was written.*--force"
    ):
        run("copy", "piped-small", tmp_path)
    assert mine.read_text() == "mine" and len([p for p in tmp_path.rglob("*.jpg") if "cache" not in p.parts]) == 1
    run("copy", "piped-small", tmp_path, "--force")
    assert Image.open(mine).size == (128, 128) and other.read_text() == "other"


def test_a_link_is_replaced_and_not_followed(run, tmp_path):
    outside, link = tmp_path / "outside.md", tmp_path / "paper" / "LICENCE.md"
    outside.write_text("mine")
    link.parent.mkdir()
    link.symlink_to(outside)
    run("copy", "piped-small", tmp_path / "paper", "--force")
    assert outside.read_text() == "mine" and not link.is_symlink()


@pytest.mark.parametrize("name, error, text", [
    ("mnist-small", ValueError, "unknown data set 'mnist-small'"),
    ("fashion-mnist-small", ValueError, r"can be copied as pictures \(piped, piped-small\), got fashion-mnist-small"),
    ("piped", FileNotFoundError, "piped was not found"),
])  # fmt: skip
def test_what_cannot_be_copied(run, tmp_path, name, error, text):
    with pytest.raises(error, match=text):
        run("copy", name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_copy_to_a_file(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="expected a folder to copy to"):
        run("copy", "piped-small", tmp_path / "file")


def test_listed(run, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cifar10_sheets.tar").write_text("not to be opened")
    told, _ = run("list")
    rows = {line.split()[1]: line for line in told.splitlines() if "│" in line}
    assert set(datasets.names()) == rows.keys() and "PIPED, CC BY 4.0" in rows["piped-small"]
    assert "not found" in rows["piped"] and str(tmp_path / "cache" / "cifar10_sheets.tar") in rows["cifar10"]
    assert run()[0] == told  # without a command
    assert [line.split()[1] for line in run("list", "piped-small")[0].splitlines() if "│" in line] == ["piped-small"]
    with pytest.raises(FileNotFoundError, match="mnist was not found"):
        run("list", "mnist")


def test_verified(run, tmp_path):
    told, _ = run("verify")
    assert {line.split(":")[0] for line in told.splitlines()} == {"fashion-mnist-small", "piped-small", "textures"}
    assert told.count(": whole") == 2 and told.count("no checksum is known") == 1


def test_a_damaged_file_is_told_and_so_are_all_others(run, tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "piped_8types_128.tar").write_text("cut short")
    result = CliRunner().invoke(data.app, ["verify"])
    assert isinstance(result.exception, DataError) and str(result.exception).startswith("1 files differ")
    assert "piped_8types_128.tar: expected sha256 54500c40" in result.stdout and result.stdout.count(": whole") == 2


def test_packed_and_missing_files_are_verified_too(run, tmp_path, monkeypatch):
    """idx files: the sum is of what is packed."""
    home = tmp_path / "cache" / "mnist"
    home.mkdir(parents=True)
    known = {}
    for key, file in fetch.FACTS["mnist"]["files"].items():
        (home / f"{file}.gz").write_bytes(gzip.compress(key.encode()))
        known[key] = hashlib.sha256(key.encode()).hexdigest()
    monkeypatch.setitem(fetch.FACTS["mnist"], "unpacked", known)
    assert run("verify", "mnist")[0].count(": whole") == 4
    last = sorted(home.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-9])
    result = CliRunner().invoke(data.app, ["verify", "mnist"])
    assert isinstance(result.exception, DataError) and result.stdout.count(": whole") == 3


def test_fetched(run, tmp_path, monkeypatch):
    def get():
        (tmp_path / "cache" / "mnist").mkdir(parents=True)
        for file in fetch.FACTS["mnist"]["files"].values():
            (tmp_path / "cache" / "mnist" / file).write_bytes(b"")

    entry = idx.official("mnist", checked=False)
    monkeypatch.setitem(datasets.REGISTRY, "mnist", fetch.Entry(**{**vars(entry), "fetch": get}))
    where = tmp_path / "cache" / "mnist"
    assert run("fetch", "mnist", "piped-small")[0].splitlines() == [
        f"mnist: {where}", "piped-small: the package itself (part of PIPED, CC BY 4.0)",
    ]  # fmt: skip
    shutil.rmtree(where)
    told, warned = run("mnist", "--download")  # as it was called before
    assert told == f"mnist: {where}\n"
    assert warned == "fcdd data mnist is now fcdd data fetch mnist; the old way works for one version\n"


def test_the_old_way_to_list(run):
    told, warned = run("piped-small")
    assert "PIPED, CC BY 4.0" in told and "is now fcdd data list piped-small" in warned
    with pytest.raises(ValueError, match="unknown data set 'lst'; known: cifar10"):
        run("lst")


def test_wrong_usage_ends_with_2(tmp_path):
    for arguments in (["copy", "piped-small"], ["fetch"], ["list", "--download"], ["--download"]):
        assert CliRunner().invoke(data.app, arguments).exit_code == 2


# ---- the originals, sorted ----


def original(clone, kind, patch, value, name="bft01_tl"):
    folder = {"ND": "NoDefects", "D": "Defects", "GT": "Defects/GroundThruth"}[kind]
    path = clone / "data" / f"PA_{name.upper()}" / folder / f"PA_{name.upper()}_S_{kind}_{patch}.bmp"
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((8, 8, 3), value, np.uint8)
    if kind == "GT":
        array[:2] = 255 - value
    Image.fromarray(array).save(path)


def test_originals_are_sorted_by_sheet(tmp_path, monkeypatch):
    for sheet in range(1, 7):
        original(tmp_path / "clone", "ND", f"{sheet:02}_1", 10 * sheet)
        original(tmp_path / "clone", "D", f"{sheet:02}_1", 10 * sheet + 5)
        original(tmp_path / "clone", "GT", f"{sheet:02}_1", 255 * (sheet % 2))  # either way round
    monkeypatch.setattr(datasets, "classes", lambda name: ["bft01_tl"])
    make_piped.sort(tmp_path / "clone", tmp_path / "cache" / "piped")
    monkeypatch.undo()
    split = datasets.load("piped", "bft01_tl", root=tmp_path / "cache", size=(8, 8))
    assert split.train.images[:, 0, 0, 0].tolist() == [10, 20, 30, 40] and list(split.test.groups) == ["05", "06"] * 2
    assert split.test.images[split.test.anomalous][:, 0, 0, 0].tolist() == [55, 65]
    assert split.test.masks[split.test.anomalous].sum((1, 2, 3)).tolist() == [16, 16]
    assert split.test.masks[split.test.anomalous][:, :, :2].all()
    with pytest.raises(FileNotFoundError, match="expected pictures .* in .*PA_BDP01_TL/NoDefects"):
        make_piped.sort(tmp_path / "clone", tmp_path / "other")


def test_the_lossless_archive_has_the_pixels_that_are_asked_for(lossless):
    assert make_piped.pixels(piped.tree(LOSSLESS)) == make_piped.PIXELS
