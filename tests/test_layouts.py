"""Which layout a folder has: recognised and said in one line, or refused with the layouts that are known."""

import numpy as np
import pytest
from PIL import Image

from fcdd import datasets, layouts
from fcdd.layouts import recognise

PICTURE = np.random.default_rng(0).integers(60, 200, (32, 40, 3), dtype=np.uint8)
MARK = np.zeros((32, 40), np.uint8)
MARK[4:12, 6:14] = 255


def put(root, *names, array=PICTURE):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(root / name)


def several(folder, count, suffix="png"):
    return [f"{folder}/{k:03}.{suffix}" for k in range(count)]


def mvtec(root, good="good", bad="scratch", masks="ground_truth", test="test", train="train", suffix="_mask.png"):
    put(root, *several(f"{train}/{good}", 4), *several(f"{test}/{good}", 2), *several(f"{test}/{bad}", 3))
    put(root, *(f"{masks}/{bad}/{k:03}{suffix}" for k in range(3)), array=MARK)
    return root


def visa(root, name="candle"):
    data = f"{name}/Data"
    put(root, *several(f"{data}/Images/Normal", 5, "JPG"), *several(f"{data}/Images/Anomaly", 2, "JPG"))
    put(root, *several(f"{data}/Masks/Anomaly", 2), array=MARK // 255 * 2)
    rows = [f"{name},{'train' if k < 4 else 'test'},normal,{data}/Images/Normal/{k:03}.JPG," for k in range(5)]
    rows += [f"{name},test,anomaly,{data}/Images/Anomaly/{k:03}.JPG,{data}/Masks/Anomaly/{k:03}.png" for k in range(2)]
    table = root / "split_csv" / "1cls.csv"
    table.parent.mkdir(exist_ok=True)
    old = table.read_text().splitlines() if table.exists() else ["object,split,label,image,mask"]
    table.write_text("\n".join(old + rows) + "\n")
    return root / name


def own_table(root):
    put(root, *several("images", 6))
    put(root, "masks/005.png", array=MARK)
    lines = [f"images/{k:03}.png;OK;" for k in range(4)] + ["images/004.png;ok;", "images/005.png;dent;masks/005.png"]
    (root / "labels.csv").write_text("\ufeffFile name;Label;Mask path\n" + "\n".join(lines))
    return root


def beside(root, masks=True, **names):
    put(root, *several("OK", 4), *several("NG", 3))
    if masks:
        put(root, *several("masks", 3), array=MARK)
    return root


def flat(root, *folders):
    put(root, *(name for folder in folders or (".",) for name in several(folder, 4)))
    return root


def wrapped(root):
    mvtec(root / "screw")
    return root


def of_one(root):
    put(root, "part.png")
    return root / "part.png"


TREE = "train and test, as MVTec-AD has them; 4 good pictures to learn from in"
PAIR = "good pictures beside defects; 4 good pictures to learn from in OK; 3 defects in NG, not learnt from"
ALONE = "good pictures alone; {} good pictures to learn from in {}"
# name: how it is made, the line that is said (without the root), how many masks
KNOWN = {
    "MVTec": (mvtec, f"{TREE} train/good; 2 other good ones in test/good and 3 defects in test/scratch, not learnt "
                     "from; 3 masks in ground_truth/scratch", 3),
    "BTAD": (lambda r: mvtec(r, "ok", "ko", suffix=".png"),
             f"{TREE} train/ok; 2 other good ones in test/ok and 3 defects in test/ko, not learnt from; "
             "3 masks in ground_truth/ko", 3),
    "in capitals": (lambda r: mvtec(r, "Good", "Crack", "Ground_Truth", "Test", "Train"),
                    f"{TREE} Train/Good; 2 other good ones in Test/Good and 3 defects in Test/Crack, not learnt from; "
                    "3 masks in Ground_Truth/Crack", 3),
    "masks by another name": (lambda r: mvtec(r, "normal", "abnormal", "test/masks", suffix="-GT.png"),
                              f"{TREE} train/normal; 2 other good ones in test/normal and 3 defects in test/abnormal, "
                              "not learnt from; 3 masks in test/masks/abnormal", 3),
    "VisA": (visa, "a table, as VisA has it; 4 good pictures to learn from in .; 1 other good one in "
             "Data/Images/Normal and 2 defects in Data/Images/Anomaly, not learnt from; 2 masks in "
             "Data/Masks/Anomaly", 2),
    "an own table": (own_table, "a table, as VisA has it; 5 good pictures to learn from in .; 1 defect in images, not "
                     "learnt from; 1 mask in masks; passed over: 1 no pictures (labels.csv)", 1),
    "good and bad": (beside, f"{PAIR}; 3 masks in masks", 3),
    "good and bad without masks": (lambda r: beside(r, masks=False), PAIR, 0),
    "flat": (flat, ALONE.format(4, "."), 0),
    "by day": (lambda r: flat(r, "monday", "tuesday"),
               f"{ALONE.format(8, '.')}; 2 groups by their names (monday … tuesday)", 0),
    "good by camera": (lambda r: flat(r, "good/cam 1", "good/cam 2"),
                       f"{ALONE.format(8, 'good')}; 2 groups by their names (cam 1 … cam 2)", 0),
    "train alone": (lambda r: flat(r, "train"), "pictures to learn from; 4 good pictures to learn from in train", 0),
    "one file": (of_one, "one picture; 1 good picture to learn from in .", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_recognised_and_said(tmp_path, name):
    make, line, masks = KNOWN[name]
    layout = recognise(make(tmp_path / "parts"))
    assert str(layout) == f"{layout.root}: {line}"
    assert layout.problems == [] and sum(mask is not None for mask in layout.masks) == masks
    split = layout.split((16, 20))
    assert not split.train.anomalous.any() and len(split.train) == len(layout.good)
    assert split.test.anomalous.tolist() == layout.anomalous.tolist()
    assert (split.test.masks is None) == (masks == 0 and bool(layout.anomalous.any()))
    if masks:
        assert split.test.masks.flatten(1).any(1).tolist() == layout.anomalous.tolist()
        assert [bool(m.any()) for m in datasets.original_masks(split)] == layout.anomalous.tolist()


def test_an_outer_folder_is_looked_through(tmp_path):
    assert recognise(wrapped(tmp_path)).root == tmp_path / "screw"


def without_meaning(root):
    own_table(root)
    (root / "labels.csv").write_text("image,label\nimages/000.png,0\n")


REFUSED = {
    "defects and masks": (lambda r: put(r, "bad/0.png", "masks/0.png"), "bad, masks beside pictures that no"),
    "a test folder's parts": (lambda r: flat(r, "broken_large", "contamination"),
                              "do not say which are good (broken_large, contamination): put these into good/"),
    "numbered defects": (lambda r: flat(r, "scratch_01", "scratch_02"), "do not say which are good (scratch_01, s"),
    "classes": (lambda r: flat(r, "train/pear", "train/plum"), "train/ with pear, plum, of which none is called good"),
    "bad pictures to train": (lambda r: flat(r, "train/bad", "train/001"), "of which none is called good"),
    "several sets": (lambda r: (mvtec(r / "bottle"), mvtec(r / "screw")),
                     "2 data sets (bottle, screw), of which one is wanted: name its folder"),
    "masks beside pictures": (lambda r: put(r, "0.png", "0_mask.png", "1.png"), "masks beside their pictures, as "),
    "several objects": (lambda r: (visa(r, "candle"), visa(r, "capsules")), "2 objects (candle, capsules), of which"),
    "labels without a meaning": (without_meaning, "the labels 0, none of which is normal, good or ok"),
    "loose pictures and bad ones": (lambda r: put(r, "0.png", "1.png", "NG/0.png"), "NG beside pictures that no"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_layouts_known(tmp_path, name):
    make, text = REFUSED[name]
    make(tmp_path / "parts")
    with pytest.raises(datasets.DataError) as error:
        recognise(tmp_path / "parts")
    told = str(error.value)
    assert told.startswith(f"the layout of {tmp_path / 'parts'} is not known: found ") and text in told
    assert told.endswith("(VisA)") and "- train/good, test/good, test/<defect>, ground_truth/<defect>" in told


def test_nothing_to_learn_from(tmp_path):
    (tmp_path / "train" / "good").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="expected nominal images in .*train/good, found none"):
        recognise(tmp_path).split()
    with pytest.raises(FileNotFoundError, match="expected nominal images in .*train/good, found none"):
        recognise(tmp_path).learn((8, 8))
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        recognise(tmp_path / "nowhere")


PROBLEMS = {
    "a defect without a mask": (lambda r: (r / "ground_truth/scratch/001_mask.png").unlink(),
                                ["ground_truth/scratch/001_mask.png: missing (every image in a defect folder"]),
    "a mask without a picture": (lambda r: (r / "test/scratch/001.png").unlink(),
                                 ["ground_truth/scratch/001_mask.png: there is no image for this mask in"]),
    "an empty mask": (lambda r: put(r, "ground_truth/scratch/001_mask.png", array=MARK * 0),
                      ["ground_truth/scratch/001_mask.png: marks nothing, but its picture shows a defect"]),
    "a mask of another size": (lambda r: put(r, "ground_truth/scratch/001_mask.png", array=MARK.T.copy()),
                               ["ground_truth/scratch/001_mask.png: 32×40 px, but its image has 40×32"]),
    "a marked good picture": (lambda r: put(r, "ground_truth/good/001_mask.png", array=MARK),
                              ["ground_truth/good/001_mask.png: marks a good picture"]),
    "two masks": (lambda r: put(r, "ground_truth/scratch/001.bmp", array=MARK),
                  ["ground_truth/scratch/001.bmp and "]),
    "two pictures of one name": (lambda r: put(r, "test/scratch/001.bmp"),
                                 ["ground_truth/scratch/001_mask.png: fits several pictures"] * 2),
    "a damaged picture": (lambda r: (r / "train/good/001.png").write_bytes(b""),
                          ["train/good/001.png: cannot be read"]),
    "a damaged mask": (lambda r: (r / "ground_truth/scratch/001_mask.png").write_bytes(b"x"),
                       ["ground_truth/scratch/001_mask.png: cannot be read"]),
    "an empty folder": (lambda r: (r / "test/dent").mkdir(), ["test/dent: empty; put images there or remove it"]),
    "inverted masks": (lambda r: put(r, *(f"ground_truth/scratch/{k:03}_mask.png" for k in range(3)), array=255 - MARK),
                       ["3 masks, first"]),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_are_told(tmp_path, name):
    spoil, expected = PROBLEMS[name]
    root = mvtec(tmp_path / "screw")
    spoil(root)
    with pytest.raises(datasets.DataError) as error:
        datasets.folder(root, (16, 20))
    first, *lines = str(error.value).splitlines()
    assert first == f"{len(expected)} problems in {root}:"
    for line, start in zip(lines, expected, strict=True):
        assert line.removeprefix("- ").removeprefix(f"{root}/").startswith(start)


def test_all_problems_come_in_one_message(tmp_path):
    root = mvtec(tmp_path / "screw")
    together = [name for name in PROBLEMS if name not in ("inverted masks", "a mask of another size", "a damaged mask",
                "an empty mask", "two masks", "two pictures of one name", "a mask without a picture")]  # fmt: skip
    for name in together:
        PROBLEMS[name][0](root)
    with pytest.raises(datasets.DataError) as error:
        datasets.folder(root, (16, 20))
    assert str(error.value).splitlines()[0] == f"{len(together)} problems in {root}:"


def test_what_is_not_used_is_said(tmp_path):
    root = mvtec(tmp_path / "screw")
    put(
        root,
        *several("train/bad", 2),
        *several("validation/good", 2),
        "loose.png",
        "test/000.png",
        "train/good/._a.png",
    )
    line = str(recognise(root))
    for said in ("2 in train/bad, not learnt from (000.png, 001.png)", "2 in validation/, no part of the layout",
                 "1 beside the folders (loose.png)", "1 in test/ without a label (000.png)",
                 "1 hidden or of the system (._a.png)"):  # fmt: skip
        assert said in line
    table = visa(tmp_path / "VisA")
    put(table, "Data/Images/Normal/new.png")
    assert "1 not in the table (new.png)" in str(recognise(table))


def test_a_table_whose_files_are_missing(tmp_path):
    root = visa(tmp_path / "VisA")
    (root / "Data/Images/Normal/001.JPG").unlink()
    (root / "Data/Masks/Anomaly/001.png").unlink()
    lines = recognise(root).problems
    assert [line.rpartition("/")[2] for line in lines] == ["001.JPG: missing, though the table names it",
                                                           "001.png: missing, though the table names it"]  # fmt: skip
    with pytest.raises(datasets.DataError, match="4 problems in .*candle"):
        recognise(root).split()


def test_names_and_groups(tmp_path):
    put(tmp_path, "train/good/01_1.png", "train/good/01_2.png", "train/good/02_1.png", "train/good/02_2.png")
    put(tmp_path, "test/good/day 1/0.png", "test/dent/0.png", "test/dent/0.jpg", "test/dent/day 1/0.png")
    layout = recognise(tmp_path)
    assert layout.names == ["dent/0.jpg", "dent/0.png", "dent/day 1/0", "good/day 1/0"]
    assert layout.groups.tolist() == ["01", "01", "02", "02"]
    assert recognise(flat(tmp_path / "numbers")).groups is None


def test_what_names_mean():
    assert {layouts.role(name) for name in ("Good", "OK", "i.O.", "NORMAL", "0_good", "ok 2")} == {"good"}
    assert {layouts.role(name) for name in ("Not Good", "not-good", "n.i.O.", "KO", "Anomaly", "NG-1")} == {"bad"}
    assert layouts.role("scratch") == layouts.role("bottle") == ""


def test_many_bits_share_their_white(tmp_path):
    put(tmp_path, "good/0.png", array=np.full((8, 8), 4000, np.uint16))
    put(tmp_path, "good/1.png", "bad/0.png", array=np.full((8, 8), 900, np.uint16))
    split = recognise(tmp_path).split((8, 8), 1)
    assert split.train.images[:, 0, 0, 0].tolist() == [249, 56] and split.test.images[0, 0, 0, 0] == 56
    assert recognise(tmp_path).learn((8, 8), 1)[:][:, 0, 0, 0].tolist() == [249, 56]
