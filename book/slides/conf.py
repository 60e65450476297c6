"""How the slides are rendered: decks and pictures, put beside this file by fcdd_study.slides, become a page each."""

import os
import sys
from pathlib import Path

import yaml

ROOT = Path(os.environ["FCDD_ROOT"])
sys.path.insert(0, str(ROOT / "book" / "_ext"))
BOOK = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))

project, language = BOOK["title"], "en"
extensions = ["myst_parser", "sphinx.ext.mathjax", "sphinx_exercise", "sphinx_revealjs"]
extensions += ["fcdd_numbers", "fcdd_quiz", "fcdd_course"]
myst_enable_extensions = BOOK["parse"]["myst_enable_extensions"]
suppress_warnings = ["myst.header"]  # a deck begins each slide with the same level

mathjax_path = BOOK["sphinx"]["config"]["mathjax_path"]
mathjax3_config = BOOK["sphinx"]["config"]["mathjax3_config"]
revealjs_static_path = [str(ROOT / "book" / "_static"), "static"]
revealjs_css_files = ["course.css", "slides.css"]
revealjs_style_theme = "white"
revealjs_script_plugins = [{"name": "RevealNotes", "src": "revealjs/plugin/notes/notes.js"}]
revealjs_script_conf = {"width": 1280, "height": 720, "margin": 0.03, "center": False}
revealjs_script_conf |= {"hash": True, "slideNumber": "c/t", "transition": "none"}
