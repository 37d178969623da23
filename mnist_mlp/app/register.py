"""Registration of the schema, the studies, and the resolvers of `conf/` with Hydra."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import yaml
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from joblib import cpu_count
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_mlp.app.cli import usage
from mnist_mlp.base import schema
from mnist_mlp.sweeps.job_id import job_name

MESSAGE_LENGTH = 300  # characters of a message from a library

# Our launcher files have the names of the plugins' schemas, so that `hydra/launcher=ray` selects ours. Hydra 1.3
# matches the two automatically, as intended here, and warns that Hydra 1.4 requires an explicit entry.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")


def register(experiments: Path) -> dict[str, str]:
    """Register the schema, the studies, and the resolvers of `conf/` with Hydra.

    Args:
        experiments: Directory of the studies, one YAML file each.

    Returns:
        Names of the studies that cannot be read, each with the reason; these are not registered.
    """
    store = ConfigStore.instance()
    typed = OmegaConf.structured(schema.Config)
    for group in schema.GROUPS:
        OmegaConf.set_struct(typed[group], False)  # accepts the arguments of the target
    store.store(name="schema", node=typed)
    broken = {}
    for path in sorted(experiments.glob("*.yaml")):
        try:
            study = OmegaConf.merge(_mapping(path), {"hydra": {"mode": RunMode.MULTIRUN.name}})
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
            why = " ".join(str(error).split()).partition(" full_key:")[0]
            broken[path.stem] = f"{path}: {why[:MESSAGE_LENGTH]}"
            continue
        store.store(group=schema.EXPERIMENT, name=path.stem, node=study, package="_global_", provider=str(path))
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
    OmegaConf.register_new_resolver("sweep_dir", sweep_dir, replace=True)
    OmegaConf.register_new_resolver("cores", cpu_count, replace=True)
    OmegaConf.register_new_resolver("unless", lambda given, value: None if given else value, replace=True)
    OmegaConf.register_new_resolver("launch_size", launch_size, replace=True)
    OmegaConf.register_new_resolver("usage", usage, replace=True)
    return broken


def _mapping(path: Path) -> DictConfig:
    """Read a study.

    Raises:
        TypeError: The content is not a mapping of keys to values, or not a sweep.
    """
    content = OmegaConf.load(path)
    if not isinstance(content, DictConfig) or not isinstance(content.get("hydra") or {}, Mapping):
        raise TypeError("expected a mapping of keys to values, also below hydra")
    mode = OmegaConf.select(content, "hydra.mode")
    if mode not in (None, RunMode.MULTIRUN.name):
        raise TypeError(f"hydra.mode={mode}: expected no mode, since a study is a sweep")
    return content


def sweep_dir(dated: str, _root_: DictConfig) -> str:
    """Return the default sweep directory, named by the study or by the date.

    A study has the same directory each time, so that a repeated command resumes it.

    Args:
        dated: Name from date and time.
    """
    study = _root_.hydra.runtime.choices.get(schema.EXPERIMENT)
    return f"multirun/{study or dated}"


def launch_size(_root_: DictConfig) -> int | None:
    """Return the default number of jobs per launch: one per core for `submitit_local`, which starts all at once."""
    return cpu_count() if _root_.hydra.runtime.choices["hydra/launcher"] == "submitit_local" else None
