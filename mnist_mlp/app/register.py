"""Registration with Hydra before it composes: schema, studies, and the resolvers that `conf/` uses."""

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

MESSAGE_LENGTH = 300  # characters of a library's explanation

# Our launcher files have the names of the plugins' schemas, so that `hydra/launcher=ray` means ours; Hydra 1.3 matches
# the two, as it should, and warns that 1.4 will want it spelt out.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")


def register(experiments: Path) -> dict[str, str]:
    """Give Hydra the schema, the studies, and the resolvers that `conf/` uses.

    Args:
        experiments: Directory of the studies, one YAML file each.

    Returns:
        The studies that cannot be read, each with the reason; Hydra does not know of these.
    """
    store = ConfigStore.instance()
    typed = OmegaConf.structured(schema.Config)
    for group in schema.GROUPS:
        OmegaConf.set_struct(typed[group], False)  # open for the arguments of the group's own target
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
        TypeError: It is no mapping of keys to values, or no sweep.
    """
    content = OmegaConf.load(path)
    if not isinstance(content, DictConfig) or not isinstance(content.get("hydra") or {}, Mapping):
        raise TypeError("expected a mapping of keys to values, also below hydra")
    mode = OmegaConf.select(content, "hydra.mode")
    if mode not in (None, RunMode.MULTIRUN.name):
        raise TypeError(f"hydra.mode={mode}: expected no mode, since a study is a sweep")
    return content


def sweep_dir(dated: str, _root_: DictConfig) -> str:
    """Where a sweep writes: a study in a directory of its name, so that it resumes by itself; others by date."""
    study = _root_.hydra.runtime.choices.get(schema.EXPERIMENT)
    return f"multirun/{study or dated}"


def launch_size(_root_: DictConfig) -> int | None:
    """How many jobs the launcher may have at a time: submitit's local one would start every one of them at once."""
    return cpu_count() if _root_.hydra.runtime.choices["hydra/launcher"] == "submitit_local" else None
