"""Chapters: run by papermill, stamped with what made them, and checked before they enter the book."""

import ast
import hashlib
import json
import os
import re
import sys
import tempfile
import time
import warnings
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
    import pandas as pd
    from IPython import get_ipython

    from fcdd import datasets

    from .figures import style

    refuse_another_checkout(Path.cwd())
    known = protocol.profile(profile)
    names = datasets.classes(known["dataset"])
    if normal is not None and normal not in names:
        raise ValueError(f"unknown class {normal!r} of {known['dataset']}; known: {', '.join(names)}")
    if method is not None and method not in shows:
        raise ValueError(f"method {method!r} cannot be shown in this chapter; it knows {', '.join(shows)}")
    shell = get_ipython()
    if shell is not None:
        refuse_unknown(shell.user_ns.get("In", []))
        refuse_seed(shell.user_ns.get("seed", 0))
        _show_figures(shell)
    style.set_style()
    pd.options.display.width = 100  # slides show tables as text, and have room for so many letters


def refuse_another_checkout(folder: Path) -> None:
    """Raises ValueError if ``folder`` is in a checkout, and the code that runs is not that one's."""
    here = next((place for place in (folder, *folder.parents) if (place / "fcdd_study" / "chapters.py").exists()), None)
    if here is not None and here.resolve() != records.CHECKOUT.resolve():
        raise ValueError(
            f"this chapter lies in {here}, but the code that runs is that of {records.CHECKOUT}; "
            f"install this one (pip install -e {here}), or start with PYTHONPATH={here}"
        )


def refuse_seed(seed) -> None:
    """Raises ValueError for a seed that is no whole number, or one that no generator takes."""
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ValueError(f"expected seed to be a whole number from 0 to {2**32 - 1}, as in -p seed 1; got {seed!r}")


def _show_figures(shell) -> None:
    """Puts figures into the notebook where MPLBACKEND of the reader's shell would leave them out."""
    import matplotlib

    wanted, used = os.environ.get("MPLBACKEND", ""), matplotlib.get_backend().lower()
    if not wanted or not hasattr(shell, "kernel") or any(name in used for name in ("inline", "ipympl", "nbagg")):
        return
    shell.run_line_magic("matplotlib", "inline")
    warnings.warn(f"MPLBACKEND={wanted} would show no figure here; they are put into the notebook", stacklevel=3)


def refuse_unknown(cells: list[str]) -> None:
    """Raises ValueError if papermill's cell (it begins with ``# Parameters``) sets a name the first cell does not."""
    # A student's notebook has a cell before it that installs.
    first = next((cell for cell in cells if re.search(r"^profile = ", cell, re.MULTILINE)), "")
    for cell in cells:
        if cell.startswith("# Parameters\n") and cell is not first:
            unknown = sorted(_assigned(cell) - _assigned(first))
            if unknown:
                raise ValueError(
                    f"unknown parameters {', '.join(unknown)}; this chapter knows {', '.join(sorted(_assigned(first)))}"
                )


def parameters(notebook: Path) -> set[str]:
    """What a chapter can be told: the names that its first code cell sets."""
    return _assigned(_first_cell(notebook))


def _first_cell(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def _assigned(cell: str) -> set[str]:
    return set(_values(cell))


def _values(cell: str) -> dict[str, str]:
    nodes = [node for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
    return {target.id: ast.unparse(node.value) for node in nodes for target in node.targets}


def given(notebook: Path, texts: dict[str, str]) -> dict:
    """Parameters as typed: a whole number where the chapter has one, None where that is its default, else text."""
    defaults = {name: ast.literal_eval(value) for name, value in _values(_first_cell(notebook)).items()}

    def meant(name: str, text: str):
        default = defaults.get(name, "")
        if default is None and text == "None":
            return None
        return int(text) if type(default) is int and re.fullmatch(r"[+-]?\d+", text) else text

    return {name: meant(name, text) for name, text in texts.items()}


def execute(notebook: Path, output: Path, told: dict) -> None:
    """Runs a chapter with papermill, stamps it and writes it to ``output``, whole or not at all.

    Raises ChapterError for unknown parameters, if a cell fails (the partly run notebook is then kept beside the output
    with the suffix ``.failed.ipynb``), and if what ran is not what the stamp would say.
    """
    known = parameters(notebook)
    if unknown := sorted(told.keys() - known):
        raise ChapterError(f"unknown parameters {', '.join(unknown)}; {notebook.name} knows {', '.join(sorted(known))}")
    output.parent.mkdir(parents=True, exist_ok=True)
    partial, failed = output.with_suffix(".part.ipynb"), output.with_suffix(".failed.ipynb")
    began, before = time.perf_counter(), _hashes(notebook)
    try:
        result = _run(notebook, partial, told)
        ran = _answer(result)
        _refuse_other(ran, before)
    except ChapterError as error:
        _without_question(partial)
        os.replace(partial, failed)
        raise ChapterError(f"{notebook.name} failed, see {failed}: {error}") from error
    _show_once(result.cells)
    result.metadata["papermill"]["input_path"] = str(notebook)
    made = before | {"outputs": _sha256_of(result.cells), "parameters": told}
    made |= {key: ran[key] for key in ("commit", "versions")}
    result.metadata["fcdd"] = made | {"seconds": round(time.perf_counter() - began, 1)}
    partial.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, output)
    failed.unlink(missing_ok=True)


def _run(notebook: Path, partial: Path, told: dict):
    """The executed notebook, the kernel's :func:`answer` in its last cell; ``partial`` has it as far as it came.

    Raises ChapterError if a cell fails or the kernel dies.
    """
    import nbformat
    import papermill

    from . import kernel

    if shell := kernel.set_aside():
        print(f"the chapter does not see {shell}", file=sys.stderr)
    source = nbformat.read(notebook, nbformat.current_nbformat)
    question = ASK.format(path=str(notebook.resolve()))
    source.cells.append(nbformat.v4.new_code_cell(question, metadata={"tags": [ASKED]}))
    nbformat.write(source, partial)
    with tempfile.TemporaryFile() as words:
        try:
            return papermill.execute_notebook(
                str(partial),
                str(partial),
                parameters=told,
                cwd=str(notebook.parent),
                progress_bar=False,
                kernel_manager_class=kernel.own(words),
                # Not a word on unencrypted loopback; and what is run here is no part of the reader's history.
                extra_arguments=["--IPKernelApp.log_level=40", "--HistoryManager.hist_file=:memory:"],
            )
        except papermill.PapermillExecutionError as error:
            raise ChapterError(f"{error.ename}: {error.evalue}") from error
        except RuntimeError as error:  # nbclient's, when the kernel dies or does not start
            words.seek(0)
            said = words.read().decode(errors="replace").strip().splitlines()[-3:]
            raise ChapterError("; ".join([str(error), *said])) from error


# The last thing that a chapter's kernel is asked: what it is, and which code it has run.
ASKED = "asked-of-the-kernel"
ASK = "import json; from fcdd_study import chapters; print(json.dumps(chapters.answer({path!r})))"


def answer(notebook: str) -> dict:
    """What the process that runs this is: interpreter, checkout, commit, versions, and its hashes for a chapter."""
    import fcdd

    who = {"interpreter": sys.prefix, "checkout": str(records.CHECKOUT), "library": str(Path(fcdd.__file__).parents[1])}
    return who | {"hashes": _hashes(Path(notebook)), "commit": records.commit(), "versions": records.versions()}


def _answer(result) -> dict:
    """The kernel's answer; its cell is taken out of the notebook."""
    outputs = result.cells.pop().outputs
    return json.loads("".join(each.text for each in outputs if each.output_type == "stream" and each.name == "stdout"))


def _without_question(partial: Path) -> None:
    book = json.loads(partial.read_text(encoding="utf-8"))
    book["cells"] = [cell for cell in book["cells"] if ASKED not in cell["metadata"].get("tags", [])]
    partial.write_text(json.dumps(book, indent=1, ensure_ascii=False), encoding="utf-8")


def _refuse_other(ran: dict, before: dict) -> None:
    """Raises ChapterError if a kernel's answer is not that of this process, or the code is no longer that of before."""
    here = {"interpreter": sys.prefix, "checkout": records.CHECKOUT, "library": records.CHECKOUT}
    for what, expected in here.items():
        if Path(ran[what]).resolve() != Path(expected).resolve():
            raise ChapterError(f"the chapter ran with another {what}: expected {expected}, got {ran[what]}")
    for part, value in before.items():
        if ran["hashes"][part] != value:
            raise ChapterError(f"the chapter's {part} changed while it ran; run it again")


def _show_once(cells) -> None:
    """Hides papermill's parameters from the page if they are the chapter's own defaults, and these otherwise."""
    defaults = next(cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
    passed = next((cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])), None)
    if passed is not None:
        same = _values(defaults.source) | _values(passed.source) == _values(defaults.source)
        (passed if same else defaults).metadata["tags"].append("remove-cell")


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
    found += [f"stale: its {part} changed since it ran" for part in now if made[part] != now[part]]
    return found if found or made.get("outputs") == _sha256_of(book["cells"]) else [EDITED]


EDITED = "it was changed by hand since it ran"


def edited(executed: Path) -> bool:
    """Whether an executed chapter is not as its run left it."""
    book = json.loads(executed.read_text(encoding="utf-8"))
    return book["metadata"].get("fcdd", {}).get("outputs") != _sha256_of(book["cells"])


def _sha256_of(cells: list) -> str:
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def _hashes(notebook: Path) -> dict[str, str]:
    """What must not change between running a chapter and showing it: its own text, and the library behind it."""
    parts = {"source": [notebook], "code": code_files(notebook)}
    return {part: hashes.sha256(files) for part, files in parts.items()}
