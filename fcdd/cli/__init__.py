"""The command line: ``fcdd fit``, ``fcdd score``, ``fcdd data``, ``fcdd study``. Taught in: the page on the library."""

import os
import sys
import traceback
import warnings
from importlib.metadata import entry_points

import typer
from rich.console import Console

from ..errors import verdict
from ..memory import keep_freed
from . import commands, scoring
from .data import app as data_sets

HELP = """Deep one-class classification, from SVDD to FCDD: learns from good images what normal looks like. Begin with:

fcdd fit my_images; fcdd score new_images --heatmaps heatmaps

--debug (or FCDD_DEBUG=1) shows the traceback of an error."""
CODES = "Exit codes: 0 done, 1 the input (a file, a value), 2 the usage, 3 a bug in fcdd."
app = typer.Typer(help=HELP, epilog=CODES, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
complaints = Console(stderr=True)
EXTENSIONS = entry_points(group="fcdd.commands")  # the study's package adds its own commands here
PACKAGES = {"fcdd", *(extension.module.partition(".")[0] for extension in EXTENSIONS)}
for command in (commands.fit, commands.evaluate, scoring.score, commands.export, commands.info):
    app.command()(command)
app.add_typer(data_sets, name="data")
for extension in EXTENSIONS:
    app.add_typer(extension.load(), name=extension.name)


def main() -> None:
    """Runs the command line: what fcdd says about the input is one line, a bug is called a bug; --debug tells where."""
    keep_freed()
    os.environ.setdefault("MPLBACKEND", "agg")  # figures go into files
    sys.stdout.reconfigure(errors="surrogateescape")  # names of files come out as they are, whatever their bytes
    warnings.showwarning = lambda message, *_, **__: commands.say(f"warning: {message}")
    debug = "--debug" in sys.argv or os.environ.get("FCDD_DEBUG", "") not in ("", "0")
    try:
        app([argument for argument in sys.argv[1:] if argument != "--debug"])
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, told = verdict(error, PACKAGES)
        told += "" if debug else " (--debug shows the traceback)"
        complaints.print(told, style="red", markup=False, highlight=False, soft_wrap=True, emoji=False)
        raise SystemExit(code) from error
