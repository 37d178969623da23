"""Reports on a part of a sweep: conditions, their errors, and what stays of the comparison."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from mnist_mlp.analysis.load import Results
from mnist_mlp.analysis.where import keep, parse
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.sweep_file import CONFIRM, SEARCH
from mnist_mlp.report import compare_sweeps
from tests.helpers.runs import Write

BY = ["init", "optim", "model.hidden"]
HIDDEN = ([64], [64, 64])


@pytest.fixture
def sweep(write_run: Write, tmp_path: Path) -> Path:
    """Three keys, three seeds, and a tuned learning rate."""
    for init in ("he", "lecun"):
        for optim in ("adam", "sgd"):
            for hidden in HIDDEN:
                for seed in range(3):
                    for rate in (0.001, 0.1):
                        accuracy = 0.9 + (init == "he") / 50 + seed / 1000 + rate / 10 + len(hidden) * seed / 3000
                        model = {"hidden": hidden}
                        write_run(init, optim, seed, test=[0.1, accuracy], lr=rate, model=model)
    return tmp_path / "sweep"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], {}),
        (["optim=adam,sgd"], {"optim": ["adam", "sgd"]}),
        (["model.hidden=[64],[64, 64]", "epochs=1"], {"model.hidden": ["[64]", "[64, 64]"], "epochs": ["1"]}),
        (["model.name='a,b',\"c]\""], {"model.name": ["'a,b'", '"c]"']}),
        (["init.x={a:1,b:2}"], {"init.x": ["{a:1,b:2}"]}),
    ],
)
def test_parse_where_splits_values_at_outer_commas(conditions: Sequence[str], expected: dict[str, list[str]]) -> None:
    assert parse(conditions) == expected


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (["optim"], "--where optim: expected KEY=VALUE[,VALUE...], such as optim=adam,sgd"),
        (["=adam"], "--where =adam: expected KEY=VALUE"),
        (["optim=adam,"], "--where optim=adam,: expected KEY=VALUE"),
        (["optim=adam", "optim=sgd"], "--where optim=sgd: optim is given twice. Separate its values by commas."),
        (["optim=adamx"], "--where optim=adamx: expected one of adam, sgd"),
        (["model.hidden=[32]"], "--where model.hidden=[32]: expected one of [64], [64, 64]"),
        (["optim.lr=0.1"], "--where optim.lr=0.1: expected a compared key or an evaluation condition, such as init"),
        (["seed=0"], "--where seed=0: expected a compared key or an evaluation condition"),
        (["colour=red"], "--where colour=red: expected a compared key or an evaluation condition"),
    ],
)
def test_compare_sweeps_invalid_where_raises(sweep: Path, conditions: Sequence[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        compare_sweeps([sweep], by=BY, where=conditions)
    assert str(caught.value).startswith(words)


def test_compare_sweeps_where_nothing_is_left_raises(sweep: Path, write_run: Write) -> None:
    write_run("orthogonal", "radam", 0, test=[0.1, 0.9])
    with pytest.raises(UserError, match=r"^--where init=orthogonal --where optim=sgd: no run has all of these values$"):
        compare_sweeps([sweep], by=["init", "optim"], where=["init=orthogonal", "optim=sgd"])


def test_compare_sweeps_where_reports_as_if_other_cells_had_not_run(sweep: Path, tmp_path: Path) -> None:
    ((_, part),) = compare_sweeps([sweep], by=BY, where=["optim=adam", "model.hidden=[64],[64,64]"])[1].items()
    assert set(part.summary["optim"]) == {"adam"}
    assert len(part.summary) == 4
    assert part.tuned == ["optim.lr"]
    (note,) = [note for note in part.notes if note.topic == "Part of a sweep"]
    assert note.text.startswith("only optim=adam and model.hidden=[64],[64,64], chosen after the sweep was run. P-val")
    for run in sweep.iterdir():
        if "sgd" in run.name:
            run.rename(tmp_path / run.name)
    ((_, alone),) = compare_sweeps([sweep], by=BY)[1].items()
    pd.testing.assert_frame_equal(part.pairs, alone.pairs)
    pd.testing.assert_frame_equal(part.effects.table, alone.effects.table)


def test_compare_sweeps_where_condition_keeps_one_section(write_run: Write, tmp_path: Path) -> None:
    for epochs in (1, 2):
        write_run(test=[0.1, *[0.9] * epochs])
    sections = compare_sweeps([tmp_path / "sweep"], where=["epochs=2.0"])[1]
    ((_, section),) = sections.items()
    assert section.runs["epochs"].tolist() == [2]
    assert section.notes[0].text.startswith("only epochs=2.0, chosen after the sweep was run.")


def test_keep_drops_searches_whose_confirming_runs_are_excluded() -> None:
    runs = pd.DataFrame(
        {
            "init": "he",
            "data": ["mnist"] * 2 + ["digits"],
            "phase": [SEARCH, CONFIRM, None],
            "chosen_in": ["sweep", "sweep", None],
            "epochs": [1, 2, 2],
        },
        index=["search", "confirm", "other"],
    )
    results = Results(runs, pd.DataFrame({"run": []}), [])
    for where, kept in (
        ({"data": ["mnist"]}, ["search", "confirm"]),
        ({"epochs": ["2"], "data": ["mnist"]}, ["search", "confirm"]),
        ({"data": ["digits"]}, ["other"]),
    ):
        assert keep(results, where, ["init"]).runs.index.tolist() == kept
    with pytest.raises(UserError, match="--where epochs=1: expected one of 2"):  # no result, only the search has it
        keep(results, {"epochs": ["1"]}, ["init"])
