"""The watermark of chapter 07: where it is, what it leaves alone, what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import ROOT

import fcdd_study as study
from fcdd_study.watermark import box, covered, watermark

SIZES = [(1, 28, 28), (3, 32, 32), (3, 224, 224), (3, 64, 96)]


def noise(channels, height, width, n=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(200, (n, channels, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_only_its_box_changes_and_the_box_is_small_and_in_the_corner(shape):
    images = noise(*shape)
    marked = watermark(images)
    changed = (marked != images).any(1).any(0)
    inside = box(shape[1:])
    assert changed.any(1).equal(inside.any(1)) and changed.any(0).equal(inside.any(0))
    assert not changed[~inside].any()
    assert inside.float().mean() < 0.16
    rows, columns = inside.nonzero().T
    assert rows.min() > shape[1] / 2 and columns.max() < 0.75 * shape[2]
    assert rows.max() < shape[1] - 1 and columns.min() > 0  # the letters are not cut off
    assert inside.sum() == len(rows.unique()) * len(columns.unique())


def test_it_only_brightens_and_leaves_its_input():
    images = noise(1, 28, 28)
    before = images.clone()
    marked = watermark(images)
    assert marked.dtype == torch.uint8 and images.equal(before)
    assert (marked >= images).all() and (marked > images).any((1, 2, 3)).all()
    assert watermark(images).equal(marked)


def test_float_images_like_bytes():
    images = noise(3, 32, 32)
    torch.testing.assert_close(watermark(images / 255) * 255, watermark(images).float(), atol=0.51, rtol=0)


def test_opacity():
    black = torch.zeros(1, 1, 28, 28)
    assert watermark(black, opacity=0.5).max() == pytest.approx(0.5 * watermark(black, opacity=1).max())


def test_covered_hides_whether_there_was_a_mark():
    images = noise(1, 28, 28)
    assert covered(watermark(images)).equal(covered(images))
    assert covered(images)[:, 0, box((28, 28))].max() == 0


@pytest.mark.parametrize("text", ["", "  ", "a text far too long"])
def test_texts_that_cannot_be_placed(text):
    with pytest.raises(ValueError, match="expected a text that fits into 28 px"):
        watermark(noise(1, 28, 28), text)


@pytest.mark.parametrize("opacity", [0, -1, 1.1])
def test_opacities_that_make_no_mark(opacity):
    with pytest.raises(ValueError, match="expected an opacity above 0"):
        watermark(noise(1, 28, 28), opacity=opacity)


@pytest.mark.parametrize(
    "dataset, side, network", [("fashion-mnist-small", 28, "fcdd_cnn28"), ("cifar10", 32, "fcdd_cnn32_s")]
)
def test_the_chapter_makes_its_networks_for_any_data_set(dataset, side, network):
    """Settings are those of the profile's own data set, whichever images the chapter shows."""
    cells = json.loads((ROOT / "notebooks" / "07_clever_hans.ipynb").read_text(encoding="utf-8"))["cells"]
    (making,) = ["".join(cell["source"]) for cell in cells if "def made(" in "".join(cell["source"])]
    names = {"profile": "smoke", "method": "fcdd", "normal": "horse", "seed": 0, "device": "cpu", "dataset": dataset}
    names |= {"study": study, "replace": replace, "ours": torch.zeros(1, 3, side, side)}
    exec(making, names)
    assert names["made"]("fcdd").network == network and names["run"].dataset == dataset
