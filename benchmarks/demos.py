"""How soon the figures that move answer a drag: ``python -m benchmarks.demos``, in the system's Chromium.

From the event of the mouse to the frame after the figure's first change, as the page itself sees it; the median and the
longest of several drags. The issue's bound is 50 ms. Figures begin with what profile smoke trains: time does not depend
on what a network has learnt.
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


def answers(tab, name: str) -> list[float]:
    """Milliseconds from the first event of each drag to the figure's answer."""
    root = tab.locator(f"#demo-{name}")
    root.scroll_into_view_if_needed()
    tab.wait_for_selector(f"#demo-{name}.live")
    root.evaluate(WATCH)
    told = []
    for drag in range(DRAGS):
        grip = root.locator(GRIPS.get(name, "input[type=range]")).first
        grip.scroll_into_view_if_needed()
        box = grip.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        tab.wait_for_timeout(150)
        tab.evaluate("window.answers.length = 0")
        tab.mouse.move(x, y)
        tab.mouse.down()
        tab.mouse.move(x + 12 + drag, y - 12)
        tab.wait_for_timeout(250)
        tab.mouse.up()
        told += tab.evaluate("window.answers.slice(0, 1)")
    return told


def main(only: Annotated[list[str] | None, typer.Option(help=f"some of: {', '.join(demos.FIGURES)}")] = None) -> None:
    """Prints how soon each figure answers."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise typer.BadParameter("expected Chromium on this machine, found none")
    table = Table(
        "figure", "drags answered", "median, ms", "longest, ms", f"within {BOUND} ms", title="first answer to a drag"
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        tab = playwright.chromium.launch(executable_path=program, args=arguments).new_page()
        tab.goto(page(Path(folder)).as_uri())
        for name in only or demos.FIGURES:
            told = answers(tab, name)
            median, longest = (statistics.median(told), max(told)) if told else (float("nan"),) * 2
            table.add_row(
                name, f"{len(told)} of {DRAGS}", f"{median:.0f}", f"{longest:.0f}", "yes" if longest <= BOUND else "no"
            )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
