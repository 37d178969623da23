"""Golden files: results that a change of structure must not change, stored before and compared after it.

    python -m benchmarks.golden store DIR      before the change
    python -m benchmarks.golden compare DIR    after it; lists what differs and ends with status 1 if anything does

Three parts, each one JSON file in DIR:

- `commands`: the `metrics.csv` (without `seconds`) of every run of every command of `tests/helpers/documents.py`;
- `tables`: pairs and effects of 200 simulated sweeps, cells x seeds; equal to 1e-12;
- `sweeps`: a confirmed sweep and one that adds seeds, their `metrics.csv`, `choices.json` and `looks.json`. Each is
  also killed (kill -9) twice in each phase and resumed by the same command, which must leave the same files.
"""

import argparse
import csv
import io
import itertools
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.designs import designs
from benchmarks.printing import say
from mnist_mlp.analysis.effects import compare_effects
from mnist_mlp.analysis.roles import REPLICATE
from mnist_mlp.base.choices import CHOICES_FILE
from mnist_mlp.base.interim import LOOKS_FILE
from mnist_mlp.base.record import METRICS_FILE, RUN_FILE
from mnist_mlp.stats.pairs import compare_pairs

ROOT = Path(__file__).parents[1]
TABLES = 200
TOLERANCE = 1e-12
POLL_SECONDS = 0.005
SMALL = ("data=digits", "data.train_size=300", "data.val_size=100", "epochs=1")
NO_REPORT = "~hydra.callbacks.checks_and_report"
CONFIRMED = (
    *("-m", "optim=adam,sgd", "optim.lr=1e-4,1e-3,1e-2,1e-1", "seed=0,1", *SMALL, NO_REPORT),
    *("hydra.sweeper.confirm={seed:[10,11,12],epochs:2}", "hydra.sweeper.select=once"),
)
SEQUENTIAL = (
    *("-m", "init=he,lecun", "optim=adam,adagrad", "seed=0,1,2", *SMALL, NO_REPORT),
    *("hydra.sweeper.until_decided=true", "hydra.sweeper.max_seeds=9", "hydra.sweeper.batch=3"),
)
BOTH = (
    *("-m", "optim=adam,sgd", "optim.lr=1e-3,1e-1", "seed=0,1", *SMALL, NO_REPORT),
    *("hydra.sweeper.confirm={seed:[10,11,12]}", "hydra.sweeper.select=once"),
    *("hydra.sweeper.until_decided=true", "hydra.sweeper.max_seeds=9", "hydra.sweeper.batch=3"),
)
# The sweeps, and the numbers of finished runs at which each is killed: twice in each phase.
SWEEPS = {
    "confirmed": (CONFIRMED, (4, 10, 17, 20)),
    "sequential": (SEQUENTIAL, (3, 7, 14, 20)),
    "both": (BOTH, (2, 5, 9, 12, 15, 18)),
}


def runs_below(directory: Path) -> dict[str, list[str]]:
    """The `metrics.csv` of every run, without `seconds`, by the run's overrides; several of one name are sorted."""
    found: dict[str, list[str]] = {}
    for path in directory.rglob(RUN_FILE):
        overrides = json.loads(path.read_text())["overrides"]
        found.setdefault(shlex.join(map(str, overrides)), []).append(_without_seconds(path.parent / METRICS_FILE))
    return {key: sorted(texts) for key, texts in sorted(found.items())}


def _without_seconds(path: Path) -> str:
    text = io.StringIO()
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    kept = [number for number, name in enumerate(header) if name != "seconds"]
    csv.writer(text, lineterminator="\n").writerows([[row[number] for number in kept] for row in (header, *rows)])
    return text.getvalue()


def commands() -> dict[str, dict[str, list[str]]]:
    """Return the records that each command of the documentation leaves, by command."""
    sys.path.insert(0, str(ROOT))
    from tests.helpers.documents import quickly, runs  # of the tests, which run the same commands
    from tests.helpers.warm import Warm

    environment = os.environ | {"MNIST_MLP_DATA": os.environ.get("MNIST_MLP_DATA", str(ROOT / "data"))}
    found = {}
    with tempfile.TemporaryDirectory() as folder, Warm(ROOT, Path(folder) / "warm") as warm:
        for line, others in runs().items():
            say(line)
            with tempfile.TemporaryDirectory() as top:
                for each in (line, *(other for other in others if other.startswith("python run.py"))):
                    done = warm.run(_arguments(quickly(each, others)), Path(top), environment, timeout=300)
                    if done.returncode:
                        sys.exit(f"{each}\n{done.stdout}\n{done.stderr}")
                found[line] = runs_below(Path(top))
    return found


def _arguments(words: Sequence[str]) -> list[str]:
    return [str(ROOT / word) if word == "run.py" else word for word in words]


def tables() -> dict[str, Any]:
    """Pairs and effects of simulated sweeps, by the design."""
    found = {}
    for number, design in enumerate(itertools.islice(itertools.cycle(designs()), TABLES)):
        y = design.make(np.random.default_rng(number), design.cells, design.seeds)
        table = pd.DataFrame(y, index=[f"c{cell:02}" for cell in range(len(y))])
        # One in three as at an interim analysis, with a stricter level and a margin.
        strict: dict[str, Any] = {"level": 1e-3, "margin": 0.002} if number % 3 == 0 else {}
        pairs, judged = compare_pairs(table, design.images, **strict)
        frame = pd.DataFrame(
            [(str(cell // 2), str(cell % 2), seed, value) for (cell, seed), value in np.ndenumerate(y)],
            columns=["init", "optim", REPLICATE, "score"],
        )
        effects = compare_effects(frame.dropna(), ["init", "optim"], design.images)
        found[f"{number} {design.name}, {design.cells} x {design.seeds}"] = {
            "judged": judged,
            "pairs": _columns(pairs),
            "effects": _columns(effects.table),
        }
    return found


def _columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): values.tolist() for name, values in frame.items()}


def sweeps() -> dict[str, Any]:
    """Return the records of each sweep; killed and resumed sweeps are compared with them at once."""
    found = {}
    for name, (arguments, kills) in SWEEPS.items():
        say(f"{name}: undisturbed")
        with tempfile.TemporaryDirectory() as top:
            _sweep(arguments, Path(top))
            found[name] = _left(Path(top))
        with tempfile.TemporaryDirectory() as top:
            for count in kills:
                say(f"{name}: killed at {_sweep(arguments, Path(top), kill_at=count)} of {count} finished runs")
            _sweep(arguments, Path(top))
            differences = list(_differences(found[name], _left(Path(top)), f"sweeps: {name}, killed and resumed"))
            if differences:
                sys.exit("\n".join(differences))
    return found


def _left(top: Path) -> dict[str, Any]:
    here = top / "sweep"
    files = {
        file: json.loads((here / file).read_text()) for file in (CHOICES_FILE, LOOKS_FILE) if (here / file).exists()
    }
    return {"runs": runs_below(here), **files}


def _sweep(arguments: Sequence[str], top: Path, kill_at: int | None = None) -> int:
    """Run a sweep to its end, or kill it as soon as so many of its runs have finished; return how many have."""
    command = [sys.executable, str(ROOT / "run.py"), *arguments, "hydra.sweep.dir=sweep"]
    environment = os.environ | {"MNIST_MLP_DATA": os.environ.get("MNIST_MLP_DATA", str(ROOT / "data"))}
    with (top / "log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=top, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            if kill_at is not None and len(list(top.glob(f"sweep/*/{RUN_FILE}"))) >= kill_at:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
        else:
            if process.returncode:
                sys.exit((top / "log").read_text())
    return len(list(top.glob(f"sweep/*/{RUN_FILE}")))


def _differences(golden: Any, now: Any, place: str) -> Iterator[str]:
    """Return one line for each difference of two trees; numbers may differ by the tolerance."""
    if isinstance(golden, Mapping) and isinstance(now, Mapping):
        for key in golden.keys() | now.keys():
            if key in golden and key in now:
                yield from _differences(golden[key], now[key], f"{place}: {key}")
            else:
                yield f"{place}: {key}: only {'before' if key in golden else 'now'}"
    elif isinstance(golden, list) and isinstance(now, list) and len(golden) == len(now):
        for number, (before, after) in enumerate(zip(golden, now, strict=True)):
            yield from _differences(before, after, f"{place}[{number}]")
    elif isinstance(golden, float) and isinstance(now, float):
        if not (golden == now or (math.isnan(golden) and math.isnan(now)) or abs(golden - now) <= TOLERANCE):
            yield f"{place}: {golden!r} before, {now!r} now"
    elif golden != now:
        yield f"{place}: {golden!r} before, {now!r} now"


def _count(content: Any) -> int:
    if isinstance(content, Mapping | list):
        return sum(map(_count, content.values() if isinstance(content, Mapping) else content))
    return 1


PARTS: dict[str, Callable[[], Any]] = {"tables": tables, "commands": commands, "sweeps": sweeps}


def main() -> None:
    """Store the golden files, or compare with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["store", "compare"])
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="[all]")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in arguments.parts:
        path, found = arguments.directory / f"{name}.json", json.loads(json.dumps(PARTS[name]()))
        if arguments.what == "store":
            path.write_text(json.dumps(found, indent=1))
            print(f"{name}: {len(found)} entries, {_count(found):,} values stored")
            continue
        differences = list(_differences(json.loads(path.read_text()), found, name))
        print("\n".join(differences[:50]) or f"{name}: {len(found)} entries, {_count(found):,} values, all equal")
        failed |= bool(differences)
    sys.exit(failed)


if __name__ == "__main__":
    main()
