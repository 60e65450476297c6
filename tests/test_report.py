"""The report: one file with everything in it, that says what it must, and can be read on a telephone and on paper."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fcdd import cli, layouts
from fcdd.cli import report


def texture(seed, size=(48, 48)):
    return np.random.default_rng(seed).normal(120, 15, size).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Good images, one of them twice and one also among the test images; a tiny masked defect; a name to be escaped."""
    root = tmp_path_factory.mktemp("report") / "plate"
    for part in ("train/good", "test/good", "test/dent", "ground_truth/dent"):
        (root / part).mkdir(parents=True)
    for k in range(20):
        Image.fromarray(texture(k)).save(root / f"train/good/{k:02}.png")
    shutil.copy(root / "train/good/00.png", root / "train/good/again.png")
    shutil.copy(root / "train/good/01.png", root / "test/good/<b>0.png")
    for k in range(6):
        Image.fromarray(texture(50 + k)).save(root / f"test/good/{k}.png")
    for k in range(3):
        image, mask = texture(90 + k), np.zeros((48, 48), np.uint8)
        image[10:13, 20:23], mask[10:13, 20:23] = 255, 255
        Image.fromarray(image).save(root / f"test/dent/{k}.png")
        Image.fromarray(mask).save(root / f"ground_truth/dent/{k}_mask.png")
    return root


def made(folder, *options):
    model = folder.parent / "m.safetensors"
    quick = ["--size", "48", "--network", "fcdd_cnn32_s", "--epochs", "1", "--device", "cpu", "--force"]
    result = CliRunner().invoke(cli.app, ["fit", str(folder), "--model", str(model), *quick, *options])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return model.with_suffix(".html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(folder):
    return made(folder)


class Outline(HTMLParser):
    """Tags with their attributes, and the text outside of styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


def test_it_holds_everything_itself(page):
    outline = Outline(page)
    assert outline.open == [] and not {"script", "link", "iframe"} & {tag for tag, _ in outline.tags}
    assert not re.search(r"https?://", " ".join(filter(None, (a.get("src") or a.get("href") for _, a in outline.tags))))
    images = [attributes for tag, attributes in outline.tags if tag == "img"]
    assert len(images) >= 10 and all(i["src"].startswith("data:image/") and i["alt"] for i in images)
    assert len(page) < 3_000_000


def test_it_says_what_must_be_known(page):
    words = re.sub(r"\s+", " ", " ".join(Outline(page).words))
    for text in (
        "good, learnt from 21", "test: dent 3", "48×48 px: 31", "train/good/00.png = train/good/again.png",
        "1 test images are copies of images that were learnt from", "3 of 3 defects are smaller than two cells",
        "Missed defects", "False alarms", "nothing is guaranteed", "nothing of images taken under other conditions",
        "AUROC of images", "ROC curve", "Mean loss of every epoch", "torch", "epochs",
    ):  # fmt: skip
        assert text in words, text
    assert "<b>0.png" not in page and "&lt;b&gt;0.png" in page


def test_a_folder_without_a_test_shows_what_was_learnt(folder):
    words = " ".join(Outline(made(folder / "train" / "good")).words)
    assert "Strangest of the good images" in words and "Missed defects" not in words and "AUROC" not in words
    assert "that the threshold was calibrated on" in words


def test_overview_counts_odd_sizes(folder, tmp_path):
    for k, size in enumerate([(48, 48), (48, 48), (96, 96)]):
        Image.fromarray(texture(k, size)).save(tmp_path / f"{k}.png")
    data = report.overview(layouts.recognise(tmp_path))
    assert data["sizes"] == {"48×48 px": 2, "96×96 px": 1} and data["odd"] == ["2.png"]
    assert data["repeated"] == [] and data["leaked"] == []


def test_it_is_readable_on_a_telephone(page, browser, tmp_path):
    """Nothing is wider than the screen, no letter smaller than it should be."""
    (tmp_path / "r.html").write_text(page, encoding="utf-8")
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    tab.goto((tmp_path / "r.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    text = "[...document.querySelectorAll('p, td, th, li, figcaption')]"
    assert tab.evaluate(f"Math.min(...{text}.map(e => parseFloat(getComputedStyle(e).fontSize)))") >= 12
    tab.close()
