"""Training from Python: single runs in this process, and sweeps by `run.py`."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mnist_mlp
from mnist_mlp.base.errors import UserError

if TYPE_CHECKING:  # slow imports; functions import them on demand
    import pandas as pd
    from omegaconf import DictConfig
    from torch import Tensor, nn

    from mnist_mlp.app.frames import Runs

ROOT = Path(mnist_mlp.__file__).parents[1]
TERMINAL = ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "COLUMNS")  # environment variables


@dataclass(frozen=True)
class TrainedRun:
    """Result of a run.

    Attributes:
        status: completed or diverged.
        reason: Reason of a divergence; None if completed.
        metrics: One row per epoch and split, with the columns of `metrics.csv`: epoch, step, split (train, val, test),
            loss (mean cross-entropy in nats), accuracy (fraction), lr, seconds.
        steps: One row per `log_interval` steps: step, epoch, loss, lr.
        config: Configuration.
        model: Trained model in evaluation mode, on the device that it was trained on. It maps images (batch, pixels),
            as floats, to logits (batch, classes).
        directory: Run directory; None if nothing was written.
    """

    status: str
    reason: str | None
    metrics: "pd.DataFrame"
    steps: "pd.DataFrame"
    config: dict[str, Any]
    model: "nn.Module"
    directory: Path | None


@dataclass(frozen=True)
class Images:
    """Images of one split as the network takes them.

    Attributes:
        images: Float32 of shape (n, pixels), in [0, 1] unless `data.normalize` is set.
        labels: Classes, int64 of shape (n,).
    """

    images: "Tensor"
    labels: "Tensor"


@dataclass(frozen=True)
class Data:
    """Splits of a data set.

    Attributes:
        train: Training images.
        val: Validation images; None with `val_size=0`.
        test: Test images.
        classes: Number of classes.
    """

    train: Images
    val: Images | None
    test: Images
    classes: int


def train(*overrides: str, directory: str | Path | None = None, **settings: Any) -> TrainedRun:
    """Train one network in this process. Its threads and random generators are left as they were.

    Args:
        *overrides: Overrides as on the command line, such as `"init=he"` or `"optim.lr=0.1"`.
        directory: Run directory to write; None writes nothing.
        **settings: Overrides of keys without a dot, such as `epochs=3`.

    Raises:
        UserError: A setting is invalid, the data are not available, or the directory holds a run.

    Example:
        >>> run = train("data=digits", "optim=sgd", epochs=1)
        >>> run.metrics["split"].tolist()
        ['train', 'val', 'test', 'train', 'val', 'test']
    """
    import pandas as pd
    import torch

    from mnist_mlp.app.job import start
    from mnist_mlp.base import configuration
    from mnist_mlp.base.provenance import environment
    from mnist_mlp.base.record import COMPLETED, DIVERGED, RUN_FILE, Diverged, Metrics, Recorder, RunWriter, StepLoss
    from mnist_mlp.base.schema import NO_WEIGHTS
    from mnist_mlp.build.from_config import build, find_device
    from mnist_mlp.build.trial import check
    from mnist_mlp.sweeps.job_id import choices, config_hash
    from mnist_mlp.sweeps.jobs import Assignment
    from mnist_mlp.training.seeds import kept_generators

    composed = _composed([*overrides, *_overrides(settings)])
    config, chosen = configuration.plain(composed), choices(composed.hydra)
    if directory is None and config["save"] != NO_WEIGHTS:
        raise UserError(f"save={config['save']}: expected directory=DIR, where the weights are saved")
    if directory is not None and (Path(directory) / RUN_FILE).exists():
        raise UserError(f"directory={directory}: expected a directory without a run")
    with kept_generators():
        check(config)
        recorder = Recorder(list(config["metrics"]))
        if directory is not None:
            words = tuple(composed.hydra.overrides.task)
            recorder = Assignment(config, Path(directory), chosen, words, config_hash(config, chosen)).writer()
        device = find_device(config["device"])
        recorder.describe(environment=environment(str(device), config["threads"]))
        reason = error = None
        try:
            model, records = start(config, build(config, torch.device("cpu")), device, recorder)
            for record in records:
                recorder.write(record)
        except Diverged as diverged:
            reason, error = str(diverged), diverged
        except BaseException as other:
            if isinstance(recorder, RunWriter):
                recorder.end(other)
            raise
        if isinstance(recorder, RunWriter):
            recorder.end(error)
    return TrainedRun(
        status=DIVERGED if error else COMPLETED,
        reason=reason,
        metrics=pd.DataFrame(recorder.rows[Metrics], columns=list(recorder.columns[Metrics])),
        steps=pd.DataFrame(recorder.rows[StepLoss], columns=list(recorder.columns[StepLoss])),
        config=config,
        model=model.eval(),
        directory=None if directory is None else Path(directory),
    )


def load_data(name: str = "mnist", *overrides: str) -> Data:
    """Return a data set as a network takes it, each split with its own arrays.

    Args:
        name: Option of the group `data`: mnist, fashion_mnist, digits, or a user-defined one.
        *overrides: Overrides as on the command line, such as `"data.val_size=0"`.

    Raises:
        UserError: A setting is invalid, or the data are not available.

    Example:
        >>> data = load_data("digits")
        >>> data.train.images.shape, data.classes
        (torch.Size([1248, 64]), 10)
    """
    from mnist_mlp.base import configuration
    from mnist_mlp.build.from_config import load_splits

    splits = load_splits(configuration.plain(_composed([f"data={name}", *overrides]))["data"])
    parts = {
        part: None if split is None else Images(*split.take(slice(None)))
        for part, split in (("train", splits.train), ("val", splits.val), ("test", splits.test))
    }
    assert parts["train"] is not None
    assert parts["test"] is not None
    return Data(parts["train"], parts["val"], parts["test"], splits.classes)


def sweep(*overrides: str, directory: str | Path, progress: bool = True, **settings: Any) -> "Runs":
    """Train a sweep by processes, as `python run.py -m` does, print its progress, and load its results.

    The same call into the same directory trains only what is missing.

    Args:
        *overrides: Overrides as on the command line, such as `"init=he,lecun"`.
        directory: Sweep directory.
        progress: Print the output of the command.
        **settings: Overrides of keys without a dot; several values as a list or a range, such as `seed=range(5)`.

    Raises:
        UserError: The sweep could not begin; the message is that of the command.
        KeyboardInterrupt: The sweep was interrupted; what has been trained stays.

    Example:
        >>> small = {"seed": range(3), "epochs": 1, "save": "last"}
        >>> results = sweep("data=digits", "optim=adam,sgd", directory="multirun/small", progress=False, **small)
        >>> len(results.runs)
        6
    """
    from mnist_mlp.app.frames import load

    words = [*overrides, *_overrides(settings), f"hydra.sweep.dir={directory}"]
    if hidden := [word for word in words if "__main__." in word]:
        raise UserError(f"{hidden[0]}: expected a class in a module. Worker processes cannot see those of __main__.")
    command = [sys.executable, str(_checkout() / "run.py"), "-m", *words]
    # A notebook's kernel asks for colors and narrow lines, as of a terminal.
    environment = {key: value for key, value in os.environ.items() if key not in TERMINAL}
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        last = ""
        try:
            for line in process.stdout:
                last = line.strip() or last
                if progress:
                    print(line, end="", flush=True)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    if process.returncode and last.startswith("error: "):
        raise UserError(last.removeprefix("error: "))
    return load(directory)


def _overrides(settings: dict[str, Any]) -> list[str]:
    """Return settings as overrides; several values, in a list, a tuple or a range, are swept over.

    Several metrics are one value, since all runs of a sweep have them.
    """
    from mnist_mlp.app.grids import override

    words = []
    for key, value in settings.items():
        values = list(value) if isinstance(value, list | tuple | range) else [value]
        text = ",".join(override(key, one).partition("=")[2] for one in values)
        words.append(f"{key}=[{text}]" if key == "metrics" else f"{key}={text}")
    return words


def _checkout() -> Path:
    """Return the directory of `run.py` and `conf/`.

    Raises:
        UserError: The package is installed without them.
    """
    if not (ROOT / "conf").is_dir():
        raise UserError(f"{ROOT / 'conf'}: expected the repository. Install it with pip install -e DIRECTORY.")
    return ROOT


def _composed(words: Sequence[str]) -> "DictConfig":
    """Compose the configuration of one run.

    Raises:
        UserError: An override is invalid, or asks for several runs.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from mnist_mlp.app import messages
    from mnist_mlp.app.register import register
    from mnist_mlp.base import configuration, schema

    if studies := [word for word in words if configuration.key_of(word) == schema.EXPERIMENT]:
        raise UserError(f"{studies[0]}: expected a single run, since a study is a sweep")
    top = _checkout()
    if "schema.yaml" not in ConfigStore.instance().repo:
        register(top / "experiments")
    messages.check_groups(words)
    try:
        with initialize_config_dir(str(top / "conf"), version_base="1.3"):
            return compose("config", list(words), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(messages.explain(error).replace("-m for a sweep", "`sweep` for several")) from error
