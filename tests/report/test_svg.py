"""Figures as SVG: text, reproducible bytes, file size, tooltips and colors of both schemes."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mnist_mlp.report.figures import panels, svg
from mnist_mlp.report.figures.style import INITS, OPTIMIZERS, Appearance, appearance

EVIL = '<img src=x onerror="alert(1)">&'


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with mpl.rc_context(svg.SETTINGS):
        yield


def curves(inits: Sequence[str], optims: Sequence[str], epochs: int) -> tuple[pd.DataFrame, Appearance]:
    """Curves of the training loss with intervals."""
    cells = pd.DataFrame([(i, o, f"{i} / {o}") for o in optims for i in inits], columns=["init", "optim", "cell"])
    table = cells[["cell"]].merge(pd.DataFrame({"epoch": range(epochs + 1)}), how="cross").assign(split="train")
    noise = np.random.default_rng(0).uniform(0.9, 1.1, len(table))
    loss = np.exp(-table["epoch"] / 3) * noise + 0.01
    return table.assign(loss_mean=loss, loss_ci_low=loss * 0.8, loss_ci_high=loss * 1.2), appearance(
        cells, ["init", "optim"]
    )


def drawn(inits: Sequence[str], optims: Sequence[str], epochs: int = 1) -> Figure:
    return panels.learning_curves(*curves(inits, optims, epochs), [("train", "loss")])


def inline(figure: Figure, alt: str = "Loss.") -> ET.Element:
    return ET.fromstring(svg.as_inline(svg.parse(figure, "a"), figure, alt))


def test_parse_of_equal_figures_returns_equal_bytes_and_own_ids() -> None:
    first, second = (svg.as_file(svg.parse(drawn(INITS[:2], ["sgd", EVIL]), "a")) for _ in range(2))
    assert first == second
    ids = set(re.findall(r' id="([^"]*)"', first))
    assert ids == {used for used in re.findall(r"[(\"]#([\w-]+)", first) if not re.fullmatch("[0-9a-f]{6}", used)}
    assert all(name.startswith("a-") for name in ids)
    assert not re.search(r"\d\.\d{2}", re.sub(r'style="[^"]*"', "", first))


def test_parse_keeps_text_with_a_font_that_every_system_has() -> None:
    root = svg.parse(drawn(["he"], ["sgd", EVIL]), "a")
    texts = [element for element in root.iter() if element.tag.endswith("}text")]
    assert {"sgd", EVIL, "Epoch", "Training loss (nats)"} <= {element.text for element in texts}
    assert root.attrib["font-family"].endswith(", sans-serif")
    assert not any("font-family" in element.get("style", "") for element in texts)


def test_parse_joins_equal_lines_and_leaves_equal_markers() -> None:
    figure = Figure()
    ax = figure.subplots()
    for _ in range(2):
        ax.plot([0, 1], [0, 1], color="#112233")
        ax.plot([0.5], [0.5], "x", color="#112233")
        ax.plot([0.5, 0.5], [0.5, 0.5], "o", color="#112233", markerfacecolor="none", clip_on=False)
    text = svg.as_file(svg.parse(figure, "a"))
    assert len(re.findall("<use [^>]*#112233", text)) == 6
    figure = Figure()
    figure.subplots().vlines([0, 1, 2], 0, 1, color="#112233")
    assert len(re.findall("<path [^>]*#112233", svg.as_file(svg.parse(figure, "a")))) == 1


def test_svg_of_24_cells_is_small() -> None:
    figure = drawn(INITS[:3], OPTIMIZERS, 10)
    root = svg.parse(figure, "a")
    block = len(svg.as_file(root))
    assert 2 * block < 150_000  # learning curves have two blocks
    assert len(svg.as_inline(root, figure, "Loss.")) < 150_000


def test_inline_drawing_of_long_curve_has_distinguishable_points() -> None:
    (_, _, points), *_ = json.loads(inline(drawn(INITS[:2], ["sgd", "adam"], 2000)).attrib["data-series"])
    assert 20 < len(points) < 800
    assert points[0][2].startswith("epoch 0: ")


def test_inline_drawing_escapes_text_and_names_cells() -> None:
    root = inline(drawn(["he"], ["sgd", EVIL]), EVIL)
    assert root.attrib["aria-label"] == EVIL
    assert {cell for cell, _, _ in json.loads(root.attrib["data-series"])} == {"he / sgd", f"he / {EVIL}"}
    assert not [element for element in root.iter() if element.tag.endswith("}img")]


def test_inline_drawing_has_points_where_the_lines_are() -> None:
    figure = drawn(INITS[:2], ["sgd", "adam"])
    root = inline(figure)
    (_, group, points), *_ = json.loads(root.attrib["data-series"])
    paths = [
        path.attrib["d"] for part in root.iter() if part.get("class") == group for path in part if "d" in path.attrib
    ]
    assert f"M {points[0][0]:g} {points[0][1]:g} {points[1][0]:g} {points[1][1]:g}" in paths


@pytest.mark.parametrize(
    ("color", "expected"),
    [
        ("#000000", "currentColor"),
        ("#ffffff", "var(--back)"),
        ("#332288", "light-dark(#332288,#8d7cde)"),
        ("#ddcc77", "light-dark(#ddcc77,#dece7c)"),
    ],
)
def test_themed_color_is_light_enough_on_a_dark_page(color: str, expected: str) -> None:
    assert svg.themed(color) == expected


def test_inline_drawing_leaves_fixed_colors() -> None:
    summary = pd.DataFrame({"init": ["he", "he", "lecun"], "optim": ["sgd", "adam", "sgd"]})
    summary["score"] = summary["test_accuracy_mean"] = [0.8, 0.9, 0.7]
    root = inline(panels.heatmap(summary, ["init", "optim"]))
    fixed = {part for group in root.iter() if group.get("class") == "fixed" for part in group}
    inks = {part.text: "fill:#ffffff" in part.get("style", "") for part in fixed}
    assert inks == {"70.00": False, "80.00": False, "90.00": True}
    texts = {part.text for part in root.iter() if part.tag.endswith("}text")} - inks.keys()
    assert "none" in texts  # an empty combination, on the page's background
    assert not any("#" in part.get("style", "") for part in root.iter() if part not in fixed)
