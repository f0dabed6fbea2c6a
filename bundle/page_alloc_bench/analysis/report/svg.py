# SPDX-License-Identifier: GPL-2.0-only
"""From a matplotlib figure to an SVG that can stand inside a page, or alone in a file."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET  # of what matplotlib has written, not of what anybody sent

import matplotlib as mpl
from matplotlib.figure import Figure

from .palette import MARKS

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_DECIMALS = re.compile(r"(-?\d+\.\d{2})\d+")
_FONT = re.compile(r"font: ([^;]*?)px [^;]*")


def render(figure: Figure) -> bytes:
    """Return the SVG that matplotlib writes: text as text, the same bytes each time."""
    stream = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "page-alloc-bench"}):
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    return stream.getvalue()


def inline(figure: Figure, name: str, title: str, description: str) -> str:
    """Return a figure drawn in MARKS as an <svg> element whose colours the page decides.

    name: what its ids begin with, to be unique in the page. title, description: for those who do
    not see it.
    """
    root = ET.fromstring(render(figure))  # noqa: S314 (see above)
    for unused in ("metadata", "defs/style"):
        _remove(root, unused)
    _rename(root, name)
    for element in root.iter():
        _restyle(element)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    _describe(root, name, title, description)
    ET.register_namespace("", "http://www.w3.org/2000/svg")
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    text = ET.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text)


def _remove(root: ET.Element, path: str) -> None:
    """Remove the elements at path, wherever their parents are."""
    name = path.rpartition("/")[2]
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] == name:
                parent.remove(child)


def _rename(root: ET.Element, name: str) -> None:
    """Give ids that are referred to a prefix, and take all others away."""
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key in ("href", _XLINK) and value.startswith("#"):
                used.add(value[1:])
            used.update(_REFERENCE.findall(value))
    short = {old: f"{name}-{number}" for number, old in enumerate(sorted(used))}
    for element in root.iter():
        if "id" in element.attrib:
            old = element.attrib.pop("id")
            if old in short:
                element.set("id", short[old])
        for key, value in list(element.attrib.items()):
            if key in ("href", _XLINK) and value.startswith("#"):
                element.set(key, "#" + short[value[1:]])
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(lambda m: f"url(#{short[m[1]]})", value))


def _restyle(element: ET.Element) -> None:
    """Make colours variables of the page, fonts the page's, and numbers as exact as can be seen."""
    for key, value in list(element.attrib.items()):
        if key in ("d", "points", "x", "y", "transform", "width", "height"):
            element.set(key, _DECIMALS.sub(r"\1", value))
        elif key == "style":
            element.set(key, _style(value))
        elif key in ("fill", "stroke") and value.startswith("#"):
            del element.attrib[key]
            element.set("style", f"{element.get('style', '')}; {key}: {_style(value)}".strip("; "))


def _style(text: str) -> str:
    for name, mark in MARKS.items().items():
        text = text.replace(mark, f"var(--{name})")
    return _FONT.sub(r"font-size: \1px", _DECIMALS.sub(r"\1", text))


def _describe(root: ET.Element, name: str, title: str, description: str) -> None:
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(_SVG + tag, {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(position, element)
