"""What Hydra is told before it composes: the schema, the studies, and the resolvers that `conf/` uses."""

import warnings
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from joblib import cpu_count
from omegaconf import DictConfig, OmegaConf

from mnist_mlp.app.cli import usage
from mnist_mlp.run import schema
from mnist_mlp.sweeps.names import job_name

# Our launcher files have the names of the plugins' schemas, so that `hydra/launcher=ray` means ours; Hydra 1.3 matches
# the two, as it should, and warns that 1.4 will want it spelt out.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")


def register(experiments: Path) -> None:
    """Tell Hydra the schema, the studies, and the resolvers that `conf/` uses.

    Args:
        experiments: the folder of the studies, one YAML each.
    """
    store = ConfigStore.instance()
    typed = OmegaConf.structured(schema.Config)
    for group in schema.GROUPS:
        OmegaConf.set_struct(typed[group], False)  # open for the arguments of the group's own target
    store.store(name="schema", node=typed)
    for path in sorted(experiments.glob("*.yaml")):
        study = OmegaConf.merge(OmegaConf.load(path), {"hydra": {"mode": RunMode.MULTIRUN.name}})
        store.store(group=schema.EXPERIMENT, name=path.stem, node=study, package="_global_", provider=str(path))
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
    OmegaConf.register_new_resolver("sweep_dir", sweep_dir, replace=True)
    OmegaConf.register_new_resolver("cores", cpu_count, replace=True)
    OmegaConf.register_new_resolver("unless", lambda given, value: None if given else value, replace=True)
    OmegaConf.register_new_resolver("launch_size", launch_size, replace=True)
    OmegaConf.register_new_resolver("usage", usage, replace=True)


def sweep_dir(dated: str, _root_: DictConfig) -> str:
    """Where a sweep writes: a study in a directory of its name, so that it resumes by itself; others by date."""
    study = _root_.hydra.runtime.choices.get(schema.EXPERIMENT)
    return f"multirun/{study or dated}"


def launch_size(_root_: DictConfig) -> int | None:
    """How many jobs the launcher may have at a time: submitit's local one would start every one of them at once."""
    return cpu_count() if _root_.hydra.runtime.choices["hydra/launcher"] == "submitit_local" else None
