"""`sweep.json`: the record of a sweep's commands, extended by later ones, read by the report and on resuming."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_mlp import __version__
from mnist_mlp.app import records
from mnist_mlp.app.sweep import check
from mnist_mlp.base import sweep_file
from mnist_mlp.base.choices import CHOICES_FILE
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interim import LOOKS_FILE
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import CONFIRM, PHASES, SEARCH, SWEEP_FILE, SweepRecord, read_sweep, write_sweep
from mnist_mlp.report import compare_sweeps, newest_sweep, report_on
from mnist_mlp.report.write import sweep_commands
from mnist_mlp.sweeps.jobs import refuse_other_versions
from tests.helpers.commands import IN_PROCESS, NO_REPORT, SMALLER, Command
from tests.helpers.runs import Write
from tests.helpers.sweeping import planning, requested, state_by_disk, swept

RECORD = SweepRecord(
    compare=["init", "optim"],
    tuned=["optim.lr"],
    replicates={"seed": [0, 1]},
    select="each",
    margin=0.002,
    phases={SEARCH: ["a", "b"], CONFIRM: []},
    commands=[sweep_file.Command(command="python run.py -m seed=0,1", jobs=["a", "b"])],
)
texts = st.lists(st.text("abc", min_size=1, max_size=2), max_size=3, unique=True)
sweeps = st.builds(
    SweepRecord,
    compare=st.just(["init", "optim"]),
    tuned=texts,
    replicates=st.dictionaries(
        st.sampled_from(["seed", "seeds.weights"]), st.lists(st.integers(0, 5), min_size=1, unique=True).map(sorted)
    ),
    select=st.just("each"),
    margin=st.none() | st.floats(0.001, 0.5),
    phases=st.fixed_dictionaries({SEARCH: texts}, optional=dict.fromkeys(PHASES[1:], texts)),
    commands=st.lists(
        st.builds(sweep_file.Command, command=st.sampled_from("xyz"), jobs=texts), min_size=1, max_size=1
    ),
)


@given(first=sweeps, second=sweeps)
def test_sweep_record_extended_keeps_both_and_is_idempotent(first: SweepRecord, second: SweepRecord) -> None:
    both = first.merge(second)
    assert both.merge(second) == both
    for record in (first, second):
        assert {*record.tuned} <= {*both.tuned}
        for phase, jobs in record.phases.items():
            assert {*jobs} <= {*both.phases[phase]}
        for key, seeds in record.replicates.items():
            assert {*seeds} <= {*both.replicates[key]}
    assert list(both.phases) == [phase for phase in PHASES if phase in first.phases or phase in second.phases]
    assert both.margin == second.margin
    assert both.commands[-1] == second.commands[-1]
    assert {command.command for command in both.commands} == {c.command for c in (*first.commands, *second.commands)}


def test_write_sweep_and_read_sweep_round_trip(tmp_path: Path) -> None:
    write_sweep(tmp_path, RECORD)
    assert read_sweep(tmp_path / SWEEP_FILE) == RECORD
    later = replace(RECORD, tuned=["batch_size"], phases={SEARCH: ["c"]})
    write_sweep(tmp_path, later)
    assert read_sweep(tmp_path / SWEEP_FILE) == RECORD.merge(later)


CONTENT: dict[str, Any] = {
    "compare": ["init"],
    "tuned": [],
    "replicates": {},
    "select": "once",
    "margin": None,
    "phases": {},
    "commands": [{"command": "python run.py", "jobs": []}],
}
DAMAGE: list[dict[str, Any]] = [
    {"compare": []},
    {"compare": "init"},
    {"margin": 2},
    {"margin": "wide"},
    {"phases": {"dance": []}},
    {"phases": {"search": "abc"}},
    {"phases": []},
    {"replicates": {"seed": ["x"]}},
    {"commands": ["python run.py"]},
    {"commands": [{"command": "x", "jobs": [1]}]},
    {"commands": [{"command": {}, "jobs": []}]},
    {"commands": {}},
    {"commands": []},
    {"compare": ["init", "init"]},
    {"compare": ["init", "\x1b[2J\nerror: all fine"]},
    *({"compare": [key]} for key in ("seed", "seeds.weights", "status", "streams", "config_hash", "no.such.key")),
    {"select": ["a"]},
    {"select": "\x1b[2J"},
    {"margin": float("nan")},
    {"margin": True},
    {"replicates": {"seed": "123"}},
    {"replicates": {"seed": [1.5]}},
    {"replicates": {"seed": [True]}},
]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "[" * 100_000,
        *(json.dumps({**CONTENT, **change}) for change in DAMAGE),
        *(json.dumps({k: v for k, v in CONTENT.items() if k != key}) for key in CONTENT),
    ],
)
def test_read_sweep_damaged_file_raises_and_keeps_it(tmp_path: Path, content: str, write_run: Write) -> None:
    sweep = write_run().parent
    (sweep / SWEEP_FILE).write_text(content)
    with pytest.raises(Unreadable, match=r"^sweep\.json: damaged"):
        read_sweep(sweep / SWEEP_FILE)
    with pytest.raises(Unreadable):
        write_sweep(sweep, RECORD)
    assert (sweep / SWEEP_FILE).read_text() == content


def test_sweep_and_report_with_damaged_sweep_file_name_it(tmp_path: Path, write_run: Write) -> None:
    sweep = write_run().parent
    (sweep / SWEEP_FILE).write_text("{")
    with pytest.raises(UserError, match=r"no run to report on(.|\n)*sweep\.json: damaged"):
        compare_sweeps([sweep])
    with (
        planning(sweep) as plan,
        pytest.raises(UserError, match=r"sweep\.json: .* Remove the file, and repeat the command"),
    ):
        check(requested(sweep, plan, [["optim=adam"]]), force=False)
    assert (sweep / SWEEP_FILE).read_text() == "{"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"compare": ["init", "model.hidden"]},
            r"compare=\[init,optim\]: expected \[init,model\.hidden\], as in the earlier commands for ",
        ),
        ({"select": "once"}, r"select=each: expected once, as in the earlier commands for "),
        ({"phases": {SEARCH: [], CONFIRM: []}}, "holds a search with confirmation. Expected hydra"),
        ({"phases": {SEARCH: [], "sequential": []}}, "holds a sweep with interim analyses. Expected"),
    ],
)
def test_check_another_kind_of_sweep_in_the_directory_raises(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    write_sweep(tmp_path, replace(RECORD, **{"phases": {SEARCH: ["a"]}, **change}))
    with planning(tmp_path) as plan, pytest.raises(UserError, match=words) as caught:
        check(requested(tmp_path, plan, [["optim=adam"]]), force=False)
    assert "\n" not in str(caught.value)


def test_report_of_search_before_confirmation_tests_nothing(tmp_path: Path) -> None:
    jobs = [
        [f"optim={optim}", f"optim.lr={lr}", f"seed={s}"]
        for optim in ("adam", "sgd")
        for lr in (1, 2)
        for s in (0, 1, 2)
    ]

    def accuracy(job: Any) -> float | None:
        return None if job.config["seed"] == 9 else 0.5 + job.config["seed"] / 100 + (job.choices["optim"] == "sgd") / 5

    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, jobs, {"seed": [9]}, select="once")
        records.write(request, state_by_disk(request), "a command")
        swept(request, accuracy)
    (tmp_path / CHOICES_FILE).unlink()  # as after a kill in the search
    with pytest.raises(UserError, match=r"cannot report on a single job of a sweep with sweep\.json"):
        report_on(sorted(tmp_path.glob("*/")))
    ((_, comparison),) = compare_sweeps([tmp_path])[1].items()
    assert comparison.pairs["reason"].tolist() == ["not confirmed"]
    assert comparison.runs["phase"].tolist() == [SEARCH] * 12


def test_sweep_of_several_commands_trains_once_and_reports_all(command: Command, tmp_path: Path) -> None:
    """A wide command, a narrower one, and a wider one train no job twice, and the report has all jobs."""
    here = tmp_path / "multirun/here"

    def run(*arguments: str) -> list[tuple[str, str, str]]:
        given = ("run.py", "-m", *arguments, "epochs=1", *SMALLER, IN_PROCESS, "hydra.sweep.dir=multirun/here")
        return re.findall(r"(\d+) jobs, (\d+) skipped as they have a result, (\d+) to do", command(*given).stdout)

    assert run("optim=adam,sgd", "seed=0,1", NO_REPORT) == [("4", "0", "4")]
    times = {path: path.stat().st_mtime_ns for path in here.glob(f"*/{RUN_FILE}")}
    assert run("optim=adam", "seed=0", NO_REPORT) == [("1", "1", "0")]
    assert run("optim=adam,sgd,nag", "seed=0") == [("3", "2", "1")]
    assert run("optim=adam", "seed=0", NO_REPORT) == [("1", "1", "0")]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    record = read_sweep(here / SWEEP_FILE)
    assert len(record.phases[SEARCH]) == 5
    assert record.replicates == {"seed": [0, 1]}
    assert [len(given.jobs) for given in record.commands] == [4, 3, 1]
    assert sweep_commands(here) == [given.command for given in record.commands]
    assert sweep_commands(here)[0].startswith("python run.py -m optim=adam,sgd seed=0,1 ")
    assert len((tmp_path / "reports/here/runs.csv").read_text().splitlines()) == 1 + 5
    page = (tmp_path / "reports/here/report.md").read_text()
    assert page.count("python run.py -m optim=adam,sgd") >= 2


def test_compared_uses_compare_keys_of_the_sweep_file(write_run: Write) -> None:
    runs: Sequence[Path] = [write_run(lr=lr, seed=seed) for lr in (0.1, 0.2) for seed in (0, 1)]
    sweep = runs[0].parent
    record = replace(RECORD, phases={SEARCH: [run.name for run in runs]})
    write_sweep(sweep, replace(record, compare=["optim.lr"]))
    ((_, comparison),) = compare_sweeps([sweep])[1].items()
    assert sorted(comparison.summary["cell"]) == ["optim.lr=0.1", "optim.lr=0.2"]
    ((_, comparison),) = compare_sweeps([sweep], by=["optim"])[1].items()
    assert comparison.summary["cell"].tolist() == ["adam"]
    other = write_run(lr=0.3).rename(sweep.parent / "other")
    write_sweep(other, replace(record, compare=["init"]))
    with pytest.raises(UserError, match=r"sweep compares optim.lr.* Name the keys with --by"):
        compare_sweeps([sweep, other])
    ((_, comparison),) = compare_sweeps([sweep, other], by=["optim"])[1].items()
    assert comparison.summary["cell"].tolist() == ["adam"]
    (sweep / SWEEP_FILE).unlink()
    write_sweep(sweep, replace(record, compare=["optim", "optim.no_such_key"]))
    ((_, comparison),) = compare_sweeps([sweep])[1].items()
    assert comparison.summary["cell"].tolist() == ["adam / optim.no_such_key=null"]
    assert not (sweep / LOOKS_FILE).exists()


def test_jobs_of_earlier_command_excludes_later_jobs(tmp_path: Path) -> None:
    write_sweep(tmp_path, RECORD)
    later = [sweep_file.Command(command="python run.py -m optim=sgd", jobs=["c"])]
    write_sweep(tmp_path, replace(RECORD, commands=later))
    assert records.jobs_of(tmp_path, RECORD.commands[0].command) == [tmp_path / "a", tmp_path / "b"]
    assert records.jobs_of(tmp_path, "python run.py -m optim=nag") == []
    assert records.jobs_of(tmp_path / "elsewhere", "python run.py") == []


def test_sweep_file_damaged_during_sweep_raises_with_hint(tmp_path: Path) -> None:
    def damaging(job: Any) -> float:
        (tmp_path / SWEEP_FILE).write_text("{")
        return 0.9

    with planning(tmp_path) as plan:
        request = requested(tmp_path, plan, [["optim=adam"]])
        with pytest.raises(UserError, match=r"sweep\.json: .* Remove the file, and repeat"):
            swept(request, damaging)
        with pytest.raises(UserError, match=r"sweep\.json: "):
            records.jobs_of(tmp_path, "a command")


def test_compared_sweep_excludes_sweeps_below_it(write_run: Write, tmp_path: Path) -> None:
    """The sweeps have hydra.sweep.dir=all/first and hydra.sweep.dir=all."""
    record = replace(RECORD, phases={SEARCH: []})
    (tmp_path / "all/first").mkdir(parents=True)
    write_run(optim="adam").rename(tmp_path / "all/first/job")
    write_run(optim="sgd").rename(tmp_path / "all/job")
    for sweep in ("all", "all/first"):
        write_sweep(tmp_path / sweep, record)
    assert compare_sweeps([tmp_path / "all"])[0].runs["optim"].tolist() == ["sgd"]
    assert compare_sweeps([tmp_path / "all/first"])[0].runs["optim"].tolist() == ["adam"]
    assert sorted(compare_sweeps([tmp_path])[0].runs["optim"]) == ["adam", "sgd"]
    (tmp_path / "all" / SWEEP_FILE).unlink()  # a directory that is no sweep
    assert sorted(compare_sweeps([tmp_path / "all"])[0].runs["optim"]) == ["adam", "sgd"]


def test_compared_follows_links_and_names_loops(write_run: Write, tmp_path: Path) -> None:
    sweep = write_run(optim="adam").parent
    write_run(optim="sgd").rename(tmp_path / "elsewhere")
    (sweep / "linked").symlink_to(tmp_path / "elsewhere")
    (sweep / "loop").symlink_to(tmp_path)  # to the parent of the sweep
    (sweep / "again").symlink_to(next(sweep.glob("*adam*")))
    (sweep / "nowhere").symlink_to(tmp_path / "nothing")
    results, _ = compare_sweeps([sweep])
    runs = results.runs
    assert sorted(runs["optim"]) == ["adam", "sgd"]
    (loop,) = results.problems
    assert (loop.run, loop.why) == (str(sweep / "loop"), f"not followed: it leads back to {tmp_path.resolve()}")
    assert {Path(run).name for run in runs.index} == {"linked", next(sweep.glob("*adam*")).name}


def test_report_on_sweep_inside_a_confirmed_one_has_its_runs(write_run: Write, tmp_path: Path) -> None:
    write_sweep(tmp_path, RECORD)  # with jobs to confirm
    (tmp_path / "first").mkdir()
    write_run(optim="adam").rename(tmp_path / "first/job")
    with pytest.raises(UserError, match="a single job of a sweep with"):
        report_on([tmp_path / "first"])
    write_sweep(tmp_path / "first", replace(RECORD, phases={SEARCH: ["job"]}))
    assert compare_sweeps([tmp_path / "first"])[0].runs["optim"].tolist() == ["adam"]


def test_newest_sweep_behind_a_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "disk/mine").mkdir(parents=True)
    (tmp_path / "disk/mine/multirun.yaml").touch()
    (tmp_path / "multirun").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tmp_path / "disk")
    assert newest_sweep(tmp_path / "multirun") == tmp_path / "multirun/mine"


def test_refuse_other_versions_follows_links_but_skips_sweeps_below(write_run: Write, tmp_path: Path) -> None:
    run = write_run(environment={"package": "another"})
    run.rename(tmp_path / "job")
    run.symlink_to(tmp_path / "job")
    with pytest.raises(UserError, match="holds results of version another"):
        refuse_other_versions([], run.parent, __version__)
    write_sweep(run.parent, replace(RECORD, phases={SEARCH: []}))
    run.unlink()
    refuse_other_versions([], run.parent.parent / "nothing", __version__)
    (tmp_path / "job").rename(run)
    refuse_other_versions([], tmp_path, __version__)
