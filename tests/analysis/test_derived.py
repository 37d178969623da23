"""Depth and width of networks as compared keys."""

import math
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.derived import add_derived
from mnist_mlp.base.errors import UserError
from mnist_mlp.report import compare_sweeps
from tests.helpers.runs import Write

NAN = math.nan


@pytest.mark.parametrize(
    ("hidden", "depths", "widths"),
    [
        (["[64]", "[64, 64]"], [1, 2], [64, 64]),
        (["[]", "[128]"], [0, 1], [NAN, 128]),
        (["[64]", "[512, 256]"], [NAN, NAN], [NAN, NAN]),  # neither describes the second network
        (["[64]", None], [NAN, NAN], [NAN, NAN]),
    ],
)
def test_add_derived_needs_layers_of_one_width(hidden: list[str], depths: list[float], widths: list[float]) -> None:
    runs = add_derived(pd.DataFrame({"model.hidden": hidden}))
    pd.testing.assert_series_equal(runs["depth"], pd.Series(depths, dtype=float), check_names=False)
    pd.testing.assert_series_equal(runs["width"], pd.Series(widths, dtype=float), check_names=False)


def test_add_derived_without_hidden_layers_adds_nothing() -> None:
    assert list(add_derived(pd.DataFrame({"model.units": [1]}))) == ["model.units"]


def compared(sweep: Path, by: str) -> Comparison:
    (comparison,) = compare_sweeps([sweep], by=by.split(","))[1].values()
    return comparison


def write(write_run: Write, shapes: list[list[int]]) -> None:
    for init, hidden, seed in product(("he", "lecun"), shapes, range(3)):
        accuracy = 0.9 + len(hidden) / 50 + sum(hidden) / 1e5 + (init == "he") * (1 + seed) / 500
        write_run(init, seed=seed, test=[0.1, accuracy], val=[0.1, accuracy], model={"hidden": hidden})


def test_compare_depth_names_cells_and_axis_by_it(write_run: Write, tmp_path: Path) -> None:
    write(write_run, [[64], [64, 64], [64] * 4])
    comparison = compared(tmp_path / "sweep", "init,depth")
    assert set(comparison.summary["cell"]) == {f"{i} / depth={d}" for i in ("he", "lecun") for d in (1, 2, 4)}
    assert (list(comparison.tuned), list(comparison.varying)) == ([], ["init", "seed", "depth"])
    assert [note.topic for note in comparison.notes if "differ" in note.topic] == []
    assert comparison.effects.table["effect"].tolist() == ["init", "depth", "init × depth"]
    assert "he minus lecun, with depth=1 rather than 4" in comparison.effects.differences["difference"].tolist()
    part = compare_sweeps([tmp_path / "sweep"], by=["init", "depth"], where=["depth=1,4"])[1]
    assert {cell for one in part.values() for cell in one.summary["depth"]} == {1, 4}


def test_compare_depth_with_another_width_warns(write_run: Write, tmp_path: Path) -> None:
    write(write_run, [[64], [128, 128]])
    notes = {note.topic: note.text for note in compared(tmp_path / "sweep", "init,depth").notes}
    assert notes["Cells differ in width too"].startswith(
        "64 in he / depth=1, lecun / depth=1; 128 in he / depth=2, lecun / depth=2; its effect is confounded"
    )


def test_compare_depth_tunes_the_width(write_run: Write, tmp_path: Path) -> None:
    write(write_run, [[32], [64], [32, 32], [64, 64]])
    comparison = compared(tmp_path / "sweep", "init,depth")
    assert list(comparison.tuned) == ["model.hidden"]
    assert {selected.configuration["model.hidden"] for selected in comparison.selected["he / depth=2"]} == {"[64, 64]"}
    both = compared(tmp_path / "sweep", "depth,width")
    assert set(both.summary["cell"]) == {f"depth={d} / width={w}" for d in (1, 2) for w in (32, 64)}
    assert list(both.tuned) == ["init"]


@pytest.mark.parametrize(
    ("shapes", "by", "words"),
    [
        ([[64], [64, 64]], "depth,model.hidden", "--by depth,model.hidden: expected either model.hidden or depth and"),
        ([[64], [64, 64]], "width", "--by width: expected one of init, optim, model.hidden, depth. It must vary"),
        ([[64], [64, 32]], "depth", "--by depth: expected one of init, optim, model.hidden. It must vary"),
    ],
)
def test_compare_derived_that_is_unknown_raises(
    write_run: Write, tmp_path: Path, shapes: list[list[int]], by: str, words: str
) -> None:
    write(write_run, shapes)
    with pytest.raises(UserError) as caught:
        compared(tmp_path / "sweep", by)
    assert str(caught.value).startswith(words)
