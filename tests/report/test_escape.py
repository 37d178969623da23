"""Escaping of hostile names, values, messages and paths in every format."""

import csv
import io
import re

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mnist_mlp.report.text import escape
from tests.helpers.hostile import HOSTILE, inline, rendered, shown

COMMAND = re.compile(r"\\(?:[A-Za-z]+\d*\{\}|[&%$#_{}/])")  # commands that `escape.latex` writes
anything = st.one_of(
    st.sampled_from(HOSTILE), st.text(), st.text("\\`*_{}[]()<>#+-.!|~$&:/@='\"\n\t ,w1x", max_size=12)
)


@given(anything)
@example("\\|")
@example("a_ _b")
@example("\xa0")
@example("\u3000k ")
def test_markdown_in_every_position_shows_literal_text(text: str) -> None:
    safe = escape.markdown(text)
    source = f"# {safe}\n\n{safe}\n\n> **{safe}x:** {safe}\n\n- {safe}\n\n![{safe}](a.png)\n\n"
    source += f"| {safe} | {safe} |\n|---|---|\n| {safe} | x |\n\n{escape.code(text)}\n\n{escape.fenced([text])}\n"
    tokens = rendered(source)
    kinds = [t.type for t in tokens if t.nesting >= 0 and t.type not in ("paragraph_open", "inline")]
    row = ["tr_open", "x", "x"]
    assert kinds == [
        *("heading_open", "blockquote_open", "bullet_list_open", "list_item_open", "table_open", "thead_open"),
        *(kind.replace("x", "th_open") for kind in row),
        "tbody_open",
        *(kind.replace("x", "td_open") for kind in row),
        "fence",
    ]
    texts = [inline(token) for token in tokens if token.type == "inline"]
    one = shown(text)
    expected = [one, one, shown(f"{escape.line(text)}x: {escape.line(text)}"), one, one, one, one, one, "x", one]
    assert [t for t in texts if t] == [t for t in expected if t]
    assert [t.content for t in tokens if t.type == "fence"] == [escape.visible(text) + "\n"]
    assert not re.search(
        r"\w://|www\.|\S@\S", re.sub(r"&#\d+;", " ", re.sub(r"\\.", "", safe)), re.IGNORECASE
    )  # GitHub makes these links


@given(anything, st.floats(allow_nan=False) | st.integers())
def test_csv_has_no_formulas_and_unchanged_numbers(text: str, number: float) -> None:
    source = escape.csv(
        pd.DataFrame({"text": [text], text + "!": [number], "mixed": pd.Series([number], dtype=object)})
    )
    header, row = csv.reader(io.StringIO(source, newline=""))
    for cell, of in ((row[0], text), (header[1], text + "!")):
        assert cell.removeprefix("'") in (
            escape.visible(of),
            escape.visible(of)[1:],
        )  # text that began with an apostrophe
        assert not cell.startswith(tuple("=+-@\t\r\n")) or re.fullmatch(r"[-+\d.eE]+", cell)
    assert [type(number)(cell) for cell in row[1:]] == [number, number]


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=1+1", "'=1+1"), ("\t=1", "'\t=1"), ("-0.5", "-0.5"), ("-x", "'-x"), ("+1e-3", "+1e-3"), ("adam", "adam")],
)
def test_csv_guards_only_text_that_starts_a_formula(text: str, cell: str) -> None:
    assert list(csv.reader(io.StringIO(escape.csv(pd.DataFrame({text: [text]}))))) == [[cell], [cell]]


@given(anything)
@example("×±")
def test_latex_has_no_commands_from_text(text: str) -> None:
    safe = escape.latex(text)
    assert "\n" not in safe
    left = re.sub(r"\\ifdefined\\Uchar [^\x00-\x7f]+\\else (U\+[0-9A-F]{4,6} ?)+\\fi\{\}", "", safe)
    left = COMMAND.sub("", left.replace("$\\pm$", "").replace("$\\times$", ""))
    left = re.sub(r"^\s*\{[\[*]\}", "", left)
    assert not set(left) & set("\\&%$#_{}~^\"'`|<>")
    assert not re.search(r"--|,,|^\s*[\[*]", safe)


@given(anything)
def test_figure_has_no_math_and_line_no_control_characters(text: str) -> None:
    label = escape.figure(text)
    assert label.count("$") == label.count("\\$")  # Matplotlib's own test
    assert len(label.replace("\\$", "$")) <= escape.LONGEST_LABEL
    for safe in (label, escape.line(text)):
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", safe)


def test_slugs_are_distinct_and_plain() -> None:
    made = escape.slugs(["a b", "a_b", "A-B", "\u4e2d\u6587", "../../etc", "", "n" * 300])
    assert made == ["a_b", "a_b_2", "A_B_3", "data", "etc", "data_2", "n" * 60]


FAR = "x" * 40


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["[64, 64]", "[64]", "[]", "he / [64, 64, 64]"], ["2 × 64", "[64]", "[]", "he / 3 × 64"]),
        (["[512, 512, 256, 128, 128]"], ["[2 × 512, 256, 2 × 128]"]),
        (["[64, 64]", "2 × 64"], ["[64, 64]", "2 × 64"]),  # an option of that name
        (["[0.5, 0.75]", "[[1, 1], [1, 1]]"], ["[0.5, 0.75]", "[2 × 1, 2 × 1]"]),
        ([f"a{FAR}b"], [f"a{'x' * 24}…{'x' * 13}b"]),
        ([f"{FAR}a{FAR}", f"{FAR}b{FAR}"], [f"{FAR}{c}xxxx…{'x' * 14}" for c in "ab"]),
        ([f"{FAR}a{FAR}", f"{FAR}b{FAR}", f"y{FAR}"], None),
        ([f"{FAR}{n}" for n in range(200)], None),
        ([f"[{', '.join(['64'] * n)}]" for n in (2, 4, 8, 30)], ["2 × 64", "4 × 64", "8 × 64", "30 × 64"]),
        ([f"{'x' * 25}…{'x' * 14}", FAR * 2], None),  # one equals the other's shortened form
    ],
)
def test_labels_of_different_texts_differ(texts: list[str], labels: list[str] | None) -> None:
    found = escape.labels(texts)
    assert found == (labels or found)
    assert len({*found}) == len(texts)
    assert escape.labels([texts[0]] * 2) == [escape.figure(texts[0])] * 2
