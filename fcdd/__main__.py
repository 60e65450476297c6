"""``python -m fcdd``: the command line."""

from .cli import main

main()
