"""Figures as SVG: files for papers, and inline drawings that the styles and the script of the page can change."""

import colorsys
import io
import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mnist_mlp.report.figures.style import GRID, SHADE
from mnist_mlp.report.text import escape

# Reproducible ids, so that equal numbers give equal bytes; text remains text.
# Journals refuse fonts of type 3, which is Matplotlib's default in PDF and EPS.
SETTINGS: Any = {"svg.hashsalt": "mnist_mlp", "svg.fonttype": "none", "pdf.fonttype": 42, "ps.fonttype": 42}
FONTS = "DejaVu Sans, Verdana, Geneva, sans-serif"  # about as wide as DejaVu Sans, which the layout assumes
KEY, FIXED = "key", "fixed"  # groups: legend (the page has its own), elements with a fixed color
THEME = {"#000000": "currentColor", "#ffffff": "var(--back)", SHADE: "var(--shade)", GRID: "var(--grid)"}
LIGHT = 0.68  # minimum lightness of a color on a dark page
SMALLEST = 0.85  # minimum scale of a drawing; narrower pages scroll it
CLOSEST = 2  # minimum distance in points between two values of a line with tooltips
HREF = "{http://www.w3.org/1999/xlink}href"
_GEOMETRY = ("d", "x", "y", "width", "height", "transform", "viewBox")
ET.register_namespace("", "http://www.w3.org/2000/svg")
ET.register_namespace("xlink", HREF[1:].partition("}")[0])


class Series(Line2D):
    """Line or markers of a cell, with a tooltip for each point on the page."""

    def __init__(self, cell: str, words: Iterable[str], x: Iterable[float], y: Iterable[float], **style: Any) -> None:
        super().__init__(list(x), list(y), **style)
        self.cell, self.words = cell, list(words)


def parse(figure: Figure, name: str) -> ET.Element:
    """Render a figure as SVG with rounded coordinates, classes for groups, and ids that begin with a unique name."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ET.fromstring(buffer.getvalue())
    root.set("font-family", FONTS)
    ids: dict[str, str] = {}
    for element in root.iter():
        for key, value in element.items():
            if key in _GEOMETRY:
                rounded = " ".join(re.sub(r"-?\d+\.\d+", _one_decimal, value).split())
                # Coordinates after a move command are lines by default.
                element.set(key, rounded if re.search("[CQ]", rounded) else rounded.replace(" L ", " "))
            elif key == "style":
                own = re.sub("font-family: [^;]*(; |$)", "", value)
                element.set(key, own.replace(": ", ":").replace("; ", ";"))
            elif used := re.search(r"#([\w-]+)", value) if key in (HREF, "clip-path") else None:
                element.set(key, value.replace(used[1], ids.setdefault(used[1], f"{name}-{len(ids)}")))
    for element in root.iter():
        if (own := element.attrib.pop("id", "")) in ids:
            element.set("id", ids[own])
        elif re.fullmatch(rf"label\d+|{KEY}|{FIXED}", own):
            element.set("class", own)
    _compact(root)
    return root


def _one_decimal(match: re.Match[str]) -> str:
    return f"{round(float(match[0]), 1) + 0.0:g}"


def _compact(element: ET.Element) -> None:
    """Unwrap groups without attributes, remove empty paths, and join adjacent lines of the same style."""
    children: list[ET.Element] = []
    for child in element:
        _compact(child)
        if child.tag.endswith("}path") and "d" not in child.attrib:  # such as an interval that is not a number
            continue
        is_line = "d" in child.attrib and "fill:none" in child.get("style", "")
        if not child.attrib and child.tag.endswith("}g"):
            children += child
        elif is_line and children and {**child.attrib, "d": ""} == {**children[-1].attrib, "d": ""}:
            children[-1].attrib["d"] += f" {child.attrib['d']}"
        else:
            children.append(child)
    element[:] = children
    if children:
        element.text = None
    element.tail = "\n"


def as_file(root: ET.Element) -> str:
    """Return the text of an SVG file."""
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}'


def as_inline(root: ET.Element, figure: Figure, alt: str) -> Markup:
    """Return a rendered figure as an inline drawing: without its legend, in the colors of the page's scheme.

    Args:
        root: Result of `parse`, which is changed.
        figure: Figure that was rendered.
        alt: Text alternative.
    """
    fixed = {part for group in root.iter() if group.get("class") == FIXED for part in group.iter()}
    for element in root.iter():
        if "style" in element.attrib and element not in fixed:
            element.set("style", re.sub("#[0-9a-f]{6}", lambda m: themed(m[0]), element.attrib["style"]))
    width, height = figure.get_size_inches() * 72
    scale = 72 / figure.dpi
    keys = [legend for legend in figure.legends if legend.get_gid() == KEY]
    top = max((height - legend.get_window_extent().y0 * scale for legend in keys), default=0)
    root.attrib |= {
        "viewBox": f"0 {top:.1f} {width:.1f} {height - top:.1f}",
        "height": f"{height - top:.1f}pt",
        "style": f"min-width:{SMALLEST * width:.0f}pt",
        "role": "img",
        "aria-label": escape.visible(alt),
        "data-series": json.dumps([_points(line, height, scale) for line in figure.findobj(Series)]),
    }
    return Markup(ET.tostring(root, encoding="unicode"))


def themed(color: str) -> str:
    """Return a CSS color for both schemes, lighter on a dark page."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    lighter = to_hex(colorsys.hls_to_rgb(hue, max(lightness, LIGHT), saturation))
    return THEME.get(color, f"light-dark({color},{lighter})")


def _points(line: Any, height: float, scale: float) -> tuple[str, str, list[tuple[float, float, str]]]:
    """Return name and group of a cell, and its points as (x, y, tooltip) in coordinates of the drawing."""
    points: list[tuple[float, float, str]] = []
    for (x, y), words in zip(line.axes.transData.transform(line.get_xydata()) * scale, line.words, strict=True):
        place = round(x, 1), round(height - y, 1)
        if math.isfinite(x + y) and not (points and math.dist(points[-1][:2], place) < CLOSEST):
            points.append((*place, words))
    return escape.visible(line.cell), line.get_gid(), points
