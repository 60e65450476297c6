"""How soon the figures that move answer a drag: ``python -m benchmarks.demos``, in the system's Chromium.

From the event of the mouse to the frame after the figure's first change, as the page itself sees it; the median and the
longest of several drags, and the processor time that the page took. The bound is 50 ms. Figures begin with what profile
smoke trains: the time does not depend on what a network has learnt.
"""

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fcdd_study import demos
from fcdd_study.printed import browser

BOUND, DRAGS = 50, 8  # ms
PLACE = Path(__file__).parents[1] / "book" / "demos"
GRIPS = {  # what is dragged in each figure
    "svdd": ".axes circle.edge",
    "labels": ".axes path.edge",
    "draw": ".picture .canvas",
    "stamp": ".picture .canvas",
    "field": ".picture:nth-child(2) .canvas",
}
WATCH = """(root) => {
  let began = 0;
  window.answers = [];
  for (const kind of ['pointermove', 'input'])
    addEventListener(kind, (event) => { if (event.buttons || kind === 'input') began ||= event.timeStamp; }, true);
  new MutationObserver(() => {
    if (!began) return;
    const start = began;
    began = 0;
    requestAnimationFrame(() => window.answers.push(performance.now() - start));
  }).observe(root, {subtree: true, childList: true, attributes: true});
}"""


def page(folder: Path) -> Path:
    """A bare page with all figures."""
    demos.write(folder, "smoke", "cpu")
    for file in PLACE.iterdir():
        shutil.copy(file, folder)
    figures = "".join(
        f'<figure class="demo" id="demo-{name}" data-demo="{name}"><div class="stage"></div></figure>'
        for name in demos.FIGURES
    )
    head = '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="demos.css">'
    (folder / "index.html").write_text(
        f'{head}<main style="width: 720px">{figures}</main><script src="loader.js"></script>'
    )
    return folder / "index.html"


def answers(tab, name: str) -> tuple[list[float], list[float]]:
    """For each drag, milliseconds from its first event to the figure's answer, and of processor time that the page's
    main thread took for all of it, which does not depend on what else the machine does."""
    root = tab.locator(f"#demo-{name}")
    root.scroll_into_view_if_needed()
    tab.wait_for_selector(f"#demo-{name}.live")
    root.evaluate(WATCH)
    session = tab.context.new_cdp_session(tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> float:
        measured = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(each["value"] for each in measured if each["name"] == "TaskDuration")

    told, took = [], []
    for drag in range(DRAGS):
        grip = root.locator(GRIPS.get(name, "input[type=range]")).first
        grip.scroll_into_view_if_needed()
        box = grip.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        tab.mouse.move(x, y)
        tab.mouse.down()
        tab.wait_for_timeout(300)
        tab.evaluate("window.answers.length = 0")
        before = busy()
        tab.mouse.move(x + 12 + drag, y - 12)
        tab.wait_for_function("window.answers.length")
        took.append(busy() - before)
        told += tab.evaluate("window.answers.slice(0, 1)")
        tab.mouse.up()
    return told, took


def main(only: Annotated[list[str] | None, typer.Option(help=f"some of: {', '.join(demos.FIGURES)}")] = None) -> None:
    """Prints how soon each figure answers."""
    from playwright.sync_api import sync_playwright

    program = browser()
    if program is None:
        raise typer.BadParameter("expected Chromium on this machine, found none")
    names = "median, ms", "longest, ms", "processor, median", f"within {BOUND} ms"
    table = Table("figure", *names, title=f"first answer to a drag, of {DRAGS}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        tab = playwright.chromium.launch(executable_path=program, args=arguments).new_page()
        tab.goto(page(Path(folder)).as_uri())
        for name in only or demos.FIGURES:
            told, took = answers(tab, name)
            within = f"{sum(each <= BOUND for each in told)} of {DRAGS}"
            numbers = (statistics.median(told), max(told), statistics.median(took))
            table.add_row(name, *(f"{each:.0f}" for each in numbers), within)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
