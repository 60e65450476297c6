"""A detector in one HTML file, opened from disk in a real browser without a network: judges as ``fcdd score`` does."""

import csv
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fcdd
from fcdd import datasets
from fcdd.cli import app, page
from fcdd.tiled import Tiled

TYPES = datasets.classes("piped-small")
RUN = CliRunner()


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """The pictures of the package, as files."""
    folder = tmp_path_factory.mktemp("papers")
    with tarfile.open(datasets.fetch.EMBEDDED / "piped_small.tar") as packed:
        packed.extractall(folder, filter="data")
    return next(folder.rglob(TYPES[0])).parent


@pytest.fixture(scope="module")
def model(tmp_path_factory, papers):
    path = tmp_path_factory.mktemp("model") / "paper.safetensors"
    fcdd.FCDD(epochs=2).fit(papers / TYPES[0]).save(path)
    return path


# ---- what is needed, and what is said where it is missing ----


def refused(model, to) -> str:
    told = RUN.invoke(app, ["export", str(model), "--page", str(to)])
    assert isinstance(told.exception, (OSError, ValueError))
    return str(told.exception)


def test_without_npm_it_says_how_to_bring_the_runtime(model, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    said = refused(model, tmp_path / "page.html")
    assert "npm is not installed" in said and "npm pack onnxruntime-web@1.30.0" in said and "cache" in said
    assert not (tmp_path / "page.html").exists()


def test_npm_without_a_network_is_said(model, tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setattr(page, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(shutil, "which", lambda name: str(npm))
    said = refused(model, tmp_path / "page.html")
    assert "npm could not fetch onnxruntime-web 1.30.0 (npm error code ENOTFOUND)" in said
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_runtime_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "cache", lambda: tmp_path)
    (tmp_path / f"onnxruntime-web-{page.VERSION}.tgz").write_bytes(b"something else")
    assert f"expected sha256 {page.SHA256}" in refused(model, tmp_path / "page.html")


def test_nothing_is_overwritten(model, tmp_path):
    (tmp_path / "page.html").write_text("kept")
    assert "--force" in refused(model, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "kept"


def test_a_model_of_tiles_is_refused(papers, tmp_path):
    model = tmp_path / "tiles.safetensors"
    Tiled(settings={"epochs": 1}, tile=64).fit(papers / TYPES[0]).save(model)
    assert "judges tiles" in refused(model, tmp_path / "page.html")


# ---- in a browser ----


@pytest.fixture(scope="module")
def runtime():
    try:
        return page.runtime()
    except OSError as error:
        pytest.skip(f"the runtime of pages could not be fetched: {error}")


@pytest.fixture
def judged(browser, tmp_path):
    """Opens a page from disk without a network, gives it files, and returns what it says of each."""
    troubles, contexts = [], []

    def opened(path, files):
        contexts.append(browser.new_context(offline=True))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("request", lambda each: troubles.append(each.url) if each.url.startswith("http") else None)
        tab.goto(path.as_uri())
        tab.wait_for_selector("#files:enabled")
        tab.set_input_files("#files", [str(file) for file in files])
        tab.wait_for_selector("#state:has-text('nominal.'), #state:has-text('not judged')")
        with tab.expect_download() as download:
            tab.click("#save")
        rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
        assert [row["file"] for row in rows] == [file.name for file in files]
        return tab, rows

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def scored(model, files) -> list[dict]:
    told = RUN.invoke(app, ["score", *map(str, files), "--model", str(model), "--csv"])
    return list(csv.DictReader(io.StringIO(told.stdout)))


def agree(model, rows, files) -> None:
    expected = {Path(row["file"]).name: row for row in scored(model, files)}
    assert len(expected) == len(rows) > 0
    for row in rows:
        own = expected[row["file"]]
        assert float(row["score"]) == pytest.approx(float(own["score"]), abs=1e-3), row["file"]
        assert row["verdict"] == own["verdict"]
        assert (row["p"] == own["p"] == "") or float(row["p"]) == pytest.approx(float(own["p"]), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", datasets.classes("piped"))
def test_a_page_judges_as_the_command_does(kind, tmp_path, runtime, judged):
    """On the eight paper types; p from good pictures that were held out."""
    try:
        split = datasets.load("piped", kind)
    except FileNotFoundError as error:
        pytest.skip(f"needs PIPED where data lies: {error}")
    detector = fcdd.FCDD(epochs=2).fit(split.train.images, held_out=0.4)
    detector.save(tmp_path / "m.safetensors")
    files = []
    for k in range(0, len(split.test), 8):
        files.append(tmp_path / f"{k}.png")
        Image.fromarray(split.test.images[k].permute(1, 2, 0).numpy()).save(files[-1])
    assert (
        RUN.invoke(app, ["export", str(tmp_path / "m.safetensors"), "--page", str(tmp_path / "p.html")]).exit_code == 0
    )
    assert (tmp_path / "p.html").stat().st_size < 10e6
    tab, rows = judged(tmp_path / "p.html", files)
    agree(tmp_path / "m.safetensors", rows, files)
    shown = tab.eval_on_selector_all("#results li", "all => all.map((each) => Number(each.dataset.score))")
    assert shown == sorted(shown, reverse=True)  # the most anomalous first
    assert tab.locator("#results canvas").count() == 2 * len(files)


@pytest.fixture(scope="module")
def strange(tmp_path_factory, papers):
    """The same picture as cameras, scanners and editors save it: what is judged, and what is refused."""
    folder = tmp_path_factory.mktemp("strange")
    image = Image.open(next((papers / TYPES[0] / "test" / "impurity").iterdir())).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.rotate(90, expand=True).save(folder / "turned.jpg", exif=exif, quality=95)
    image.resize((1000, 1000), Image.Resampling.BICUBIC).save(folder / "large.png")
    image.resize((100, 100)).save(folder / "small.png")
    image.convert("L").save(folder / "grey.png")
    image.quantize(64).save(folder / "palette.png")
    image.resize((300, 200)).save(folder / "wide.png")
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda v: 255 * (v > 99)))
    alpha.save(folder / "cut out.png")
    good = sorted(folder.iterdir())
    deep = np.asarray(image.convert("L"), np.uint16) * 256
    Image.fromarray(deep).save(folder / "deep.png")
    image.save(folder / "moving.gif", save_all=True, append_images=[image.rotate(5)])
    image.save(folder / "scan.tiff")
    (folder / "cut.jpg").write_bytes((folder / "turned.jpg").read_bytes()[:300])
    fcdd.explain.save(np.asarray(image), folder / "drawn.png")
    return good, sorted(set(folder.iterdir()) - set(good))


@pytest.mark.slow
def test_pictures_of_all_kinds(strange, model, tmp_path, runtime, judged):
    page.write(tmp_path / "p.html", fcdd.load(model), model)
    good, bad = strange
    tab, rows = judged(tmp_path / "p.html", good)
    agree(model, rows, good)
    assert "squeezed" in tab.locator("#results li", has_text="wide.png").inner_text()
    tab, rows = judged(tmp_path / "p.html", bad)
    assert {row["verdict"] for row in rows} == {"refused"}
    for name, why in {
        "cut.jpg": "cannot read", "deep.png": "16 bits a channel", "drawn.png": "a heatmap that fcdd drew",
        "moving.gif": "several pictures", "scan.tiff": "save it as PNG or JPEG",
    }.items():  # fmt: skip
        assert why in tab.locator("#results li", has_text=name).inner_text()
    assert tab.inner_text("#state") == "0 anomalous, 0 nominal, 5 not judged."


@pytest.mark.slow
def test_grey_pictures_and_detectors_without_maps(tmp_path, runtime, judged):
    split = datasets.load("fashion-mnist-small", "Sandal")
    files = []
    for k in range(6):
        files.append(tmp_path / f"{k}.png")
        Image.fromarray(split.test.images[k * 150, 0].numpy()).resize((40, 40)).save(files[-1])
    for detector in (fcdd.HSC(epochs=1), fcdd.FCDD(epochs=1)):
        detector.fit(split.train.images).save(tmp_path / "m.safetensors")
        page.write(tmp_path / "p.html", detector, tmp_path / "m.safetensors")
        tab, rows = judged(tmp_path / "p.html", files)
        agree(tmp_path / "m.safetensors", rows, files)
        maps = isinstance(detector, fcdd.FCDD)
        assert tab.locator("#results canvas").count() == len(files) * (1 + maps) and tab.locator("#own").count() == maps


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window_and_works_by_keyboard(model, papers, tmp_path, runtime, judged, width, scheme):
    page.write(tmp_path / "p.html", fcdd.load(model), model)
    tab, _ = judged(tmp_path / "p.html", sorted((papers / TYPES[0] / "test" / "impurity").iterdir())[:3])
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    before = tab.locator("#results canvas").nth(1).evaluate("(each) => each.toDataURL()")
    tab.focus("#own")
    tab.keyboard.press("Space")
    assert tab.locator("#results canvas").nth(1).evaluate("(each) => each.toDataURL()") != before
    tab.focus("#first")
    tab.keyboard.press("Space")
    names = tab.locator("#results p").all_inner_texts()
    assert names == sorted(names, key=lambda text: text.split()[-1])  # as they were given
