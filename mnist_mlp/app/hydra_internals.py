"""Private parts of Hydra, each with the reason for its use and its replacement.

- `get_overrides_dirname`: updates `hydra.job.override_dirname` in a cached configuration, after its numbers have been
  replaced (see `compose`). Replacement: composing every job with Hydra, at 0.1 s per job.

The base classes of the plugins are imported in `hydra_plugins/` instead. When Hydra discovers plugins, it reloads its
own ones, and classes that were imported before would be different objects:

- `BasicSweeper`, `BasicSweeperConf`: splitting of overrides is inherited. Replacement: `hydra.plugins.sweeper.Sweeper`.
- `BasicLauncher`: base of the stacked launcher, which trains many jobs in this process.
  Replacement: `hydra.plugins.launcher.Launcher`.
- `Callbacks`: type of the callbacks that a launcher forwards. Replacement: `Any`.
"""

from hydra._internal.config_loader_impl import get_overrides_dirname

__all__ = ["get_overrides_dirname"]
