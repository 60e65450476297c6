"""The kernel that executes a chapter: this interpreter, this checkout's code, none of the reader's settings.

Jupyter looks for a kernel by name, and the first ``python3`` that it finds may be another environment's; a kernel looks
for the library in its folder and its environment, and what it finds may be another checkout's. Here both are given.
"""

import os
import sys
import tempfile
from pathlib import Path

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

from . import records

HERE = Path(__file__).parents[1]  # the checkout, or where packages are installed
# What a shell may hold that changes figures, or puts words on a page. PYTHONPATH stays, behind this checkout.
SET_ASIDE = (
    *("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR", "IPYTHONDIR"),
    *("PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONUTF8", "PYTHONIOENCODING"),
)
INLINE = "module://matplotlib_inline.backend_inline"
# Run before the first cell, so that matplotlib's words on its fonts come before there is a page to show them on.
STARTUP = "import matplotlib.font_manager\n"


def own(words=None) -> type[AsyncKernelManager]:
    """A manager of kernels of this interpreter, whatever kernels are installed.

    What they say on stderr goes to the file ``words``: one that is told to end is interrupted first, and its
    "KeyboardInterrupt" is no error.
    """

    class Own(AsyncKernelManager):
        @property
        def kernel_spec(self):
            command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, display_name="Python 3", language="python")

        async def start_kernel(self, **options):
            await super().start_kernel(**options, env=environment(), stderr=words)

    return Own


def environment() -> dict[str, str]:
    """The environment of a chapter: the shell's, without what would change the page."""
    kept = {key: value for key, value in os.environ.items() if key not in SET_ASIDE}
    if (HERE / "pyproject.toml").exists():  # never a folder of installed packages: it would come before Python's own
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    place = _folder()
    return kept | {
        "MPLBACKEND": INLINE,
        "MPLCONFIGDIR": str(place / "matplotlib"),
        "IPYTHONDIR": str(place / "ipython"),
        "PYTHONUTF8": "1",
        "TQDM_DISABLE": "1",  # no progress bars among the outputs
    }


def set_aside() -> str:
    """What of the shell's settings a chapter does not see, as in ``MPLBACKEND=agg``; "" if there is none."""
    return ", ".join(f"{name}={os.environ[name]}" for name in SET_ASIDE if os.environ.get(name))


def _folder() -> Path:
    """Where IPython and matplotlib find settings and keep their files, instead of in a home."""
    place = records.ROOT / "_build" / "kernel"
    try:
        _prepare(place)
    except OSError:
        place = Path(tempfile.mkdtemp(prefix="fcdd-kernel-"))
        _prepare(place)
    return place


def _prepare(place: Path) -> None:
    startup = place / "ipython" / "profile_default" / "startup" / "fonts.py"
    for folder in (startup.parent, place / "matplotlib"):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # a folder that is there need not be writable
    if not startup.exists():
        startup.write_text(STARTUP, encoding="utf-8")
