"""Command line of `run.py`: text of `--help`, and one-line messages for invalid commands."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mnist_mlp.app import messages
from mnist_mlp.base import configuration, schema
from mnist_mlp.base.environ import environment_variables
from mnist_mlp.base.errors import UserError, in_words
from mnist_mlp.base.interrupts import INTERRUPTED
from mnist_mlp.base.provenance import find_modules_in
from mnist_mlp.base.startup import escape_unencodable_output

FLAGS_WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    "--experimental-rerun",
)
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def usage(_root_: DictConfig) -> str:
    """Return the text of `--help` with the values of the composed configuration. Hydra substitutes names with a $."""
    tree = configuration.plain(_root_)
    rows = [(f"{key}={configuration.shown(tree, key)}", text) for key, text in schema.describe()]
    width = max(len(assignment) for assignment, _ in rows)
    settings = "\n".join(f"  {assignment:<{width}}  {text}" for assignment, text in rows)
    return f"""\
Train a multi-layer perceptron; compare weight initializations and optimizers.

  python run.py optim=radam seed=3                      one run, under outputs/
  python run.py -m init=he,lecun optim=adam,sgd         every combination, under multirun/, with a report
  python run.py -m optim=adam,sgd 'hydra.sweeper.grids={{adam:{{optim.lr:[1e-3,1e-2]}},sgd:{{optim.lr:[0.1,1]}}}}'
                                                        a grid for each optimizer
  python run.py --cfg job optim=sgd                     print a configuration without running
  python report.py                                      report again on the newest sweep

== Groups: select by group=option ==

$APP_CONFIG_GROUPS

== Settings: change by key=value ==

{settings}

== Sweeps: change by hydra.sweeper.KEY=VALUE ==

  grids={{OPTIM:{{KEY:[VALUE,…]}}}}          values to try with one optimizer only
  trials=N                               trials of a search over intervals, such as 'optim.lr=tag(log,interval(1e-4,1))'
  compare=[init,optim,KEY]               keys whose combinations are the cells; other keys are tuned within a cell
  confirm=true, confirm={{epochs:10}}      retrain each seed's selection with a fresh seed, and score only these runs
  select=once                            one selection per cell, by the mean over its seeds [each]
  until_decided=true                     add seeds to cells until they are significantly worse than the best: batch=5
                                         at a time, up to max_seeds=50
  margin=POINTS                          equivalence margin of the report, in percentage points
  and hydra.sweep.dir=DIR                sweep directory; the same directory resumes a sweep

== Where sweeps run: hydra/launcher=NAME ==

  joblib (default: one job per core), basic (one after another), stacked (as one batch of networks, for a GPU;
  hydra.launcher.memory=GiB limits a stack), ray, submitit_local, submitit_slurm

optim.*, schedule.*, model.*, init.* and data.* also take all other arguments of the selected option's target, such as
optim.betas=[0.9,0.98]. Settings shown without a value do not apply to the default option. Hydra's flags:
python run.py --hydra-help
"""


def call(main: Callable[[], None], broken_studies: Mapping[str, str] = MappingProxyType({})) -> None:
    """Call the main function; for errors that the user can correct, exit with one message instead of a traceback.

    HYDRA_FULL_ERROR=1 in the environment shows all tracebacks.

    Args:
        main: Main function, decorated with `hydra.main`.
        broken_studies: Names of the studies that cannot be read, each with the reason.
    """
    escape_unencodable_output()
    if not __debug__:
        sys.exit("error: PYTHONOPTIMIZE, python -O: expected neither. Hydra's parser relies on assertions.")
    find_modules_in(str(Path.cwd()))  # Python itself looks beside run.py only
    sys.argv[1:] = flags_first(sys.argv[1:])
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        return main()
    for study in (one.partition("=")[2] for one in sys.argv[1:] if configuration.key_of(one) == schema.EXPERIMENT):
        if "," in study:  # Hydra would merge the studies and sweep over the parameters of neither
            sys.exit(f"error: experiment={study}: expected one study, since each has its own parameters")
        if study in broken_studies:
            sys.exit(f"error: {schema.EXPERIMENT}={study}: {broken_studies[study]}")
    try:
        messages.check_groups(sys.argv[1:])
        with environment_variables(HYDRA_FULL_ERROR="1"):  # makes Hydra raise its exceptions instead of printing them
            main()
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        sys.exit(f"error: {messages.explain(error)}")
    except BrokenPipeError:  # the reader of standard output, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (UserError, OSError) as error:  # OSError: such as a path that is not writable
        sys.exit(f"error: {in_words(error)}")
    except KeyboardInterrupt:  # from a library that has replaced our handler
        print("\ninterrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not messages.is_of_hydra(error):
            raise
        sys.exit(f"error: {messages.explain(error)}")


def flags_first(arguments: Sequence[str]) -> list[str]:
    """Move Hydra's flags before the overrides, since Hydra rejects flags between overrides.

    Args:
        arguments: Command line without the program.
    """
    flags, overrides, waiting = [], [], list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        is_short = argument.startswith(("--c", "--pa"))  # abbreviations that argparse accepts
        if waiting and (argument in FLAGS_WITH_VALUE or (is_short and "=" not in argument)):
            flags.append(waiting.pop(0))
        elif argument in ("--info", "-i"):  # the value is optional
            flags[-1] = f"--info={waiting.pop(0) if waiting and waiting[0] in INFO else INFO[0]}"
    return [*flags, *overrides]
