"""The figures that move: opened from disk in a real browser without a network, driven by mouse, finger and keyboard,
and their numbers compared with the library's. Trained runs are those of profile smoke."""

import base64
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from scipy import ndimage

import fcdd
from benchmarks import demos as timing
from fcdd import metrics, networks, objectives, receptive
from fcdd.augment import as_float, as_uint8
from fcdd_study import demos, protocol
from fcdd_study.demos import collapse, draw, labels, shared, stamp
from fcdd_study.watermark import letters, watermark

pytestmark = pytest.mark.slow  # a browser draws each figure
ROOT = Path(__file__).parents[1]
EXTENSIONS = ["myst_parser", "fcdd_demos"]
ALT = "What one sees of {}."
NUMBERS = """(root) => Object.fromEntries(
  [...root.querySelectorAll('.told data')].map((each) => [each.dataset.name, Number(each.value)]))"""
RIGHT = """(root) => [...root.querySelectorAll('*')].filter((each) => !each.closest('[clip-path]'))
  .map((each) => each.getBoundingClientRect().right)"""
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def directive(name):
    return f"```{{demo}} {name}\n:alt: {ALT.format(name)}\nThe caption of *{name}*.\n```\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory, sphinx_in):
    """A page with all figures, one with a figure far below, and the numbers that they begin with."""
    folder = tmp_path_factory.mktemp("site")
    made, source = folder / "made", folder / "source"
    demos.write(made, "smoke", "cpu")
    (source / "part").mkdir(parents=True)
    (source / "index.md").write_text("# All\n\n" + "\n".join(map(directive, demos.FIGURES)))
    spacer = '<div style="height: 5000px"></div>\n\n'
    (source / "part" / "far.md").write_text("# Far\n\n" + spacer + directive("svdd"))
    (source / "none.md").write_text("# None\n\nNo figure.\n")
    pages, warnings = sphinx_in(
        folder, ["index", "part/far", "none"], extensions=EXTENSIONS, fcdd_demos=str(made), html_theme="basic"
    )
    assert "demo" not in warnings
    return SimpleNamespace(out=folder / "out", pages=dict(zip(("index", "far", "none"), pages, strict=True)), made=made)


class Figure:
    """A figure on an open page."""

    def __init__(self, page, name):
        self.page, self.root = page, page.locator(f"#demo-{name}")

    def numbers(self) -> dict:
        """What it tells, once it is drawn."""
        self.page.evaluate(DRAWN)
        return self.root.evaluate(NUMBERS)

    def address(self) -> dict:
        """The state that the address keeps."""
        self.page.wait_for_timeout(400)
        found = parse_qs(self.page.evaluate("location.hash").partition("?")[2])
        return {key: value[0] for key, value in found.items()}

    def drag(self, element, start, stop, steps=6):
        """Drags with the mouse, between shares of an element's width and height."""
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, stop)]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        self.page.mouse.move(*places[1], steps=steps)
        self.page.mouse.up()

    def press(self, element, *keys):
        element.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def choose(self, text):
        self.root.get_by_role("button", name=text, exact=True).click()


@pytest.fixture
def show(site, browser):
    """Opens a figure from disk, with the state of an address, and holds that nothing went wrong on its page."""
    troubles, contexts = [], []

    def opened(name, query="", page="index", **options):
        contexts.append(browser.new_context(offline=True, **options))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("requestfailed", lambda request: troubles.append(request.url))
        tab.goto(f"{(site.out / page).as_uri()}.html" + (f"#demo-{name}?{query}" if query else ""))
        figure = Figure(tab, name)
        if options.get("java_script_enabled", True):
            figure.root.scroll_into_view_if_needed()
            tab.wait_for_selector(f"#demo-{name}.live")
        return figure

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


# ---- what a page holds ----


@pytest.mark.parametrize("name", demos.FIGURES)
def test_without_scripts_and_on_paper_a_still_with_its_description(site, show, name):
    figure = show(name, java_script_enabled=False)
    still = figure.root.get_by_role("img", name=ALT.format(name))
    still.scroll_into_view_if_needed()
    assert still.is_visible() and figure.root.get_by_text(f"The caption of {name}.").is_visible()
    assert figure.root.locator(".stage").inner_html() == ""
    moving = show(name)
    assert not moving.root.locator("img.still").is_visible() and moving.root.locator(".panels").is_visible()
    moving.page.emulate_media(media="print")
    assert moving.root.locator("img.still").is_visible() and not moving.root.locator(".stage").is_visible()
    assert moving.root.locator("img.still").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 300


@pytest.mark.parametrize("name", demos.FIGURES)
@pytest.mark.parametrize("width", [1280, 390])
def test_fits_the_window_and_can_be_read(show, name, width):
    figure = show(name, viewport={"width": width, "height": 800})
    figure.numbers()
    assert max(figure.root.evaluate(RIGHT)) <= width
    sizes = "(root) => [...root.querySelectorAll('.axes text')].map((each) => each.getBoundingClientRect().height)"
    assert min(figure.root.evaluate(sizes), default=20) >= 8  # px: letters of some 10 px, turned ones by their length
    labelled = "(root) => [...root.querySelectorAll('.axes')].map((each) => each.querySelectorAll('.label').length)"
    assert set(figure.root.evaluate(labelled)) <= {2}


def test_a_page_loads_little_before_the_figure_is_scrolled_to(site, browser):
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(Path(request.url.removeprefix("file://"))))
    page.goto((site.out / "part" / "far.html").as_uri())
    page.wait_for_timeout(300)
    ours = [path for path in asked if path.parent.name == "demos"]
    assert {path.name.partition("?")[0] for path in ours} == {"loader.js", "demos.css"}
    assert sum((site.out / "_static" / "demos" / path.name.partition("?")[0]).stat().st_size for path in ours) <= 150e3
    page.locator("#demo-svdd").scroll_into_view_if_needed()
    page.wait_for_selector("#demo-svdd.live")
    assert "svdd.data.js" in {path.name for path in asked}
    page.close()


def test_only_pages_with_a_figure_get_the_loader(site):
    assert "loader.js" in site.pages["index"] and "loader.js" in site.pages["far"]
    assert "demos" not in site.pages["none"]


def test_a_figure_without_its_run_says_so(tmp_path, sphinx):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "index.md").write_text("# Title\n\n" + directive("svdd"))
    (html,), warnings = sphinx(["index"], extensions=EXTENSIONS, fcdd_demos=str(tmp_path / "nowhere"))
    assert "index.md:3: WARNING: {demo} svdd: no svdd.png in" in warnings and "make book" in warnings
    page = BeautifulSoup(html, "html.parser")
    assert "has not been made" in page.select_one("figure.demo").get_text() and ALT.format("svdd") in page.get_text()
    assert not page.select("[data-demo], img.still") and "loader.js" not in html


@pytest.mark.parametrize("text", ["```{demo} svd\n:alt: Dots.\n```\n", "```{demo} svdd\nA caption.\n```\n"])
def test_an_unknown_figure_and_one_without_a_description_are_warnings(tmp_path, sphinx, text):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "index.md").write_text("# Title\n\n" + text)
    (html,), warnings = sphinx(["index"], extensions=EXTENSIONS)
    assert "expected :alt: and a figure of book/demos, one of" in warnings and "svdd" in warnings
    assert not BeautifulSoup(html, "html.parser").select("figure")


def test_an_unknown_figure_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="unknown figures svd; known: .*svdd"):
        demos.write(tmp_path, "smoke", names=["svd"])


def test_a_state_that_cannot_be_read_is_passed_over(show):
    broken = show("svdd", "nu=much&points=1,x&preset=nowhere&unknown=1").numbers()
    assert broken == show("svdd").numbers()


def test_the_benchmark_sees_each_answer_to_a_drag(show):
    told, took = timing.answers(show("delta").page, "delta")
    assert len(told) == len(took) == timing.DRAGS and min(told) > 0 and min(took) > 0


# ---- 00: a threshold on two groups ----


def check_threshold(site, found):
    data = demos.read(site.made, "threshold")
    nominal, anomalous = np.array(data["nominal"]), np.array(data["anomalous"])
    truth = np.arange(len(nominal) + len(anomalous)) >= len(nominal)
    assert found["false"] == pytest.approx((nominal > found["threshold"]).mean(), abs=1e-12)
    assert found["found"] == pytest.approx((anomalous > found["threshold"]).mean(), abs=1e-12)
    assert found["auroc"] == pytest.approx(metrics.auroc(truth, np.concatenate([nominal, anomalous])), abs=1e-9)


def test_threshold_by_mouse(site, show):
    figure = show("threshold")
    before, plot = figure.numbers(), figure.root.locator(".axes").first
    handle = figure.root.locator(".axes circle.handle").first
    check_threshold(site, before)
    box, frame = handle.bounding_box(), plot.bounding_box()
    start = (box["x"] + 7 - frame["x"]) / frame["width"], 0.5
    figure.drag(plot, start, (start[0] + 0.2, 0.5))
    after = figure.numbers()
    assert after["threshold"] > before["threshold"] and after["false"] < before["false"]
    assert after["auroc"] == before["auroc"]
    check_threshold(site, after)


def test_threshold_by_keyboard(site, show):
    figure = show("threshold")
    before = figure.numbers()
    figure.press(figure.root.locator(".axes").first, *["ArrowLeft"] * 4)
    left = figure.numbers()
    assert left["threshold"] < before["threshold"] and left["false"] > before["false"]
    check_threshold(site, left)
    figure.press(figure.root.locator(".axes").nth(1), *["ArrowDown"] * 20)  # on the ROC: fewer are found
    assert figure.numbers()["found"] < left["found"]
    check_threshold(site, figure.numbers())


# ---- 01: SVDD ----


def check_svdd(site, figure):
    """The library's sphere around the points that the address holds."""
    state, found = figure.address(), figure.numbers()
    points = np.array(state["points"].split(","), float).reshape(-1, 2)
    nu, gamma = float(state.get("nu", 0.2)), float(state.get("gamma", 2))
    sphere = fcdd.SVDD(nu=nu, gamma=gamma, tol=1e-9).fit(points)
    assert found["outside"] <= nu + 1e-12 <= found["support"] + 2e-12
    assert found["outside"] == pytest.approx((sphere.predict(points) < 0).mean(), abs=1e-12)
    assert found["support"] == pytest.approx((sphere.alpha_ > 1e-7).mean(), abs=1e-12)
    assert found["square"] == pytest.approx(sphere.radius_**2, abs=1e-6)


def test_svdd_by_mouse(site, show):
    figure = show("svdd")
    before, data = figure.numbers(), demos.read(site.made, "svdd")
    dot = figure.root.locator("circle.edge").first.bounding_box()
    plot = figure.root.locator(".axes")
    frame = plot.bounding_box()
    start = (dot["x"] + 4 - frame["x"]) / frame["width"], (dot["y"] + 4 - frame["y"]) / frame["height"]
    figure.drag(plot, start, (0.3, 0.15))
    assert figure.numbers() != before
    moved = np.array(figure.address()["points"].split(","), float).reshape(-1, 2)
    rest = np.array(data["presets"]["two moons"])
    assert (moved != rest).any(1).sum() == 1
    check_svdd(site, figure)


def test_svdd_by_keyboard(site, show):
    figure = show("svdd")
    plot = figure.root.locator(".axes")
    figure.press(plot, "PageDown", *["ArrowUp"] * 12, "Shift+ArrowRight")
    assert plot.evaluate("(svg) => getComputedStyle(svg.querySelector('.ring')).visibility") == "visible"
    check_svdd(site, figure)
    figure.press(figure.root.get_by_role("slider").first, *["ArrowRight"] * 10)
    assert float(figure.address()["nu"]) == pytest.approx(0.3)
    figure.press(figure.root.get_by_role("slider").nth(1), *["ArrowRight"] * 30)
    assert float(figure.address()["gamma"]) > 3
    check_svdd(site, figure)


def test_svdd_by_finger_and_the_address_brings_it_back(show):
    figure = show("svdd", has_touch=True, viewport={"width": 390, "height": 800})
    figure.root.locator(".axes").scroll_into_view_if_needed()
    dot, top = figure.root.locator("circle.edge").nth(3).bounding_box(), figure.page.evaluate("scrollY")
    x, y = dot["x"] + 4, dot["y"] + 4
    touch = figure.page.context.new_cdp_session(figure.page)
    for kind, points in [
        ("touchStart", [{"x": x, "y": y}]),
        *[("touchMove", [{"x": x + 5 * k, "y": y - 8 * k}]) for k in range(1, 9)],
        ("touchEnd", []),
    ]:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    found, state = figure.numbers(), figure.address()
    assert figure.page.evaluate("scrollY") == top and len(state["points"].split(",")) == 80
    query = figure.page.evaluate("location.hash").partition("?")[2]
    assert show("svdd", query).numbers() == found


def test_svdd_solver_equals_the_library_on_many_settings(site, show):
    """Dual value, radius and outsiders for all presets and a range of nu and gamma."""
    figure, data = show("svdd"), demos.read(site.made, "svdd")
    for points in map(np.array, data["presets"].values()):
        for nu, gamma in [(0.02, 2), (0.1, 0.05), (0.1, 10), (0.5, 1), (0.9, 50), (1, 2)]:
            alpha, square = figure.page.evaluate(
                "([p, nu, gamma]) => { const s = fcddDemos.sphere(p, nu, gamma); return [[...s.alpha], s.square] }",
                [points.tolist(), nu, gamma],
            )
            sphere = fcdd.SVDD(nu=nu, gamma=gamma, tol=1e-9).fit(points)
            kernel = np.exp(-gamma * ((points[:, None] - points) ** 2).sum(-1))
            assert sum(alpha) == pytest.approx(1) and 1 - alpha @ kernel @ alpha == pytest.approx(sphere.dual_value_)
            assert square == pytest.approx(sphere.radius_**2, abs=1e-6)


# ---- 04 and 05: losses ----


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
@pytest.mark.parametrize("objective", ["HSC", "Deep SAD"])
def test_push_and_pull(show, way, objective):
    figure = show("push_pull")
    figure.choose(objective)
    before, plot = figure.numbers()["distance"], figure.root.locator(".axes").first
    if way == "mouse":
        place = (50 + before / 4 * 278) / 340  # of the axes' own units
        figure.drag(plot, (place, 0.4), (place + 0.2, 0.5))
    else:
        figure.press(plot, *["ArrowRight"] * 6)
    found = figure.numbers()
    assert found["distance"] > before + 0.5
    distance = torch.tensor([[found["distance"]]], dtype=torch.float64, requires_grad=True)
    for label, names in ((1.0, ("nominal", "pull")), (-1.0, ("anomalous", "push"))):
        y = torch.tensor([label])
        hsc = objective == "HSC"
        loss = objectives.hypersphere(distance, y) if hsc else objectives.deep_sad(distance, torch.zeros(1), y)
        (gradient,) = torch.autograd.grad(loss.sum(), distance)
        assert [found[name] for name in names] == pytest.approx([loss.item(), gradient.item()], rel=1e-5)


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_delta(show, way):
    figure = show("delta")
    plot, slider = figure.root.locator(".axes").first, figure.root.get_by_role("slider")
    if way == "mouse":
        figure.drag(plot, ((50 + 0.75 * 278) / 340, 0.5), (0.3, 0.5))
        box = slider.bounding_box()
        figure.page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
    else:
        figure.press(plot, *["ArrowLeft"] * 25)
        figure.press(slider, *["ArrowLeft"] * 20)
    found, delta = figure.numbers(), float(figure.address()["delta"])
    assert found["z"] < 0 and 0.1 < delta < 1
    z = torch.tensor(found["z"], dtype=torch.float64, requires_grad=True)
    curves = {"L1": z.abs(), "L2": z**2 / 2, "pseudo-Huber": delta**2 * objectives.pseudo_huber(z / delta)}
    for name, value in curves.items():
        (gradient,) = torch.autograd.grad(value, z)
        assert found[f"{name} value"] == pytest.approx(value.item(), abs=1e-9)
        assert found[f"{name} gradient"] == pytest.approx(gradient.item(), abs=1e-9)


# ---- 05: a defect that one draws ----


@cache
def trained():
    """The detector of the figure, once more."""
    run = shared.small_fcdd("smoke", shared.nominal_class("smoke", "Trouser"))
    ((_, split, detector, *_),) = protocol.train([run], "cpu")
    return split, detector


def picture(site, number, strokes="") -> torch.Tensor:
    """A picture of the figure as (1, 1, 28, 28) uint8, with strokes as the address holds them."""
    text = demos.read(site.made, "draw")["pictures"][number - 1]
    image = torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8).reshape(1, 1, 28, 28).clone()
    pairs = np.array(strokes.split(",") if strokes else [], int).reshape(-1, 2)
    for pixel, tone in pairs:
        image[0, 0, pixel // 28, pixel % 28] = int(tone)
    return image


def test_hand_written_network_equals_the_library(site, show):
    """Scores and heatmaps of test images and of noise."""
    figure, (split, detector) = show("draw"), trained()
    images = torch.cat([split.test.images[::7], torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)])
    code = "(x) => { const r = fcddDemos.cnn28(x, fcddDemos.numbers.draw.network); return [r.score, [...r.heat]]; }"
    found = [figure.page.evaluate(code, (image.flatten() / 255).tolist()) for image in images]
    assert np.abs([score for score, _ in found] - detector.anomaly_score(images)).max() < 1e-4
    assert np.abs([heat for _, heat in found] - detector.anomaly_map(images).reshape(-1, 784)).max() < 1e-4


def check_drawing(site, figure):
    found, state = figure.numbers(), figure.address()
    detector, number = trained()[1], int(state.get("picture", 1))
    clean, marked = picture(site, number), picture(site, number, state["strokes"])
    assert found["score"] == pytest.approx(float(detector.anomaly_score(marked)[0]), abs=1e-4)
    rise = (detector.anomaly_map(marked) - detector.anomaly_map(clean))[0]
    touched = (marked != clean)[0, 0].numpy()
    assert found["under"] == pytest.approx(rise[touched].mean(), abs=1e-4)
    assert found["under"] > 0 and found["far"] < found["under"] / 100
    assert touched.sum() >= 4


def test_a_stroke_by_mouse(site, show):
    figure = show("draw", "picture=2")
    frame = figure.root.locator(".picture .canvas").first
    figure.drag(frame, (0.12, 0.1), (0.12, 0.4), steps=12)
    check_drawing(site, figure)


def test_a_stroke_by_keyboard(site, show):
    figure = show("draw")
    frame = figure.root.locator(".picture .canvas").first
    figure.press(frame, *["ArrowLeft"] * 10, *["ArrowUp"] * 9, *["Space", "ArrowDown"] * 6)
    check_drawing(site, figure)
    before = figure.numbers()
    figure.press(frame, *["ArrowRight"] * 8, "Space")
    assert figure.numbers() != before
    figure.press(frame, "Delete")
    assert figure.numbers() == before  # drawn and erased
    figure.choose("as it is")
    clean = float(trained()[1].anomaly_score(picture(site, 1))[0])
    assert figure.numbers() == {"score": pytest.approx(clean, abs=1e-4)}


def test_strokes_stay_inside_the_picture():
    assert all(0 <= row < 28 and 0 <= column < 28 for stroke in draw.STROKES.values() for row, column in stroke)


# ---- 05: the receptive field ----


def check_field(figure, name):
    found, field = figure.numbers(), receptive.receptive_field(networks.build(name))
    assert (found["extent"], found["stride"], found["offset"]) == field
    for cell, first, last in (("row", "top", "bottom"), ("column", "left", "right")):
        middle = field.offset + field.stride * found[cell]
        assert (found[first] + found[last]) / 2 == middle and found[last] - found[first] + 1 == field.extent
    return found


def test_field_by_mouse(show):
    figure = show("field")
    for name in ("fcdd_cnn32_9k", "fcdd_cnn32_s", "fcdd_cnn32", "fcdd_cnn28"):
        figure.choose(name)
        check_field(figure, name)
    box = figure.root.locator(".picture .canvas").nth(1).bounding_box()
    figure.page.mouse.click(box["x"] + 5.5 / 7 * box["width"], box["y"] + 1.5 / 7 * box["height"])
    found = check_field(figure, "fcdd_cnn28")
    assert (found["row"], found["column"]) == (1, 5)


def test_field_by_keyboard(show):
    figure = show("field", "row=0&column=0&network=fcdd_cnn32_s")
    figure.press(figure.root.locator(".picture .canvas").nth(1), "ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft")
    found = check_field(figure, "fcdd_cnn32_s")
    assert (found["row"], found["column"]) == (2, 0)


def test_field_paints_what_the_library_paints(show):
    figure = show("field", "row=2&column=4&sigma=2")
    figure.numbers()
    canvas = figure.root.locator("canvas").nth(2)
    painted = canvas.evaluate("(c) => [...c.getContext('2d').getImageData(0, 0, 28, 28).data]")
    one = torch.zeros(1, 1, 7, 7)
    one[0, 0, 2, 4] = 1
    heat = receptive.upsample(one, receptive.receptive_field(networks.build("fcdd_cnn28")), 28, 2.0)[0, 0]
    colours = np.array(shared.colours())
    wanted = colours[np.round(heat / heat.max() * (len(colours) - 1)).int()]
    assert np.abs(np.array(painted).reshape(28, 28, 4)[..., :3] - wanted).max() <= 8  # a colour's next neighbour


# ---- 02: a latent space, replayed ----


def check_collapse(site, figure, kind):
    found, told = figure.numbers(), demos.read(site.made, "collapse")["kinds"][kind]
    epoch = int(found["epoch"])
    assert (found["loss"], found["auroc"]) == (told["loss"][epoch], told["auroc"][epoch])
    shown = np.reshape(told["frames"][epoch], (-1, 2)) - told["center"]
    assert found["spread"] == pytest.approx(np.sqrt((shown**2).sum(1).mean()), abs=1e-9)
    return epoch


def test_collapse_by_mouse(site, show):
    figure = show("collapse")
    assert check_collapse(site, figure, "without biases") == 0
    figure.choose("with biases")
    figure.drag(figure.root.locator(".axes").nth(1), (50 / 340, 0.5), (0.9, 0.5))  # from epoch 0 on the loss
    assert check_collapse(site, figure, "with biases") > 30
    figure.press(figure.root.get_by_role("slider"), "Home")
    figure.choose("play")
    figure.page.wait_for_timeout(600)
    figure.choose("pause")
    assert 0 < check_collapse(site, figure, "with biases") < collapse.EPOCHS


def test_collapse_by_keyboard(site, show):
    figure = show("collapse", "kind=with biases")
    figure.press(figure.root.get_by_role("slider"), *["ArrowRight"] * 3)
    assert check_collapse(site, figure, "with biases") == 3
    figure.press(figure.root.locator(".axes").nth(2), "ArrowRight", "ArrowRight", "ArrowLeft")
    assert check_collapse(site, figure, "with biases") == 4


def test_replay_follows_a_training(site):
    """A frame for each epoch with two numbers an image; the loss falls."""
    told = demos.read(site.made, "collapse")
    for kind in told["kinds"].values():
        assert len(kind["frames"]) == len(kind["loss"]) == len(kind["auroc"]) == collapse.EPOCHS + 1
        assert {len(frame) for frame in kind["frames"]} == {2 * (told["nominal"] + collapse.SHOWN)}
        assert kind["loss"][-1] < kind["loss"][0]


# ---- 03: labels that move ----


def check_labels(site, figure, eta):
    """The library's objective, minimised by PyTorch from the same weights."""
    found, data = figure.numbers(), demos.read(site.made, "labels")
    known = np.array(figure.address()["moved"].split(","), float).reshape(-1, 2)
    network, loss = labels.trained(data, known.tolist(), eta)
    assert found["loss"] == pytest.approx(loss, rel=1e-6)
    center = torch.tensor(data["center"], dtype=torch.float64)

    def scores(points):
        return objectives.deep_svdd(network(torch.tensor(points, dtype=torch.float64)), center).detach().numpy()

    level = np.sort(scores(data["points"]))[int(0.9 * len(data["points"])) - 1]
    assert found["known"] == (scores(known) > level).sum()
    assert found["unseen"] == (scores(data["unseen"]) > level).sum()


def test_labels_by_mouse(site, show):
    figure = show("labels")
    plot, mark = figure.root.locator(".axes"), figure.root.locator("path.anomalous").first.bounding_box()
    frame = plot.bounding_box()
    start = (mark["x"] + 8 - frame["x"]) / frame["width"], (mark["y"] + 8 - frame["y"]) / frame["height"]
    figure.drag(plot, start, (0.3, 0.3))
    check_labels(site, figure, 1)


def test_labels_by_keyboard(site, show):
    figure = show("labels", "preset=all around&eta=3")
    figure.press(figure.root.locator(".axes"), "PageDown", *["ArrowDown"] * 5, "Shift+ArrowLeft")
    check_labels(site, figure, 3)


# ---- 06: a threshold on the map ----


def of_overlap(site):
    """Masks and heatmaps of the figure by the kind of defect."""
    data = demos.read(site.made, "overlap")

    def array(text):
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(data["size"], data["size"])

    pictures = data["pictures"].items()
    return {kind: (array(each["mask"]) > 0, array(each["heat"]).astype(int)) for kind, each in pictures}


def check_overlap(site, figure, kind):
    found, pictures = figure.numbers(), of_overlap(site)
    masks, heats = (np.array(part) for part in zip(*pictures.values(), strict=True))
    assert found["aupro"] == pytest.approx(metrics.aupro(masks, heats), abs=1e-9)
    level = found["level"]
    assert found["false"] == pytest.approx((heats[~masks] > level).mean(), abs=1e-12)
    shares = []
    for mask, heat in zip(masks, heats, strict=True):
        scores, regions, sizes = metrics.defects(mask, heat)
        shares += list(np.bincount(regions, scores > level) / sizes)
    assert found["covered"] == pytest.approx(np.mean(shares), abs=1e-12)
    mask, heat = pictures[kind]
    scores, regions, sizes = metrics.defects(mask, heat)
    for number, share in enumerate(np.bincount(regions, scores > level) / sizes, 1):
        assert found[f"defect {number}"] == pytest.approx(share, abs=1e-12)
    parts, count = ndimage.label(heat > level, np.ones((3, 3)))
    assert found["spots"] == count - len(np.unique(parts[mask & (parts > 0)]))
    return found


def test_overlap_by_mouse(site, show):
    figure = show("overlap")
    before = check_overlap(site, figure, "hole")
    figure.choose("crack")
    slider = figure.root.get_by_role("slider").bounding_box()
    figure.page.mouse.click(slider["x"] + 0.1 * slider["width"], slider["y"] + slider["height"] / 2)
    low = check_overlap(site, figure, "crack")
    assert low["level"] < before["level"] and low["false"] >= before["false"] and low["covered"] >= before["covered"]


def test_overlap_by_keyboard(site, show):
    figure = show("overlap", "picture=stain")
    before = check_overlap(site, figure, "stain")
    figure.press(figure.root.locator(".axes"), *["ArrowRight"] * 4)
    assert check_overlap(site, figure, "stain")["level"] < before["level"]


# ---- 07: a mark that moves ----


@cache
def marked():
    """The two detectors of the figure, once more."""
    return stamp.detectors("smoke", "cpu")


def check_stamp(site, figure):
    found, state, data = figure.numbers(), figure.address(), demos.read(site.made, "stamp")
    kind = state.get("picture", "another class 1")
    image = torch.frombuffer(bytearray(base64.b64decode(data["pictures"][kind])), dtype=torch.uint8).reshape(
        1, 1, 28, 28
    )
    shift = int(state.get("down", 0)), int(state.get("right", 0))
    cover = stamp.OPACITY * torch.roll(letters((28, 28)), shift, (0, 1))
    on = as_uint8(as_float(image) * (1 - cover) + cover)
    if shift == (0, 0):
        assert torch.equal(on, watermark(image))
    for name, detector in marked().items():
        before, after = (float(detector.anomaly_score(x)[0]) for x in (image, on))
        assert found[f"{name}, before"] == pytest.approx(before, abs=1e-4)
        assert found[name] == pytest.approx(after, abs=1e-4)
    return shift


def test_stamp_by_mouse(site, show):
    figure = show("stamp")
    assert check_stamp(site, figure) == (0, 0)
    frame = figure.root.locator(".picture .canvas").first
    figure.drag(frame, (0.3, 0.85), (0.3 + 4.2 / 28, 0.85 - 9.2 / 28))
    assert check_stamp(site, figure) == (-9, 4)
    figure.choose("none")
    found = figure.numbers()
    assert found["saw the mark"] == found["saw the mark, before"]


def test_stamp_by_keyboard(site, show):
    figure = show("stamp", "picture=Shirt 2")
    frame = figure.root.locator(".picture .canvas").first
    figure.press(frame, *["ArrowUp"] * 3, *["ArrowRight"] * 2, "ArrowLeft")
    assert check_stamp(site, figure) == (-3, 1)
    figure.press(frame, "Space")
    found = figure.numbers()
    assert found["never saw it"] == found["never saw it, before"]
