"""What the user of `run.py` reads: the text of `--help`, and one message for whatever was asked wrongly."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import MISSING, DictConfig
from omegaconf.errors import OmegaConfBaseException

from mnist_mlp.run import configuration, schema
from mnist_mlp.run.environ import environment_variables
from mnist_mlp.run.environment import extra_with, find_modules_in
from mnist_mlp.run.errors import UserError, in_words
from mnist_mlp.run.interrupts import INTERRUPTED

SWEEPER_KEYS = tuple(
    f"hydra.sweeper.{key}"
    for key in ("grids", "trials", "compare", "confirm", "select", "until_decided", "max_seeds", "batch", "margin")
)


def usage(_root_: DictConfig) -> str:
    """The text of `--help`, with the values of the composed configuration; Hydra fills in the $ names."""
    tree = configuration.plain(_root_)
    rows = [(f"{key}={configuration.shown(tree, key)}", text) for key, text in schema.describe()]
    width = max(len(assignment) for assignment, _ in rows)
    settings = "\n".join(f"  {assignment:<{width}}  {text}" for assignment, text in rows)
    return f"""\
Train a multi-layer perceptron; compare weight initialisations and optimizers.

  python run.py optim=radam seed=3                      one run, under outputs/
  python run.py -m init=he,lecun optim=adam,sgd         every combination, under multirun/, with a report
  python run.py -m optim=adam,sgd 'hydra.sweeper.grids={{adam:{{optim.lr:[1e-3,1e-2]}},sgd:{{optim.lr:[0.1,1]}}}}'
                                                        a grid for each optimizer
  python run.py --cfg job optim=sgd                     show a configuration, run nothing
  python report.py                                      report again on the newest sweep

== Groups: choose by group=option ==

$APP_CONFIG_GROUPS

== Settings: change by key=value ==

{settings}

== Sweeps: change by hydra.sweeper.KEY=VALUE ==

  grids={{OPTIM:{{KEY:[VALUE,…]}}}}          values of one optimizer alone
  trials=N                               settings to try of intervals, such as 'optim.lr=tag(log,interval(1e-4,1))'
  compare=[init,optim,KEY]               keys whose combinations are the cells; other keys are tuned within a cell
  confirm=true, confirm={{epochs:10}}      retrain what each seed selects with a fresh seed, and score that
  select=once                            one selection per cell, by the mean over its seeds [each]
  until_decided=true                     add seeds until cells are told apart: batch=5 at a time, up to max_seeds=50;
                                         with margin=POINTS, or shown to be equivalent
  and hydra.sweep.dir=DIR                where to, and where from to go on

== Where sweeps run: hydra/launcher=NAME ==

  joblib (default: one job a core), basic (one after another), stacked (as one batch of networks, for a GPU;
  hydra.launcher.memory=GiB limits a stack), ray, submitit_local, submitit_slurm

Besides these, optim.*, schedule.*, model.*, init.* and data.* take every argument of the chosen option's own target,
such as optim.betas=[0.9,0.98]; what is empty above, the default option has not. Hydra's own flags: python run.py
--hydra-help
"""


def call(main: Callable[[], None]) -> None:
    """Call the decorated main function; end with one message, and no traceback, where the user can put it right.

    HYDRA_FULL_ERROR=1 in the environment shows every traceback.
    """
    find_modules_in(str(Path.cwd()))  # Python itself looks beside run.py only
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        return main()
    if any(re.match(rf"\+*{schema.EXPERIMENT}=.*,", argument) for argument in sys.argv[1:]):
        # Hydra would compose them over one another and sweep over neither's parameters.
        sys.exit("error: experiment=A,B: allowed is one study at a time, as each has parameters of its own")
    try:
        with environment_variables(HYDRA_FULL_ERROR="1"):  # Hydra lets exceptions through, to be explained here
            main()
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {explain(error)}")
    except BrokenPipeError:  # whoever reads what is printed has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (UserError, OSError, yaml.YAMLError) as error:  # also a path that cannot be written, a file that is no YAML
        sys.exit(f"error: {in_words(error)}")
    except RuntimeError as error:
        missing = re.search(r"Unknown plugin class : 'hydra_plugins\.hydra_(\w+?)_(launcher|sweeper)\.", str(error))
        if not missing:
            raise
        extra, kind = missing.groups()
        sys.exit(f"error: hydra/{kind}: {extra} is not installed; pip install -e '.[{extra}]' brings it")
    except ValueError as error:
        if "Only one of --run, --multirun, --cfg, --info" in str(error):
            sys.exit(
                "error: --cfg and --info show a single run: leave out -m and give each key one value, as in "
                "python run.py --cfg job init=he; dry_run=true lists the jobs of a sweep"
            )
        nulls = [argument for argument in sys.argv if argument in {f"{group}=null" for group in schema.GROUPS}]
        if not nulls:
            raise
        sys.exit(f"error: {nulls[0]}: allowed is one of the group's options, as --help lists them ({error})")
    except KeyboardInterrupt:  # from a library that has put a handler of its own in place of ours
        print("\ninterrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def explain(error: Exception) -> str:
    """What was wrong with a configuration that Hydra refused, in this project's words."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        plugin = f"hydra-{option.partition('_')[0]}-{group.removeprefix('hydra/')}"
        if extra := extra_with(plugin):
            return f"{group}={option}: it is not installed; pip install -e '.[{extra}]' brings it"
        hint = schema.nearest(option, error.options)
        return f"{group}={option}: there is no such option{hint}; allowed are {', '.join(error.options)}"
    if wrong := re.match(r"Sweeping over Hydra's configuration is not supported : '([^=]+)=(.*)'", text):
        key, value = wrong.groups()
        return f"{key}={value}: expected one value. A list is written in brackets, as in '{key}=[{value}]'"
    if wrong := re.match(r"Ambiguous value for argument '(.*)'", text):
        return (
            f"{wrong.group(1)}: several values make a sweep, by -m; --help, --cfg and --info go with one value a key; "
            "a list is written as key=[a,b], a text with a comma as key=\\'a,b\\'"
        )
    if re.match(r"(mismatched|extraneous|no viable alternative at) input|token recognition error", text):
        return (
            f"{text.splitlines()[0]}: this is none of Hydra's overrides; a shell takes braces, brackets, parentheses "
            "and blanks apart unless the whole argument is quoted, as 'hydra.sweeper.grids={sgd:{optim.lr:[0.1,1]}}'"
        )
    if wrong := re.match(r"(?:Error parsing override '|LexerNoViableAltException: )(.*?)'?\n", text):
        return (
            f"{wrong.group(1)}: allowed is KEY=VALUE, without blanks around the =; an argument that has a blank in it "
            "is quoted as a whole"
        )
    if not isinstance(error, ConfigCompositionException):
        return text
    if wrong := re.match(r"Error merging override \+*([^=]+)=(.*)", text):
        key, value = wrong.groups()
        if setting := schema.find_setting(key):
            return f"{key}={value}: allowed is {schema.allowed(setting)}"
        if error.__cause__:
            why = str(error.__cause__).splitlines()[0]
            why = why.replace("Cannot merge DictConfig with ListConfig", "allowed is {key:value}, and no list")
            return f"{key}={value}: {why}"
    if wrong := re.match(r"Could not override '(hydra\.launcher\.[^']+)'", text):
        key = wrong.group(1)
        return f"{key}: this launcher has no such key; python run.py --cfg hydra -p hydra.launcher lists what it has"
    if wrong := re.match(r"Could not override '([^'@]+)'\.\nTo append to your config use \+[^=]*=(.*)", text):
        key, value = wrong.groups()
        if key.startswith("hydra."):
            hint = schema.nearest(key, SWEEPER_KEYS)
            return f"{key}={value}: there is no such key{hint}; python run.py --cfg hydra lists what Hydra has"
        return schema.unknown_key(key, value, _beside(key))
    if wrong := re.match(r"In '(\S+)': .*\n(.*)\n +full_key: (\S*)", text):  # in a study, or an option of a group
        place, why, key = wrong.groups()
        if setting := schema.find_setting(key):
            why = f"{key}: allowed is {schema.allowed(setting)}"
        elif re.match("Key '.*' not in", why):
            why = schema.unknown_key(key, MISSING, _beside(key))
        return f"{place.replace('/', '=')}: {why}"
    return f"{text}\n{error.__cause__ or ''}".strip()


def _beside(key: str) -> Sequence[str]:
    """The keys among which one belongs that does not exist: those of its mapping, if there is such a one."""
    head = key.partition(".")[0]
    return [path for path, _ in schema.describe() if path.startswith(f"{head}.")] or [*schema.KEYS, schema.EXPERIMENT]
