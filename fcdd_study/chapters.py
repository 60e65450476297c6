"""Chapters: run by papermill, stamped with what made them, and checked before they enter the book."""

import ast
import json
import os
import re
import time
from pathlib import Path

from . import hashes, protocol, records


class ChapterError(RuntimeError):
    """A chapter failed, or must not enter the book."""


def begin(profile: str, normal: str | None = None, method: str | None = None, shows=protocol.METHODS) -> None:
    """First call of a chapter: checks its parameters and sets the style of its figures.

    ``shows`` are the methods that the chapter can be read with; the others lack what its figures draw. Raises
    ValueError for an unknown profile or class, for a method that is not among them, and for a parameter that was
    passed to the chapter (with ``papermill -p``) but is none of its own: papermill itself only warns, and runs with
    the default.
    """
    from IPython import get_ipython

    from fcdd import datasets

    from .figures import style

    known = protocol.profile(profile)
    names = datasets.classes(known["dataset"])
    if normal is not None and normal not in names:
        raise ValueError(f"unknown class {normal!r} of {known['dataset']}; known: {', '.join(names)}")
    if method is not None and method not in shows:
        raise ValueError(f"method {method!r} cannot be shown in this chapter; it knows {', '.join(shows)}")
    if get_ipython() is not None:
        refuse_unknown(get_ipython().user_ns.get("In", []))
    style.set_style()


def refuse_unknown(cells: list[str]) -> None:
    """Raises ValueError if papermill's cell (it begins with ``# Parameters``) sets a name the first cell does not."""
    first = next((cell for cell in cells if cell.strip()), "")
    for cell in cells:
        if cell.startswith("# Parameters\n") and cell is not first:
            unknown = sorted(_assigned(cell) - _assigned(first))
            if unknown:
                raise ValueError(
                    f"unknown parameters {', '.join(unknown)}; this chapter knows {', '.join(sorted(_assigned(first)))}"
                )


def parameters(notebook: Path) -> set[str]:
    """What a chapter can be told: the names that its first code cell sets."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return _assigned(next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))


def _assigned(cell: str) -> set[str]:
    return set(_values(cell))


def _values(cell: str) -> dict[str, str]:
    nodes = [node for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
    return {target.id: ast.unparse(node.value) for node in nodes for target in node.targets}


def execute(notebook: Path, output: Path, parameters: dict) -> None:
    """Runs a chapter with papermill, stamps it and writes it to ``output``, whole or not at all.

    Raises ChapterError for unknown parameters, and if a cell fails; the partly run notebook is then kept beside the
    output with the suffix ``.failed.ipynb``.
    """
    import papermill

    known = papermill.inspect_notebook(str(notebook))
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ChapterError(f"unknown parameters {', '.join(unknown)}; {notebook.name} knows {', '.join(sorted(known))}")
    os.environ["TQDM_DISABLE"] = "1"  # no progress bars among the outputs
    output.parent.mkdir(parents=True, exist_ok=True)
    partial, failed = output.with_suffix(".part.ipynb"), output.with_suffix(".failed.ipynb")
    began = time.perf_counter()
    try:
        result = papermill.execute_notebook(
            str(notebook),
            str(partial),
            parameters=parameters,
            cwd=str(notebook.parent),
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=40"],  # not a word on unencrypted loopback
        )
    except papermill.PapermillExecutionError as error:
        os.replace(partial, failed)
        raise ChapterError(f"{notebook.name} failed, see {failed}: {error.ename}: {error.evalue}") from error
    _show_once(result.cells)
    result.metadata["fcdd"] = stamp(notebook, parameters) | {"seconds": round(time.perf_counter() - began, 1)}
    partial.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, output)
    failed.unlink(missing_ok=True)


def _show_once(cells) -> None:
    """Hides papermill's parameters from the page if they are the chapter's own defaults, and these otherwise."""
    defaults = next(cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
    passed = next((cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])), None)
    if passed is not None:
        same = _values(defaults.source) | _values(passed.source) == _values(defaults.source)
        (passed if same else defaults).metadata["tags"].append("remove-cell")


def stamp(notebook: Path, parameters: dict) -> dict:
    """What an executed chapter was made from."""
    made = {"parameters": parameters, "commit": records.commit(), "versions": records.versions()}
    return _hashes(notebook) | made


def code_files(notebook: Path) -> tuple[Path, ...]:
    """The library files a chapter depends on: what the names in its code import, and this file."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return hashes.files_behind(set(re.findall(r"\w+", text)), "fcdd_study.chapters")


def problems(executed: Path, notebook: Path) -> list[str]:
    """Why an executed chapter must not enter the book; empty if it may.

    Error outputs, cells that did not run from first to last in order, and a stamp that is missing or of another
    source or library.
    """
    book = json.loads(executed.read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    found = []
    for cell in cells:
        found += [
            f"error in a cell: {o['ename']}: {o['evalue']}" for o in cell["outputs"] if o["output_type"] == "error"
        ]
    counts = [cell["execution_count"] for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        found.append(f"cells ran out of order: {counts}")
    made = book["metadata"].get("fcdd")
    if made is None:
        return [*found, "no stamp: it was not run by the graph (fcdd_study.chapters.execute)"]
    now = _hashes(notebook)
    return found + [f"stale: its {part} changed since it ran" for part in now if made[part] != now[part]]


def _hashes(notebook: Path) -> dict[str, str]:
    """What must not change between running a chapter and showing it: its own text, and the library behind it."""
    parts = {"source": [notebook], "code": code_files(notebook)}
    return {part: hashes.sha256(files) for part, files in parts.items()}
