"""How jobs are named, guarded and summed up: the module that knows Hydra."""

import hashlib
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_mlp import config as schema
from mnist_mlp.config import UserError
from mnist_mlp.record import COMPLETED, DIVERGED, FAILED, Diverged, RunWriter

log = logging.getLogger(__name__)

PREFIX_LENGTH = 80  # characters of a job's readable prefix; file systems allow 255 bytes a name


class JobFailed(Exception):
    """A run raised; its traceback has been logged already."""


def register() -> None:
    """Tell Hydra the schema and the resolvers that `conf/` uses."""
    typed = OmegaConf.structured(schema.Config)
    for group in schema.GROUPS:
        OmegaConf.set_struct(typed[group], False)  # open for the arguments of the group's own target
    ConfigStore.instance().store(name="schema", node=typed)
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
    OmegaConf.register_new_resolver("usage", usage, replace=True)


def application(config: DictConfig) -> DictConfig:
    """A composed configuration without Hydra's own part."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def choices(hydra: Any) -> dict[str, str]:
    """The option chosen in each group: what a report calls the run's initialisation, optimizer, model and data."""
    return {group: hydra.runtime.choices[group] for group in schema.GROUPS}


def config_hash(config: DictConfig, chosen: Mapping[str, str]) -> str:
    """SHA-256, hexadecimal, of what decides a run's result and its place in a report.

    Two configurations share it exactly when they differ in nothing but keys that cannot change a result. The names of
    the options count, as two options of equal content are still two cells of a comparison.
    """
    decisive = {"choices": dict(chosen), "config": schema.identity(schema.plain(config))}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def job_name(_root_: DictConfig) -> str:
    """A directory name: a readable prefix, and eight digits of the configuration's hash.

    Both come from the composed configuration, not from the overrides, so that a default stated or left out is one job.
    """
    chosen, config = choices(_root_.hydra), application(_root_)
    words = [chosen["init"], chosen["optim"], f"lr{_shown(schema.plain(config), 'optim.lr')}", f"seed{config.seed}"]
    prefix = re.sub(r"[^A-Za-z0-9._]+", "-", "_".join(words)).lstrip("-._")
    return f"{prefix[:PREFIX_LENGTH]}-{config_hash(config, chosen)[:8]}"


def usage(_root_: DictConfig) -> str:
    """The text of `--help`, with the values of the composed configuration; Hydra fills in the $ names."""
    tree = schema.plain(application(_root_))
    rows = [(f"{key}={_shown(tree, key)}", text) for key, text in schema.describe()]
    width = max(len(assignment) for assignment, _ in rows)
    settings = "\n".join(f"  {assignment:<{width}}  {text}" for assignment, text in rows)
    return f"""\
Train a multi-layer perceptron; compare weight initialisations and optimizers.

  python run.py optim=radam seed=3                      one run, under outputs/
  python run.py -m init=he,lecun optim=adam,sgd         every combination, under multirun/, with a report
  python run.py --cfg job optim=sgd                     show a configuration, run nothing
  python report.py                                      report again on the newest sweep

== Groups: choose by group=option ==

$APP_CONFIG_GROUPS

== Settings: change by key=value ==

{settings}

Besides these, optim.*, model.*, init.* and data.* take every argument of the chosen option's own target, such as
optim.betas=[0.9,0.98]; what is empty above, the default option has not. Hydra's own flags: python run.py --hydra-help
"""


def _shown(tree: Any, key: str) -> str:
    for part in key.split("."):
        if part not in tree:
            return ""
        tree = tree[part]
    return json.dumps(tree).strip('"')


def run_job(config: DictConfig, run: Callable[[DictConfig, RunWriter], None]) -> None:
    """Run one job into Hydra's output directory, and write down how it ended.

    In a sweep a failure is recorded and the other jobs go on; alone, it raises.

    Args:
        config: the composed configuration.
        run: trains, and writes its records.

    Raises:
        JobFailed: `run` raised, and this is no sweep.
    """
    hydra = HydraConfig.get()
    chosen = choices(hydra)
    log.info("%s", hydra.runtime.output_dir)
    with RunWriter(hydra.runtime.output_dir) as writer:
        writer.describe(config_hash=config_hash(config, chosen), choices=chosen, config=schema.plain(config))
        try:
            run(config, writer)
        except Diverged as error:
            log.warning("diverged: %s", error)
            writer.finish(DIVERGED, str(error))
        except Exception as error:
            log.exception("failed")
            writer.describe(traceback=traceback.format_exc())
            writer.finish(FAILED, f"{type(error).__name__}: {error}")
            if hydra.mode == RunMode.RUN:
                raise JobFailed(hydra.runtime.output_dir) from error
        else:
            writer.finish(COMPLETED)


class ChecksAndReport(Callback):
    """Checks a single run before anything is written; sums up a sweep after its last job."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """End at once, with a message, where the configuration cannot work."""
        try:
            check(config)
        except UserError as error:
            sys.exit(f"error: {error}")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the report, print the leaderboard, and end with status 1 where a job did not."""
        from mnist_mlp.report import report_on

        report = report_on([Path(config.hydra.sweep.dir)])
        if report.unfinished:
            sys.exit(1)


def check(config: DictConfig) -> None:
    """Raise `UserError` where a composed configuration cannot work; what `run_job` would build is built."""
    from mnist_mlp import build

    build.check(application(config))


def cli(main: Callable[[], None]) -> None:
    """Call the decorated main function; end with one message, and no traceback, where the user can put it right.

    HYDRA_FULL_ERROR=1 in the environment shows every traceback.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        return main()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # lets exceptions through, so that all are put into words in one place
    try:
        main()
    except JobFailed as error:
        sys.exit(f"error: the run failed; see {error}/run.log")
    except UserError as error:
        sys.exit(f"error: {error}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {explain(error)}")


def explain(error: Exception) -> str:
    """What was wrong with a configuration that Hydra refused, in this project's words."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option}: there is no such option; allowed are {', '.join(error.options)}"
    if not isinstance(error, ConfigCompositionException):
        return text
    if wrong := re.match(r"Error merging override \+*([^=]+)=(.*)", text):
        key, value = wrong.groups()
        if setting := schema.find_setting(key):
            return f"{key}={value}: allowed is {schema.allowed(setting)}"
    if wrong := re.match(r"Could not override '([^'.]+)'\.\nTo append to your config use \+[^=]*=(.*)", text):
        key, value = wrong.groups()
        return schema.unknown_key(key, value, schema.KEYS)
    return f"{text}\n{error.__cause__ or ''}".strip()
