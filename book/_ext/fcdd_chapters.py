"""Chapters are linked wherever prose names them by number: "chapter 05" leads to that chapter."""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

NAMED = re.compile(r"\b[Cc]hapters? (0\d)\b")
TAKEN = (nodes.reference, nodes.title, nodes.literal, nodes.literal_block, addnodes.pending_xref)


class Chapters(SphinxTransform):
    default_priority = 700

    def apply(self):
        named = [name for name in self.env.found_docs if re.match(r"notebooks/0\d_", name)]  # 08b is a page of 08
        known = {Path(name).name[:2]: name for name in named}
        for text in list(self.document.findall(nodes.Text)):
            if not NAMED.search(text) or self._taken(text):
                continue
            parts, place = [], 0
            for found in NAMED.finditer(text):
                target = known.get(found[1])
                if target is None or target == self.env.docname:
                    continue
                parts += [nodes.Text(text[place : found.start()]), self._link(target, found[0])]
                place = found.end()
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(text[place:])])

    def _taken(self, node) -> bool:
        while (node := node.parent) is not None:
            if isinstance(node, TAKEN):
                return True
        return False

    def _link(self, target: str, shown: str) -> nodes.Node:
        return addnodes.pending_xref(
            "", nodes.inline("", shown, classes=["doc"]), refdomain="std", reftype="doc", refexplicit=True,
            refdoc=self.env.docname, reftarget=f"/{target}", refwarn=True,
        )  # fmt: skip


def setup(app):
    app.add_transform(Chapters)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
