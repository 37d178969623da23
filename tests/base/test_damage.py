"""Damaged files: each run is read or reported as a problem, and the report covers the others."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_mlp.analysis.load import Results, load
from mnist_mlp.base.choices import CHOICES_FILE, Candidate, Selection, read_choices, write_choices
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interim import LOOKS_FILE, InterimRecord, SequentialPlan, SequentialRecord, read_looks, write_looks
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.record import METRICS_FILE, RUN_FILE
from mnist_mlp.base.sweep_file import (
    CONFIRM,
    SEARCH,
    SEQUENTIAL,
    SWEEP_FILE,
    Command,
    SweepRecord,
    read_sweep,
    write_sweep,
)
from mnist_mlp.report import compare_sweeps
from mnist_mlp.report.write import sweep_commands
from tests.helpers.runs import Write, run_writer

FACTS = {"train": 100, "val": 10, "test": 100, "inputs": 4, "classes": 10, "commonest_test_share": 0.1}
OPTIMIZERS, SEEDS, FRESH = ("adam", "sgd"), (0, 1), 1_000_000


def nested(levels: int, key: str | None = None) -> str:
    return ("[" if key is None else f'{{"{key}":') * levels + "1" + ("]" if key is None else "}") * levels


# JSON values that are invalid at most places of the files.
VALUES = [
    *("null", "true", "false", "0", "1", "-1", "0.5", "1.5", "1000000", "NaN", "Infinity", "-Infinity", "1e400"),
    *(str(2**63), str(-(2**63) - 1), "1" + "0" * 400, "9" * 5000, "1e308", "5e-324"),
    *('""', '"1"', '"nan"', '"he"', '"search"', '"all"', '"\\ud800"', '"\\u0000"', '"a\\nb"', f'"{"x" * 3000}"'),
    *('"../r0"', '"/"', '"9999-12-31T23:59:59-23:59"', "[]", "[1]", "[[]]", '["\\ud800"]', "[null]", f"[{2**70}]"),
    *("{}", '{"a":1}', '{"":{"":1}}', '{"\\ud800":[1]}', nested(30), nested(500), nested(40, "a"), nested(3000, "a")),
]
KEYS = [
    *("run", "status", "seconds", "replicate", "phase", "streams", "cell", "identity", "init", "optim", "seeds", ""),
    *("environment", "a.b", "optim.lr", "\ud800", "\0", "x" * 3000, "0", "01", "9" * 5000, "all", "val", "config"),
]
CELLS = [
    *("9" * 19, "9" * 5000, "-1", "0", "1e400", "nan", "inf", "", "test", "x", "1_0", " 1", "1.5", '"a\nb"', "\ud800"),
    *("\0", "a,b"),
]
PIECES = [b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\xe2\x80\xa8", b"[" * 3000, b'{"a":' * 3000, b"9" * 400]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweep with all kinds of files: a search, its confirmation, and an interim analysis."""
    top = tmp_path_factory.mktemp("damage")
    write, choices, confirmed = run_writer(top), dict[str, dict[str, Selection]](), list[str]()
    for optim in OPTIMIZERS:
        for seed in SEEDS:
            candidates = [written(write, optim, seed, lr) for lr in (0.1, 0.01)]
            confirmed.append(written(write, optim, FRESH + seed, 0.1).jobs[0])
            choices.setdefault(f"he / {optim}", {})[str(seed)] = Selection(
                configuration={"optim.lr": 0.1}, candidates=candidates, confirmed={FRESH + seed: confirmed[-1]}
            )
    searched = [job for of_cell in choices.values() for selection in of_cell.values() for job in selection.searched]
    write_choices(top / "sweep", choices)
    look = InterimRecord(seeds=SEEDS, level=0.02, cells=list(choices), best="he / sgd", left={})
    plan = SequentialPlan(margin=0.01, max_seeds=8, batch=2)
    write_looks(top / "sweep", SequentialRecord(plan=plan, given=SEEDS, jobs=confirmed, looks=[look]))
    record = SweepRecord(
        compare=["init", "optim"],
        tuned=["optim.lr"],
        replicates={"seed": SEEDS},
        select="each",
        margin=0.01,
        phases={SEARCH: searched, CONFIRM: confirmed, SEQUENTIAL: []},
        commands=[Command(command="python run.py -m", jobs=searched)],
    )
    write_sweep(top / "sweep", record)
    (top / "sweep/multirun.yaml").write_text("hydra: {overrides: {task: [], hydra: []}}\n")
    results = load([top / "sweep"])
    assert (results.problems, len(results.runs), results.unfinished) == ([], 12, {})
    return top / "sweep"


def written(write: Write, optim: str, seed: int, lr: float) -> Candidate:
    """Write a run, and return a candidate that it evaluates."""
    accuracy = 0.5 + lr + 0.01 * (seed % 2) + 0.02 * (optim == "sgd")
    groups = {"model": {"_target_": "mlp", "hidden": [8]}, "schedule": {"warmup": 0.0}, "seeds": {"weights": None}}
    environment = {"package": "0.5.0", "dirty": False, "device": "cpu"}
    run = write(
        optim=optim, seed=seed, lr=lr, test=[0.1, accuracy], environment=environment, data_facts=FACTS, **groups
    )
    (run / ".hydra/config.yaml").write_text("a: 1\n")
    (run / "steps.csv").write_text("step,epoch,loss,lr\n1,1,0.5,0.1\n")
    return Candidate(configuration={"optim.lr": lr}, accuracy=0.9 * accuracy, loss=1 - 0.9 * accuracy, jobs=[run.name])


def places(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


MARK = "\ue000 here"  # placeholder of a value that `json` cannot write


def damaged_json(data: st.DataObject, text: str) -> str:
    """Replace, delete, rename, repeat or insert a value of a JSON file."""
    tree: Any = json.loads(text)
    path: list[Any] = list(data.draw(st.sampled_from([path for path in places(tree) if path])))
    *parents, key = path
    node: Any = tree
    for parent in parents:
        node = node[parent]
    how = data.draw(st.sampled_from(["replace", "replace", "delete", "rename", "insert", "repeat"]))
    if how == "replace":
        node[key] = MARK
    elif how == "delete":
        del node[key]
    elif isinstance(node, list):
        node.insert(0, MARK if how == "insert" else node[key])
    elif how == "rename":
        node[data.draw(st.sampled_from(KEYS))] = node.pop(key)
    elif how == "insert":
        node[data.draw(st.sampled_from(KEYS))] = MARK
    found = json.dumps(tree)
    if how == "repeat" and isinstance(node, dict):
        found = found.replace(f"{json.dumps(key)}:", f"{json.dumps(key)}: {json.dumps(MARK)}, {json.dumps(key)}:", 1)
    return found.replace(json.dumps(MARK), data.draw(st.sampled_from(VALUES)))


def damaged_csv(data: st.DataObject, text: str) -> str:
    """Replace a cell of a CSV file, or repeat, delete, shorten or lengthen a row."""
    rows = [line.split(",") for line in text.splitlines()]
    number = data.draw(st.integers(0, len(rows) - 1))
    how = data.draw(st.sampled_from(["replace", "replace", "replace", "repeat", "delete", "shorten", "lengthen"]))
    if how == "replace":
        rows[number][data.draw(st.integers(0, len(rows[number]) - 1))] = data.draw(st.sampled_from(CELLS))
    elif how == "repeat":
        rows.insert(0, rows[number])
    elif how == "delete":
        del rows[number]
    elif how == "shorten":
        rows[number].pop()
    else:
        rows[number].append("1")
    return "".join(f"{','.join(row)}\n" for row in rows)


def damaged_bytes(data: st.DataObject, content: bytes) -> bytes:
    """Truncate a file, or insert bytes."""
    place = data.draw(st.integers(0, len(content)))
    piece = data.draw(st.sampled_from(PIECES))
    return content[:place] + piece + (content[place:] if data.draw(st.booleans()) else b"")


def damage(data: st.DataObject, file: Path, content: bytes) -> None:
    if data.draw(st.integers(0, 4)) == 0 or file.suffix == ".yaml":
        file.write_bytes(damaged_bytes(data, content))
    else:
        change = damaged_json if file.suffix == ".json" else damaged_csv
        file.write_bytes(change(data, content.decode()).encode("utf-8", "surrogatepass"))


def check_accounted(results: Results, sweep: Path) -> None:
    """Check that each run was either read or reported as a problem, once."""
    runs = sorted(str(path) for path in sweep.iterdir() if path.is_dir())
    named = [problem.run for problem in results.problems if problem.run != str(sweep)]
    assert sorted([*results.runs.index, *named]) == runs
    assert {*results.metrics["run"]} <= {*results.runs.index}


def examine(data: st.DataObject, sweep: Path, analyze: bool) -> None:
    names = data.draw(st.sampled_from([RUN_FILE, METRICS_FILE, "steps.csv", "config.yaml", None]))
    paths = sorted(sweep.rglob(names) if names else (path for path in sweep.iterdir() if path.is_file()))
    file = data.draw(st.sampled_from(paths))
    content = file.read_bytes()
    try:
        damage(data, file, content)
        check_accounted(load([sweep]), sweep)
        if analyze:
            with suppress(UserError):
                compare_sweeps([sweep], target=0.5)
    finally:
        file.write_bytes(content)


@settings(deadline=None, max_examples=25, derandomize=True, database=None)
@given(st.data())
def test_load_damaged_file_is_read_or_named(sweep: Path, data: st.DataObject) -> None:
    examine(data, sweep, analyze=False)


@settings(deadline=None, max_examples=2, derandomize=True, database=None)
@given(st.data())
def test_compared_damaged_file_leaves_a_report(sweep: Path, data: st.DataObject) -> None:
    examine(data, sweep, analyze=True)


FOUND: list[tuple[str, str, str]] = [
    (RUN_FILE, '"config": {', '"config": {"run": "x", '),
    (RUN_FILE, '"config": {', '"config": {"replicate": 1, '),
    (RUN_FILE, '"config": {', '"config": {"environment": {"a": 1}, '),
    (RUN_FILE, '"optim": {', '"optim": 1, "_": {'),
    (RUN_FILE, '"seed": 0', '"seed": -1'),
    (RUN_FILE, '"seed": 0', '"seed": {}'),
    (RUN_FILE, '"epochs": 1', '"epochs": true'),
    (RUN_FILE, '"lr": 0.1', '"lr": Infinity'),
    (RUN_FILE, '"lr": 0.1', f'"lr": {nested(200, "a")}'),
    (RUN_FILE, '"classes": 10', '"classes": "ten"'),
    (RUN_FILE, '"classes": 10', '"classes": -10'),
    (RUN_FILE, '"seconds": 2.0', '"seconds": NaN'),
    (RUN_FILE, '"seconds": 2.0', '"seconds": 2.0, "parameters": []'),
    (METRICS_FILE, "1,10,train", f"1,{2**63},train"),
    (METRICS_FILE, "1,10,train", "1,-1,train"),
    (METRICS_FILE, "0.1,0.0", "-0.1,0.0"),
    (METRICS_FILE, "0,0,train", "00,0,train,,"),
]


@pytest.mark.parametrize(("name", "before", "after"), FOUND)
def test_load_damaged_run_is_named(sweep: Path, name: str, before: str, after: str) -> None:
    file = next(path for path in sorted(sweep.rglob(name)) if before in path.read_text())
    content = file.read_text()
    try:
        file.write_text(content.replace(before, after, 1))
        results = load([sweep])
    finally:
        file.write_text(content)
    check_accounted(results, sweep)
    assert [problem.run for problem in results.problems] == [str(file.parent)]


def test_load_large_seed_and_step_succeeds(sweep: Path) -> None:
    """Seeds are unbounded, and steps may go up to 2**63 - 1."""
    run = next(path for path in sorted(sweep.iterdir()) if path.is_dir())
    changes = [(RUN_FILE, '"seed": 0', f'"seed": {2**100}'), (METRICS_FILE, "1,10,train", f"1,{2**63 - 1},train")]
    before = {name: (run / name).read_text() for name, _, _ in changes}
    try:
        for name, old, new in changes:
            assert old in before[name]
            (run / name).write_text(before[name].replace(old, new))
        results, _ = compare_sweeps([sweep], target=0.5)
    finally:
        for name, content in before.items():
            (run / name).write_text(content)
    assert results.problems == []
    assert results.runs.loc[str(run), "seed"] == 2**100
    assert results.metrics["step"].max() == 2**63 - 1


def test_load_diverged_run_with_nan_loss_and_infinite_rate_succeeds(write_run: Write, tmp_path: Path) -> None:
    run = write_run(status="diverged", reason="the loss is nan", test=[0.1, 0.5])
    header, first, *rows = (run / METRICS_FILE).read_text().splitlines()
    epoch, step, split, _, accuracy, _, seconds = first.split(",")
    first = ",".join([epoch, step, split, "nan", accuracy, "-inf", seconds])
    (run / METRICS_FILE).write_text("\n".join([header, first, *rows, ""]))
    results = load([tmp_path / "sweep"])
    assert (results.problems, len(results.runs)) == ([], 1)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (LOOKS_FILE, '"cells": [', '"cells": [], "_": ['),
        (LOOKS_FILE, '"he / adam",', ""),
        (LOOKS_FILE, '"best": "he / sgd"', '"best": null'),
        (LOOKS_FILE, '"level": 0.02', '"level": true'),
        (LOOKS_FILE, '"left": {}', '"left": {"he / adam": 1}'),
        (LOOKS_FILE, '"batch": 2', '"batch": 2.5'),
        (LOOKS_FILE, '"given": [', '"given": [0, 0,'),
        (SWEEP_FILE, '"sequential": []', '"sequential": ["../x"]'),
        (SWEEP_FILE, '"sequential": []', f'"sequential": ["{"x" * 256}"]'),
        (SWEEP_FILE, '"sequential": []', f'"sequential": ["{"x/" * 2000}y"]'),
        (SWEEP_FILE, '"sequential": []', '"sequential": ["\\u0000"]'),
        (SWEEP_FILE, '"sequential": []', '"sequential": ["\\ud800"]'),
        (SWEEP_FILE, '"seed": [', f'"seed": [1{"0" * 400}, '),
        (CHOICES_FILE, '"confirmed": {', '"confirmed": {"5": "",'),
        (CHOICES_FILE, '"configuration": {', '"configuration": [], "_": {'),
        (CHOICES_FILE, '"accuracy": 0.', '"accuracy": true, "_": 0.'),
        *((file, "{", f'{{"x": {nested(3000)}, ') for file in (LOOKS_FILE, SWEEP_FILE, CHOICES_FILE)),
    ],
)
def test_read_damaged_file_of_sweep_raises_with_its_name(
    sweep: Path, tmp_path: Path, name: str, before: str, after: str
) -> None:
    read: dict[str, Callable[[Path], object]]
    read = {LOOKS_FILE: read_looks, SWEEP_FILE: read_sweep, CHOICES_FILE: read_choices}
    content = (sweep / name).read_text()
    read[name](sweep / name)
    assert before in content
    (tmp_path / name).write_text(content.replace(before, after, 1))
    with pytest.raises(Unreadable, match=f"^{name}: damaged"):
        read[name](tmp_path / name)


def test_sweep_commands_deeply_nested_file_returns_empty(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text("[" * 3000)
    assert sweep_commands(tmp_path) == []
