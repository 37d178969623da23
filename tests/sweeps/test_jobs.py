"""Jobs of a sweep as directories: unique paths, locks, and finished or damaged results."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from mnist_mlp import __version__
from mnist_mlp.app.callback import ChecksAndReport
from mnist_mlp.app.cells import names
from mnist_mlp.app.compose import compose
from mnist_mlp.app.plan import plan
from mnist_mlp.base.errors import UserError, in_words
from mnist_mlp.base.record import METRICS_FILE, RUN_FILE, Diverged
from mnist_mlp.base.schema import SOURCES
from mnist_mlp.sweeps.jobs import STOP_FILE, Job, drop_duplicates, find_results, refuse_other_versions
from mnist_mlp.sweeps.lock import HOLDER_FILE, LOCK_FILE, LockCheck, hold, holder_of
from mnist_mlp.sweeps.progress import Progress
from tests.helpers.composing import composed, job_name
from tests.helpers.hydra_config import sweep_config
from tests.helpers.paths import ROOT
from tests.helpers.results import wait_until
from tests.helpers.runs import Write
from tests.helpers.sweeping import planning, requested, swept, write_result, write_results


def planned(top: Path, jobs: Sequence[Sequence[str]], *overrides: str) -> list[Job]:
    """Return the jobs that the sweeper would run, composed by Hydra."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = sweep_config(loader, *overrides, "data=digits")
        return plan(top, ((jobs[number], composed) for number, composed in compose(loader, config, jobs)))


OPTIM_BY_SEED = [[f"optim={optim}", f"seed={seed}"] for optim in ("adam", "sgd") for seed in (0, 1, 2)]


@pytest.mark.parametrize(
    ("subdir", "words"),
    [
        (
            "${hydra.runtime.choices.optim}",
            ["the same directory, ", "/adam", "optim=adam seed=0\n", "optim=adam seed=1\n"],
        ),
        ("${optim.lr}/${hydra.runtime.choices.optim}", ["the same directory, ", "0.01/adam"]),
        ("a${hydra.runtime.choices.init}/../${seed}", ["the same directory, ", "/0", "optim=sgd seed=0"]),
        (".", ["expected a directory below the sweep directory"]),
        ("../${hydra.runtime.choices.optim}-${seed}", ["expected a directory below the sweep directory"]),
        (
            "${hydra.job.num}",
            ["hydra.sweep.subdir=${hydra.job.num}", "expected a name that depends only on the configuration"],
        ),
    ],
)
def test_plan_jobs_with_a_shared_directory_raises(tmp_path: Path, subdir: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        planned(tmp_path, OPTIM_BY_SEED, f"hydra.sweep.subdir='{subdir}'")
    for word in words:
        assert word in str(caught.value) + "\n"
    assert list(tmp_path.iterdir()) == []


def test_distinct_nested_directories_raises(tmp_path: Path) -> None:
    jobs = [Job((name,), tmp_path / name, name, "digest") for name in ("a/b", "ab", "a")]
    assert drop_duplicates(jobs[:2], tmp_path) == jobs[:2]
    with pytest.raises(UserError, match="nested directories") as caught:
        drop_duplicates(jobs, tmp_path)
    assert "  a\n  a/b\n" in str(caught.value)


def test_distinct_equal_directory_with_other_data_raises(tmp_path: Path) -> None:
    jobs = [Job((f"data.root={digest}",), tmp_path / "job", "same", digest) for digest in ("here", "there")]
    with pytest.raises(UserError, match=r"data\.root=here\n  data\.root=there"):
        drop_duplicates(jobs, tmp_path)


def test_plan_subdir_by_override_dirname_is_unique_per_job(tmp_path: Path) -> None:
    jobs = planned(tmp_path, [*OPTIM_BY_SEED, OPTIM_BY_SEED[0]], "hydra.sweep.subdir='${hydra.job.override_dirname}'")
    names = [job.directory.name for job in jobs]
    assert names == [f"{','.join(overrides)}" for overrides in OPTIM_BY_SEED]


def test_plan_seeds_set_without_composing_are_those_of_each_job(tmp_path: Path) -> None:
    jobs = [["seed=1", "seeds.weights=3"], ["seed=2", "seeds.weights=4"], ["seed=2"]]
    in_other_words = ["seed=7", *(f"seeds.{source}=2" for source in SOURCES)]
    found = planned(tmp_path, [*jobs, in_other_words])
    assert [list(job.overrides) for job in found] == jobs
    assert [job.directory.name for job in found] == [job_name(*overrides) for overrides in jobs]
    assert found[0].directory.name.startswith("he_adam_lr0.01_seeds3-1-1-1-")


def test_holding_directory_in_use_raises(tmp_path: Path) -> None:
    message = f"in use by another sweep: process {os.getpid()} on "
    with hold(tmp_path), pytest.raises(UserError, match=message), hold(tmp_path):
        raise AssertionError("both hold it")
    with hold(tmp_path):  # files of the earlier holder are ignored
        pass


def test_holding_after_kill_of_the_holder_succeeds(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from mnist_mlp.sweeps.lock import hold\n"
        "with hold(Path(sys.argv[1])):\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as process:
        wait_until((tmp_path / HOLDER_FILE).exists)
        with pytest.raises(UserError, match=f"process {process.pid} on "), hold(tmp_path):
            raise AssertionError("both hold it")
        process.kill()
    with hold(tmp_path):
        pass


def test_holding_by_3_processes_is_exclusive(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mnist_mlp.base.errors import UserError\n"
        "from mnist_mlp.sweeps.lock import hold\n"
        "top, turns = Path(sys.argv[1]), 0\n"
        "while turns < 100:\n"
        "    try:\n"
        "        with hold(top / 'held'):\n"
        "            os.close(os.open(top / 'mark', os.O_CREAT | os.O_EXCL))\n"  # raises if another has it
        "            (top / 'mark').unlink()\n"
        "            turns += 1\n"
        "    except UserError as error:\n"
        "        assert 'in use by another' in str(error), error\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert [path.name for path in (tmp_path / "held").iterdir()] == [LOCK_FILE]


def test_run_unwritable_directory_exits_with_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^error: /proc/nope: expected a writable directory: ") as caught:
        ChecksAndReport().on_run_start(composed("hydra.run.dir=/proc/nope", "data=digits"))
    assert "\n" not in str(caught.value)


def test_progress_line_counts_results_on_disk(tmp_path: Path) -> None:
    jobs = [Job((), tmp_path / name, "h", "d") for name in ("done", "diverged", "failed", "running", "waiting")]
    progress = Progress(jobs, skipped=3, shown=False)
    for status, job in zip(("completed", "diverged", "failed"), jobs, strict=False):
        job.directory.mkdir()
        (job.directory / RUN_FILE).write_text(json.dumps({"status": status}))
    jobs[3].directory.mkdir()
    (jobs[3].directory / METRICS_FILE).touch()
    line = progress.line()
    assert line.startswith("5 of 8 finished (1 running, 1 failed, 1 diverged), 0:00:00 elapsed, about ")


@pytest.mark.parametrize(
    ("error", "is_finished"),
    [(None, True), (Diverged("the loss is NaN"), True), (RuntimeError("the disk is full"), False)],
)
def test_find_results_omit_failed_but_not_diverged_runs(
    tmp_path: Path, error: Exception | None, is_finished: bool
) -> None:
    (job,) = planned(tmp_path, [["seed=0"]])
    write_result(job, 0.9, 0.1, error)
    assert find_results([job], __version__)[0] == ([job] if is_finished else [])


@pytest.fixture
def finished(write_run: Write) -> Job:
    """Job with a result of version 1 of the package."""
    run = write_run(environment={"package": "1"}, digest="digest")
    return Job((), run, run.name, "digest")


def test_find_results_damaged_run_json_is_not_finished(finished: Job, caplog: pytest.LogCaptureFixture) -> None:
    for text in (
        "",
        '{"status": "comp',
        "[" * 100_000,
        "[]",
        "null",
        '{"status": "failed"}',
        '{"status": "completed"}',
        "{}",
    ):
        (finished.directory / RUN_FILE).write_text(text)
        caplog.clear()
        assert find_results([finished], "1")[0] == []
        assert f"{finished.directory}: its run.json is damaged" in caplog.text


def test_find_results_damaged_metrics_is_not_finished(finished: Job, caplog: pytest.LogCaptureFixture) -> None:
    assert find_results([finished], "1")[0] == [finished]
    metrics = finished.directory / METRICS_FILE
    text = metrics.read_text()
    for damaged, words in ((text[: len(text) // 2], "truncated"), ("", METRICS_FILE), (None, "No such file")):
        if damaged is None:
            metrics.unlink()
        else:
            metrics.write_text(damaged)
        caplog.clear()
        assert find_results([finished], "1")[0] == []
        assert f"{finished.directory}: {METRICS_FILE}: " in caplog.text
        assert words in caplog.text


NO_ENTRY: Any = object()
LACKS: list[tuple[str, Any]] = [
    *((key, NO_ENTRY) for key in ("status", "reason", "final", "seconds", "config_hash", "choices", "config")),
    *(
        (key, NO_ENTRY)
        for key in (
            "ended",
            "wall_seconds",
            "code",
            "overrides",
            "environment",
            "data",
            "choices.init",
            "config.epochs",
            "final.test",
        )
    ),
    *((key, None) for key in ("final", "choices", "config", "environment", "data")),
    *((key, []) for key in ("final", "choices", "config", "environment", "data", "code")),
    *(("status", 3), ("status", "done"), ("seconds", "1 s"), ("config_hash", None), ("environment.package", 1)),
    *(("data.digest", None), ("final.test", 0.9), ("ended", 5), ("wall_seconds", None)),
]


@pytest.mark.parametrize(("path", "value"), LACKS)
def test_find_results_incomplete_run_json_is_not_finished(finished: Job, path: str, value: Any) -> None:
    summary = json.loads((finished.directory / RUN_FILE).read_text())
    *parents, key = path.split(".")
    node = summary
    for parent in parents:
        node = node[parent]
    if value is NO_ENTRY:
        del node[key]
    else:
        node[key] = value
    assert find_results([finished], "1")[0] == [finished]
    (finished.directory / RUN_FILE).write_text(json.dumps(summary))
    assert find_results([finished], "1")[0] == []


def test_refuse_other_versions_under_other_names_raises(finished: Job) -> None:
    top = finished.directory.parent
    today = replace(finished, directory=top / "another-name")
    refuse_other_versions([finished], top, "2")  # equal directory: left to `find_results`
    refuse_other_versions([today], top, "1")
    with pytest.raises(UserError, match=r"holds results of version 1, such as .*; this is version 2"):
        refuse_other_versions([today], top, "2")
    (finished.directory / RUN_FILE).write_text("{}")
    refuse_other_versions([today], top, "2")


def test_find_results_of_changed_job_raises_unless_replaced(finished: Job) -> None:
    for job, version, words in (
        (finished, "2", "version 1 instead of 2"),
        (replace(finished, data_digest="other"), "1", "data digest instead of other"),
        (replace(finished, config_hash="other"), "1", "instead of other"),
        (replace(finished, code={"mine": "digest"}), "1", "the code of mine "),
    ):
        with pytest.raises(UserError, match=words):
            find_results([job], version)[0]
        assert find_results([job], version, replace_changed=True)[0] == []
    assert find_results([finished], "1", replace_changed=True)[0] == [finished]
    run = json.loads((finished.directory / RUN_FILE).read_text())
    (finished.directory / RUN_FILE).write_text(json.dumps(run | {"code": {"mine": "digest"}}))
    assert find_results([replace(finished, code={"mine": "digest"})], "1")[0] != []
    with pytest.raises(UserError, match="the code of mine "):  # recorded code that the job no longer uses
        find_results([finished], "1")[0]


@pytest.mark.parametrize("is_forced", [True, False])
def test_sweep_retrained_job_starts_without_old_result_and_stop_file(tmp_path: Path, is_forced: bool) -> None:
    top = tmp_path
    (top / STOP_FILE).touch()
    with planning(top) as plan:
        request = requested(top, plan, [["seed=3"]])
    (job,) = request.search
    write_results([job], lambda job: 0.9)
    if not is_forced:
        (job.directory / RUN_FILE).write_text('{"status": "failed"}')

    def result(job: Job) -> float:
        assert not (job.directory / RUN_FILE).exists()
        assert not (top / STOP_FILE).exists()
        return 0.8

    assert swept(request, result, force=is_forced) == [[job.directory.name]]
    assert swept(request, result) == []


def test_held_by_another_sweep_is_noticed(tmp_path: Path) -> None:
    assert not LockCheck(tmp_path).by_another()  # no sweep holds the directory
    with hold(tmp_path):
        held, own = LockCheck(tmp_path), holder_of(tmp_path)
        assert not held.by_another()
        assert not LockCheck(tmp_path, own).by_another()
    assert not held.by_another()  # the sweep has ended, or was killed
    with hold(tmp_path):
        assert held.by_another()
        assert LockCheck(tmp_path, own).by_another()  # the worker began after its sweep had ended
        assert not LockCheck(tmp_path).by_another()
        (tmp_path / HOLDER_FILE).write_text("{")  # as while it is being written
        assert not held.by_another()


def test_names_are_resolved_relative_paths(tmp_path: Path) -> None:
    assert names([Job((), tmp_path / "x/../deep/a", "h", "d")], tmp_path / "y/..") == ["deep/a"]


def test_in_words_of_os_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        (tmp_path / "file/figures").mkdir()
    assert in_words(caught.value) == f"{tmp_path}/file/figures: Not a directory"
    assert in_words(UserError("in words")) == "in words"
