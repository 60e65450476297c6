"""The command ``fcdd data``: which data sets there are and where they lie, fetched, verified, or copied to a folder.

Taught in: the page on data.
"""

import gzip
import hashlib
import os
import shutil
import zlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from tqdm import tqdm
from typer.core import TyperGroup

console = Console()
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="data sets; all, if none is named")]


class _Group(TyperGroup):
    """Takes ``fcdd data NAME [--download]``, as it was called until now, for ``list NAME`` or ``fetch NAME``."""

    def parse_args(self, ctx, args):
        name = next((word for word in args if not word.startswith("-")), None)
        if name and name not in self.commands:
            kept = [word for word in args if word not in ("--download", "--no-download")]
            args = ["fetch" if "--download" in args else "list", *kept]
            typer.echo(
                f"fcdd data {name} is now fcdd data {args[0]} {name}; the old way works for one version", err=True
            )
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Group, invoke_without_command=True)


@app.callback()
def main(ctx: typer.Context) -> None:
    """Data sets: what is found where, fetched, verified, or copied to a folder. Without a command they are listed."""
    if ctx.invoked_subcommand is None:
        listing(None)


@app.command("list")
def listing(names: Names = None) -> None:
    """Lists the data sets, how many classes each has, and where it was found."""
    from .. import datasets

    table = Table("data set", "classes", Column("found in", overflow="fold"))
    for name, where in _found(names).items():
        count = len(datasets.REGISTRY[name].classes or ())
        table.add_row(name, str(count or "as found"), escape(where) if where else "[dim]not found[/]")
    (console if console.is_terminal else Console(width=1000)).print(table)  # in a file, a row is a line


@app.command()
def fetch(names: Annotated[list[str], typer.Argument(metavar="NAME...", help="data sets")]) -> None:
    """Fetches data sets into data/cache, checked by their checksums, and says where each lies."""
    for name, where in _found(names, download=True).items():
        _tell(f"{name}: {where}")


@app.command()
def verify(names: Names = None) -> None:
    """Compares the files of the data sets that are found with their checksums. Exit code 1 if one differs."""
    from .. import datasets

    wrong = 0
    for name, where in _found(names).items():
        files = datasets.checksums(name, datasets.locate(name, datasets.REGISTRY[name])) if where else {}
        for file, wanted in files.items():
            wrong += (differs := bool(wanted) and (found := _sha256(file)) != wanted)
            told = f"expected sha256 {wanted}, got {found}" if differs else "whole"
            _tell(f"{name}: {file}: {told if wanted else 'no checksum is known'}")
        if where and not files:
            _tell(f"{name}: {where}: no checksum is known")
    if wrong:
        raise datasets.DataError(f"{wrong} files differ from what they should be; remove them and fetch them again")


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="piped-small or piped")],
    folder: Annotated[Path, typer.Argument(help="where to; it is made if need be")],
    force: Annotated[bool, typer.Option("--force", help="write over files that are there")] = False,
) -> None:
    """Writes a data set as folders of pictures in the layout of MVTec-AD, one a class, with its licence."""
    from .. import datasets

    _found([name])
    entry = datasets.REGISTRY[name]
    if entry.copy is None:
        known = ", ".join(each for each in datasets.names() if datasets.REGISTRY[each].copy)
        raise ValueError(f"expected a data set that can be copied as pictures ({known}), got {name}")
    files = {folder / part: file for part, file in entry.copy(datasets.locate(name, entry)).items()}
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"expected a folder to copy to, {folder} is a file; name another one")
    if (there := [target for target in files if os.path.lexists(target)]) and not force:
        told = f"{len(there)} of {len(files)} files are there already, {there[0]} for one, and none was written"
        raise FileExistsError(f"{told}; name another folder, or write over them with --force")
    for target in there:
        target.unlink()  # of a link, not what it leads to
    for target, file in tqdm(files.items(), desc=f"copying {name}", unit=" files", leave=False, disable=None):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    _tell(f"{len(files)} files in {folder}: {', '.join(entry.classes)}")


def _found(names: list[str] | None, download: bool = False) -> dict[str, str]:
    """Where data sets lie, "" for one that is not found; raises FileNotFoundError if it was named."""
    from .. import datasets

    datasets.places()  # a folder named wrongly in $FCDD_DATA is told before anything is listed as missing
    found = {}
    for name in names or datasets.names():
        try:
            found[name] = datasets.where(name, download=download)
        except FileNotFoundError:
            if names:
                raise
            found[name] = ""
    return found


def _sha256(file: Path) -> str | None:
    """Of what is in a file, unpacked if it ends in .gz; None if it is not there or cannot be unpacked."""
    digest, unpacking = hashlib.sha256(), gzip.open if file.suffix == ".gz" else open
    try:
        with unpacking(file, "rb") as opened, tqdm(desc=file.name, unit="B", unit_scale=True, disable=None) as bar:
            while block := opened.read(1 << 22):
                digest.update(block)
                bar.update(len(block))
    except (OSError, EOFError, zlib.error):
        return None
    return digest.hexdigest()


def _tell(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
