"""The package as it is met from outside: what importing it brings, what it shows, and what a plain installation can."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcdd
from fcdd import moved

ROOT = Path(__file__).parents[1]


def python(code, program=sys.executable, **options):
    return subprocess.run([program, "-c", code], capture_output=True, text=True, check=False, **options)


# ---- importing ----


def test_import_brings_nothing_that_takes_long():
    heavy = {"torch", "matplotlib", "numpy", "scipy", "sklearn", "pandas", "fcdd_study"}
    told = python("import fcdd, sys; hasattr(fcdd, 'nonsense'); dir(fcdd); print(*sys.modules)")
    assert told.returncode == 0 and "fcdd" in told.stdout.split() and not heavy & set(told.stdout.split())


def test_a_missing_package_is_named():
    """It is not hidden behind an attribute that is not there."""
    told = python("import sys; sys.modules['matplotlib'] = None; import fcdd; fcdd.figures")
    last_line = told.stderr.splitlines()[-1]
    assert last_line.startswith("ModuleNotFoundError: ") and "matplotlib" in last_line


def test_there_is_no_nonsense():
    assert not hasattr(fcdd, "nonsense") and not hasattr(fcdd, "_nonsense")
    with pytest.raises(AttributeError, match="module 'fcdd' has no attribute 'FCD'"):
        fcdd.FCD  # noqa: B018


def test_dir_shows_the_public_surface():
    """All of fcdd's modules and classes that README.md and the chapters name, and it is there."""
    sources = [ROOT / "README.md", *(ROOT / "notebooks").glob("*.ipynb")]
    named = {name for path in sources for name in re.findall(r"\bfcdd\.(\w+)", path.read_text(encoding="utf-8"))}
    ours = {"SVDD", "DeepSVDD", "DeepSAD", "HSC", "FCDD", "Autoencoder", "PatchNeighbours"}
    assert ours | (named & {path.stem for path in (ROOT / "fcdd").iterdir()}) <= set(dir(fcdd))
    assert set(dir(fcdd)) == {*fcdd.__all__, "__version__"}
    assert [name for name in dir(fcdd) if not hasattr(fcdd, name)] == []


# ---- old names ----


@pytest.mark.parametrize("old", moved.MOVED)
def test_modules_that_moved_answer_to_their_old_names(old):
    for home in map(import_module, moved.MOVED[old]):
        names = [name for name, value in vars(home).items() if getattr(value, "__module__", None) == home.__name__]
        for name in (name for name in names if not name.startswith("__")):
            with pytest.warns(
                DeprecationWarning, match=rf"{old}.{name} is now \S+; the old name is dropped in the next"
            ):
                getattr(import_module(old), name)
    assert f"`{old}`" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_old_names_give_what_the_new_ones_hold():
    with pytest.warns(DeprecationWarning, match="fcdd.study.records.stale is now fcdd_study.records.stale"):
        from fcdd.study.records import stale
    with pytest.warns(DeprecationWarning, match="fcdd.baselines.IsolationForest is now fcdd_study.baselines"):
        isolation = fcdd.baselines.IsolationForest
    assert stale is import_module("fcdd_study.records").stale
    assert isolation is import_module("fcdd_study.baselines").IsolationForest
    with pytest.raises(ModuleNotFoundError, match="fcdd_study.nonsense"):
        import_module("fcdd.study.nonsense")


def test_new_names_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in dir(fcdd):
            getattr(fcdd, name)


# ---- a plain installation ----


UV = [sys.executable, "-m", "uv"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def plain(wheel):
    """The Python of an empty environment into which the wheel, and what it asks for, was installed."""
    folder, uv = wheel.parent, UV
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    program = folder / "venv" / "bin" / "python"
    install = [*uv, "pip", "install", "--quiet", "--python", program, "--constraint", ROOT / "requirements.lock", wheel]
    subprocess.run(install, check=True)
    return program


@pytest.fixture
def images(tmp_path):
    """Noise in the layout of MVTec-AD, where README.md looks for it, and new images."""
    rng = np.random.default_rng(0)
    counts = {"my_images/train/good": 100, "my_images/test/good": 4, "new_images": 4}  # a fifth of 100 can keep 5 %
    for folder, count in counts.items():
        (tmp_path / folder).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / folder / f"{k}.png")
    return tmp_path


@pytest.mark.slow
def test_readme_s_lines_work_without_jupyter(plain, images):
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    short = lines.replace("fcdd.FCDD(", "fcdd.FCDD(epochs=1, ")
    told = python(f"{short}\nprint(fcdd.__file__, len(scores), maps.shape)", plain, cwd=images, env={})
    assert told.returncode == 0, told.stderr
    file, rest = told.stdout.split(maxsplit=1)
    assert Path(file).is_relative_to(plain.parents[1]) and rest == "4 (4, 256, 256)\n"
    absent = ("IPython", "jupyterlab", "snakemake", "sphinx", "papermill", "pandas")
    told = python(f"from importlib.util import find_spec; print(*map(find_spec, {absent}))", plain, env={})
    assert told.stdout.split() == ["None"] * len(absent)


@pytest.mark.slow
def test_so_does_the_command_line(plain, images):
    def fcdd_(*arguments):
        command = [plain, "-m", "fcdd", *arguments]
        return subprocess.run(command, cwd=images, env={}, capture_output=True, text=True, check=False)

    fit = fcdd_(
        "fit", "my_images", "--size", "28", "--network", "fcdd_cnn28", "--epochs", "1", "--model", "m.safetensors"
    )
    assert fit.returncode == 0 and "threshold" in fit.stdout, fit.stderr
    assert fcdd_("score", "my_images/test", "--model", "m.safetensors").stdout.count(".png") == 4
    study = fcdd_("study", "list")
    assert study.returncode == 1 and study.stdout == "" and study.stderr.count("\n") == 1
    assert " is not installed; the study and the book need: pip install 'fcdd-book[book]'" in study.stderr


@pytest.mark.slow
def test_a_type_checker_knows_the_surface(tmp_path):
    """From outside, by the marker ``py.typed``: what there is, and that there is no nonsense."""
    shutil.copytree(ROOT / "fcdd", tmp_path / "site" / "fcdd", ignore=shutil.ignore_patterns("__pycache__"))
    lines = ["import fcdd", *(f"reveal_type(fcdd.{name})" for name in dir(fcdd)), "fcdd.nonsense"]
    (tmp_path / "use.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "mypy", "use.py", "--cache-dir", tmp_path / "cache", "--follow-imports", "silent"]
    told = subprocess.run(command, cwd=tmp_path, env={"MYPYPATH": "site"}, capture_output=True, text=True, check=False)
    revealed = re.findall(r"Revealed type is (.*)", told.stdout)
    assert len(revealed) == len(dir(fcdd)) and '"Any"' not in revealed, told.stdout
    assert told.stdout.count("error:") == 1 and 'has no attribute "nonsense"' in told.stdout


@pytest.mark.slow
@pytest.mark.parametrize("chapter", ["05_fcdd", "08_study"])
def test_a_chapter_alone_in_an_empty_folder_runs(wheel, tmp_path, chapter):
    """With what the wheel holds and nothing of the checkout: its data, profiles and tables came along."""
    site, folder = tmp_path / "site", tmp_path / "empty"
    shutil.unpack_archive(wheel, site, "zip")
    folder.mkdir()
    shutil.copy(ROOT / "notebooks" / f"{chapter}.ipynb", folder)
    command = [sys.executable, "-m", "papermill", f"{chapter}.ipynb", "out.ipynb", "-p", "profile", "smoke"]
    clean = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | {"PYTHONPATH": str(site)}
    told = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr[-3000:]
    executed = json.loads((folder / "out.ipynb").read_text())
    assert sum("image/png" in str(cell.get("outputs")) for cell in executed["cells"]) >= 3
