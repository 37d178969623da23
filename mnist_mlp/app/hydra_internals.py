"""Private parts of Hydra, each with the reason for its use and its replacement.

- `get_overrides_dirname`: updates `hydra.job.override_dirname` in configurations whose numbers are set after
  composition. Replacement: composition of each job, which takes 0.1 s.

The base classes of the plugins are imported in `hydra_plugins/`, since Hydra reloads its own plugins during plugin
discovery; classes imported before would be different objects:

- `BasicSweeper`, `BasicSweeperConf`: splitting of overrides is inherited. Replacement: `hydra.plugins.sweeper.Sweeper`.
- `BasicLauncher`: a stack is launched like jobs in this process. Replacement: `hydra.plugins.launcher.Launcher`.
- `Callbacks`: type of the callbacks that a launcher forwards. Replacement: `Any`.
"""

from hydra._internal.config_loader_impl import get_overrides_dirname

__all__ = ["get_overrides_dirname"]
