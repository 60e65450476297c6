"""What lies around a reader changes nothing in silence: shell, home, kernels, checkouts, git, misspelt names.

Each test is a public report of people who rerun executable books, told again with a chapter of a few lines.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from fcdd_study import chapters, kernel, records

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PARAMETERS = 'profile = "smoke"\nnormal = "Ankle boot"\nexposure = None\nseed = 0\ndevice = "cpu"'
BEGIN = "import fcdd_study as study\nstudy.begin(profile, normal)"
DRAW = "import matplotlib.pyplot as plt\nplt.imshow([[0, 1], [2, 3]])\nplt.title('ä');"
WHERE = "import sys, fcdd\nprint(sys.prefix)\nprint(fcdd.__file__)"
FOREIGN = {"argv": ["/usr/bin/env", "false"], "display_name": "Python 3", "language": "python"}
started = pytest.mark.medium  # a kernel is started


def cell(source, tags=()):
    return {"cell_type": "code", "id": f"c{len(source)}", "metadata": {"tags": list(tags)}, "source": source,
            "outputs": [], "execution_count": None}  # fmt: skip


def chapter(path, *sources):
    """A chapter of these cells, with the metadata of ours."""
    metadata = json.loads((ROOT / "notebooks" / "00_anomalies.ipynb").read_text(encoding="utf-8"))["metadata"]
    cells = [cell(PARAMETERS, ["parameters"]), *map(cell, sources)]
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
    return path


def shown(path):
    """What a reader sees of a notebook: its pictures, and all that was printed."""
    outputs = [o for c in json.loads(path.read_text(encoding="utf-8"))["cells"] for o in c.get("outputs", [])]
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    texts = ["".join(output["text"]) for output in outputs if output["output_type"] == "stream"]
    return pictures, texts


def ran(folder, *sources, **told):
    """What a reader sees of a chapter that the study executed."""
    folder.mkdir(exist_ok=True)
    chapters.execute(chapter(folder / "01_small.ipynb", *sources), folder / "out.ipynb", told)
    return shown(folder / "out.ipynb")


def plain(**more):
    """This process's environment without what tests set, and with the code that is tested."""
    kept = {key: value for key, value in os.environ.items() if key not in ("MPLBACKEND", "TQDM_DISABLE")}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def papermill(source, output, *arguments, **environment):
    """papermill as a reader calls it, in an environment in which this project is installed with its entry points."""
    installed = output.parent / "installed" / "fcdd_book-0.dist-info"
    installed.mkdir(parents=True, exist_ok=True)
    entries = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entry.items())
        for group, entry in PROJECT["entry-points"].items()
    )
    (installed / "entry_points.txt").write_text(entries)
    path = os.pathsep.join([str(ROOT), str(installed.parent)])
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", source, output, *arguments]
    environment = plain(PYTHONPATH=path, **environment)
    return subprocess.run(command, cwd=output.parent, env=environment, capture_output=True, text=True, check=False)


# ---- the shell ----


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """What a chapter shows in surroundings that say nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for name in kernel.SET_ASIDE:
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        seen = ran(tmp_path_factory.mktemp("reference"), BEGIN, DRAW)
    assert len(seen[0]) == 1 and seen[1] == []
    return seen


@started
@pytest.mark.parametrize("backend", ["agg", pytest.param("TkAgg", marks=pytest.mark.slow)])
def test_figures_are_there_whatever_the_shell_s_backend(reference, tmp_path, monkeypatch, capfd, backend):
    """stefan-jansen/machine-learning-for-trading#482; trials 05 and 14."""
    monkeypatch.setenv("MPLBACKEND", backend)
    assert ran(tmp_path, BEGIN, DRAW) == reference
    assert f"the chapter does not see MPLBACKEND={backend}" in capfd.readouterr().err


@pytest.mark.slow
@started
def test_so_they_are_with_papermill_by_hand(reference, tmp_path):
    """And whatever style lies beside the notebook: begin() takes its place."""
    source = chapter(tmp_path / "01_small.ipynb", BEGIN, DRAW)
    (tmp_path / "matplotlibrc").write_text("figure.facecolor: black\nfont.size: 22\nimage.origin: lower\n")
    told = papermill(source, tmp_path / "out.ipynb", MPLBACKEND="agg")
    assert told.returncode == 0, told.stderr
    assert shown(tmp_path / "out.ipynb") == reference


@pytest.mark.slow
@started
def test_so_they_are_in_jupyterlab(reference, tmp_path):
    """Which starts kernels of its own: there begin() puts the figures into the notebook, and says so."""
    source = chapter(tmp_path / "01_small.ipynb", BEGIN, DRAW)
    command = [sys.executable, "-m", "jupyter", "execute", source, f"--output={tmp_path / 'out.ipynb'}"]
    told = subprocess.run(command, env=plain(MPLBACKEND="TkAgg"), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    pictures, (text,) = shown(tmp_path / "out.ipynb")
    assert pictures == reference[0]
    assert "MPLBACKEND=TkAgg would show no figure here; they are put into the notebook" in text


@pytest.mark.slow
@started
def test_a_shell_without_utf8(tmp_path, monkeypatch):
    """jupyter-book/jupyter-book#137, fastai/fastai#2334; trial 09."""
    source = chapter(tmp_path / "01_small.ipynb", "print('ä', open('ü.txt', 'w').encoding)")
    command = [sys.executable, "-m", "fcdd", "study", "chapter", source, tmp_path / "out.ipynb"]
    told = subprocess.run(
        command, env=plain(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"), capture_output=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert shown(tmp_path / "out.ipynb")[1] == ["ä utf-8\n"]


# ---- the home ----


def home_with_settings(home):
    """A home that would change a page: a start-up file, IPython's and Jupyter's settings, a style of matplotlib's."""
    ipython, style = home / ".ipython" / "profile_default", home / ".config" / "matplotlib"
    for folder in (ipython / "startup", style, home / ".jupyter"):
        folder.mkdir(parents=True)
    (ipython / "startup" / "00.py").write_text(
        "print('hello')\nprofile = 'mine'\nimport warnings; warnings.warn('x')\n"
    )
    (ipython / "ipython_kernel_config.py").write_text(
        "c.InlineBackend.figure_formats = {'svg'}\nc.InlineBackend.rc = {'figure.dpi': 30}\n"
        "c.InteractiveShell.ast_node_interactivity = 'all'\n"
    )
    (style / "matplotlibrc").write_text("figure.facecolor: black\nfont.size: 22\nimage.origin: lower\n")
    (home / ".jupyter" / "jupyter_nbclient_config.py").write_text("c.NotebookClient.timeout = 1\n")
    return home


@pytest.mark.slow
@started
def test_settings_in_the_home_do_not_reach_the_page(reference, tmp_path, monkeypatch):
    """nteract/papermill#408, jupyter/notebook#5695; trial 16."""
    monkeypatch.setenv("HOME", str(home_with_settings(tmp_path / "home")))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "home" / ".ipython" / "profile_default" / "startup" / "00.py"))
    assert ran(tmp_path, BEGIN, DRAW) == reference


@pytest.mark.slow
@started
def test_a_home_that_cannot_be_written_says_nothing_on_the_page(reference, tmp_path, monkeypatch):
    """As in containers: matplotlib and IPython would say that they keep their files elsewhere."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, "/proc/none")
    monkeypatch.setattr(records, "ROOT", Path("/proc/none"))  # nor can the checkout
    assert ran(tmp_path, BEGIN, DRAW) == reference


# ---- other kernels and other checkouts ----


def foreign_kernel(share, spec):
    (share / "kernels" / "python3").mkdir(parents=True)
    (share / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    return share


@pytest.fixture(scope="module")
def other_environment(tmp_path_factory):
    """Another environment with the same packages and a kernel that works."""
    folder = tmp_path_factory.mktemp("other")
    return virtual_environment(folder)


def virtual_environment(folder, *paths):
    """A virtual environment with this one's packages, but without the project; then ``paths``."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    program = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = subprocess.run([program, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    packages = sysconfig.get_paths()["purelib"]  # its own .pth files, as of an editable installation, are not read
    (Path(site) / "packages.pth").write_text("\n".join([packages, *map(str, paths)]))
    return program


@pytest.mark.slow
@started
@pytest.mark.parametrize("works", [True, False])
def test_another_environment_s_kernel_is_not_taken(other_environment, tmp_path, monkeypatch, works):
    """nteract/papermill#761, #625, #251; trials 21, 31 and 31b."""
    own = [str(other_environment), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = FOREIGN | {"argv": own} if works else FOREIGN
    monkeypatch.setenv("JUPYTER_PATH", str(foreign_kernel(tmp_path / "share", spec)))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    foreign_kernel(tmp_path / "home" / ".local" / "share" / "jupyter", spec)
    here = [f"{sys.prefix}\n{ROOT / 'fcdd' / '__init__.py'}\n"]
    assert ran(tmp_path, WHERE)[1] == here
    told = papermill(tmp_path / "01_small.ipynb", tmp_path / "by_hand.ipynb")
    assert told.returncode == 0, told.stderr
    assert shown(tmp_path / "by_hand.ipynb")[1] == here


def test_papermill_starts_no_other_notebook_than_ours_in_our_way(monkeypatch):
    pytest.importorskip("papermill")
    from nbformat.v4 import new_notebook
    from papermill.engines import NBClientEngine, papermill_engines

    from fcdd_study.papermill_engine import OURS, Engine

    told = []
    monkeypatch.setattr(NBClientEngine, "execute_managed_notebook", lambda *given, **options: told.append(options))
    python3 = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    for metadata, name in (
        (python3 | {OURS: True}, "python3"),
        (python3 | {OURS: True}, "other"),
        (python3, "python3"),
    ):
        Engine.execute_managed_notebook(type("Manager", (), {"nb": new_notebook(metadata=metadata)}), name)
    assert ["kernel_manager_class" in options for options in told] == [True, False, False]
    assert papermill_engines.get_engine(None) is Engine


@pytest.fixture(scope="module")
def checkouts(copy_project, tmp_path_factory):
    """Two checkouts, of which the old one draws something else."""
    folder = tmp_path_factory.mktemp("checkouts")
    for name in ("old", "new"):
        copy_project(folder / name)
    with (folder / "old" / "fcdd" / "metrics.py").open("a") as file:
        file.write("\nWHOSE = 'that of the other checkout'\n")
    chapter(folder / "new" / "notebooks" / "97_small.ipynb", BEGIN, WHERE, "from fcdd import metrics")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["old", "moved away"])
def test_the_code_that_is_stamped_is_the_code_that_ran(checkouts, tmp_path, installed):
    """nteract/papermill#418, #408; trial 18: another checkout, or none any more, is installed in the environment."""
    program, new = virtual_environment(tmp_path / "env", checkouts / installed), checkouts / "new"
    environment = {key: value for key, value in plain().items() if key != "PYTHONPATH"}
    for name, command in {
        "study": ["fcdd", "study", "chapter", "notebooks/97_small.ipynb"],
        "papermill": ["papermill", "--no-progress-bar", "notebooks/97_small.ipynb"],
    }.items():
        output = tmp_path / f"{name}.ipynb"
        told = subprocess.run(
            [program, "-m", *command, output], cwd=new, env=environment, capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        ((text,), pictures) = reversed(shown(output))
        assert text.split("\n")[1] == str(new / "fcdd" / "__init__.py") and pictures == []
    code = f"from pathlib import Path; from fcdd_study import chapters; print(chapters.problems(Path({str(tmp_path)!r})"
    code += " / 'study.ipynb', Path('notebooks/97_small.ipynb')))"
    told = subprocess.run([program, "-c", code], cwd=new, env=environment, capture_output=True, text=True, check=False)
    assert told.stdout == "[]\n", told.stderr


def test_a_chapter_of_another_checkout_is_refused(tmp_path):
    """Where a reader opens it in JupyterLab, and another checkout is installed."""
    (tmp_path / "other" / "fcdd_study").mkdir(parents=True)
    (tmp_path / "other" / "notebooks").mkdir()
    (tmp_path / "other" / "fcdd_study" / "chapters.py").touch()
    text = f"lies in {tmp_path / 'other'}, but the code that runs is that of {ROOT}; install this one .pip install -e"
    with pytest.raises(ValueError, match=text):
        chapters.refuse_another_checkout(tmp_path / "other" / "notebooks")
    chapters.refuse_another_checkout(ROOT / "notebooks")
    chapters.refuse_another_checkout(tmp_path)


@pytest.mark.parametrize("what, text", [
    ({"interpreter": "/usr"}, "the chapter ran with another interpreter: expected .*, got /usr"),
    ({"checkout": "/old"}, "the chapter ran with another checkout: expected .*, got /old"),
    ({"library": "/old"}, "the chapter ran with another library: expected .*, got /old"),
    ({"hashes": {"source": "1", "code": "3"}}, "the chapter's code changed while it ran; run it again"),
])  # fmt: skip
def test_what_the_kernel_says_of_itself_is_compared(what, text):
    here = {"interpreter": sys.prefix, "checkout": str(ROOT), "library": str(ROOT)}
    before = {"source": "1", "code": "2"}
    chapters._refuse_other(here | {"hashes": before}, before)
    with pytest.raises(chapters.ChapterError, match=text):
        chapters._refuse_other(here | {"hashes": before} | what, before)


def test_a_library_of_another_checkout_is_not_hashed_as_ours(tmp_path):
    (tmp_path / "fcdd").mkdir()
    (tmp_path / "fcdd" / "__init__.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import fcdd; sys.path[0] = {str(ROOT)!r}\n"
    code += "from fcdd_study import hashes; hashes._imports()"
    told = subprocess.run([sys.executable, "-c", code], env=plain(), capture_output=True, text=True, check=False)
    assert told.stderr.splitlines()[-1].startswith(
        f"RuntimeError: two checkouts are mixed: the study is that of {ROOT}, the library that of {tmp_path}; install"
    )


# ---- git ----


def git(folder, *arguments):
    name = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", "-C", folder, *name, *arguments], check=True, capture_output=True)


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """The project as a zip brings it, in a course's own repository."""
    project = tmp_path / "course" / "week 3" / "book"
    (project / "fcdd_study").mkdir(parents=True)
    (project / "fcdd_study" / "records.py").touch()
    git(tmp_path, "init", "course")
    git(tmp_path / "course", "commit", "--allow-empty", "-m", "slides")
    monkeypatch.setattr(records, "CHECKOUT", project)
    return project


def test_a_course_s_repository_gives_its_commit_to_no_record(unpacked):
    assert records.commit() == "unknown"
    git(unpacked.parents[1], "add", ".")
    git(unpacked.parents[1], "commit", "-m", "the book, too")
    assert records.commit() == "unknown"


def test_nor_does_one_that_is_made_where_the_book_lies_before_it_holds_the_book(unpacked, monkeypatch):
    git(unpacked, "init")
    assert records.commit() == "unknown"
    git(unpacked, "commit", "--allow-empty", "-m", "nothing")
    assert records.commit() == "unknown"
    git(unpacked, "add", ".")
    git(unpacked, "commit", "-m", "the book")
    assert len(records.commit()) == 12
    monkeypatch.setenv("GIT_DIR", str(unpacked.parents[1] / ".git"))  # as git sets it for its hooks
    assert len(records.commit()) == 12
    (unpacked / "fcdd_study" / "records.py").write_text("changed")
    assert records.commit().endswith("+")


# ---- misspelt names ----


@pytest.mark.parametrize("goal, asked, text", [
    ("study", "METHOD=hsc", "unknown variable METHOD; did you mean METHODS?"),
    ("study", "CLASS=Bag", "unknown variable CLASS; did you mean CLASSES?"),
    ("study", "DATASET=mnist", "unknown variable DATASET; did you mean DATASETS?"),
    ("study", "ABLATION=depth", "unknown variable ABLATION; did you mean ABLATIONS?"),
    ("book", "profile=smoke", "unknown variable profile; did you mean PROFILE?"),
    ("book", "PROFIL=smoke", "unknown variable PROFIL; did you mean PROFILE?"),
    ("book", "GPU=1", "unknown variable GPU; known: PROFILE, DEVICE, CORES"),
    ("book", "METHODS=hsc", "make book takes no METHODS; a part of the study is run by: make study METHODS=..."),
    ("book", "AGAIN=1", "make book takes no AGAIN; a part of the study is run by: make study AGAIN=..."),
    ("why", "CLASSES=Bag", "make why takes no CLASSES; a part of the study is run by: make study CLASSES=..."),
])  # fmt: skip
def test_misspelt_variables_of_make_are_refused_with_the_right_name(goal, asked, text):
    """snakemake#2370 of others' projects: a misspelt name on the make line runs the whole; trial 15."""
    told = made(goal, asked)
    assert told.returncode == 2 and told.stdout == ""
    assert told.stderr.partition("*** ")[2].startswith(text)


def made(*arguments, **environment):
    """make, but it only shows what it would call."""
    kept = {key: value for key, value in plain().items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    command = ["make", "-n", "-o", ".venv/.stamp", *arguments]
    return subprocess.run(command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, check=False)


def test_make_takes_what_it_knows_and_says_what_comes_from_the_environment():
    told = made("study", "METHODS=hsc,fcdd", "CLASSES=Bag, Shirt", "PROFILE=smoke", DEVICE="cpu")
    assert told.returncode == 0 and told.stderr == ""
    assert told.stdout.startswith("DEVICE=cpu, from the environment\n")
    assert "device=cpu" in told.stdout and '"methods=hsc,fcdd" "classes=Bag, Shirt"' in told.stdout
    assert made("why", "WHAT=study", "METHODS=hsc").returncode == 0


@pytest.mark.parametrize("seed", [1.0, "1", "zero", -1, None, True, 2**32])
def test_a_seed_that_is_no_seed_is_one_clear_line(seed):
    """nteract/papermill#55; trial 02."""
    text = f"expected seed to be a whole number from 0 to 4294967295, as in -p seed 1; got {seed!r}"
    with pytest.raises(ValueError) as error:
        chapters.refuse_seed(seed)
    assert str(error.value) == text


def test_a_seed_that_is_one():
    chapters.refuse_seed(0)
    chapters.refuse_seed(2**32 - 1)


@pytest.mark.slow
@started
def test_a_chapter_refuses_it(tmp_path):
    with pytest.raises(chapters.ChapterError, match="ValueError: expected seed to be a whole number .* got 1.0"):
        ran(tmp_path, BEGIN, seed=1.0)


def test_parameters_as_they_are_typed(tmp_path):
    """Whole numbers are numbers, as with papermill's -p; what holds "=" or a space stays whole: nteract/papermill#864;
    trial 03."""
    path = chapter(tmp_path / "01_small.ipynb", BEGIN)
    texts = {"seed": "3", "normal": "5", "exposure": "None", "profile": "None", "device": "cpu"}
    assert chapters.given(path, texts) == texts | {"seed": 3, "exposure": None}
    for text in ("1.0", "zero", "", "0x1"):
        assert chapters.given(path, {"seed": text}) == {"seed": text}
    assert chapters.given(path, {"seed": "-1", "exposure": "run=1 äöü"}) == {"seed": -1, "exposure": "run=1 äöü"}
    assert chapters.given(path, {"sed": "1"}) == {"sed": "1"}  # refused by name


def test_the_command_keeps_what_holds_an_equals_sign(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from fcdd_study import cli

    told = []
    monkeypatch.setattr(chapters, "execute", lambda *given: told.append(given[2]))
    path = chapter(tmp_path / "01_small.ipynb", BEGIN)
    arguments = ["chapter", str(path), str(tmp_path / "out.ipynb"), "-p", "seed=1", "-p", "exposure=a/run=1 äöü"]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    assert told == [{"seed": 1, "exposure": "a/run=1 äöü"}]


# ---- right before, and to stay so ----


def test_cells_may_run_twice_and_out_of_order():
    """qiskit-community/qiskit-textbook#77; trial 20: a reader runs the first cells again, with other values."""
    first, passed = PARAMETERS, "# Parameters\nseed = 3\n"
    chapters.refuse_unknown(["", first, first, BEGIN, BEGIN])
    chapters.refuse_unknown(["", first, passed, passed, BEGIN, first, passed, BEGIN])
    chapters.refuse_unknown(["", BEGIN, first, BEGIN])


@pytest.mark.slow
def test_several_at_once(tmp_path):
    """nteract/papermill#511, jupyter/nbconvert#1066; trial 04."""
    source = chapter(tmp_path / "01_small.ipynb", "print(seed)")
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", source]
    calls = [
        subprocess.Popen([*command, tmp_path / f"{k}.ipynb", "-p", "seed", str(k)], env=plain(), stderr=subprocess.PIPE)
        for k in range(4)
    ]
    said = [call.communicate()[1].decode() for call in calls]
    assert [call.returncode for call in calls] == [0] * 4, said
    assert [shown(tmp_path / f"{k}.ipynb")[1] for k in range(4)] == [[f"{k}\n"] for k in range(4)]


@pytest.mark.slow
def test_a_chapter_alone_in_an_empty_folder(tmp_path):
    """astropy-learn/astropy-tutorials#633; trial 06: downloaded from its page, with the library only installed."""
    source = tmp_path / "00_anomalies.ipynb"
    source.write_bytes((ROOT / "notebooks" / source.name).read_bytes())
    told = papermill(source, tmp_path / "out.ipynb", "-p", "profile", "smoke", "-p", "device", "cpu")
    assert told.returncode == 0, told.stderr
    assert len(shown(tmp_path / "out.ipynb")[0]) > 2
