"""Private parts of Hydra, each with the reason for its use and what replaces it.

- `get_overrides_dirname` keeps `hydra.job.override_dirname` right in configurations whose numbers are put in after
  composition. Replacement: to compose every job, 0.1 s each.

The base classes of the plugins are imported in `hydra_plugins/`, since Hydra loads its own plugins anew when it looks
for plugins, and classes from before would be others:

- `BasicSweeper`, `BasicSweeperConf`: splitting overrides is inherited. Replacement: `hydra.plugins.sweeper.Sweeper`.
- `BasicLauncher`: a stack is launched like jobs in this process. Replacement: `hydra.plugins.launcher.Launcher`.
- `Callbacks`: type of the callbacks that a launcher passes on. Replacement: `Any`.
"""

from hydra._internal.config_loader_impl import get_overrides_dirname

__all__ = ["get_overrides_dirname"]
