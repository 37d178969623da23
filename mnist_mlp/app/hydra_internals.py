"""Private parts of Hydra, each with the reason for its use and what replaces it.

- `BasicSweeper`, `BasicSweeperConf`: the project's sweeper is Hydra's own with other jobs; splitting of overrides and
  saving of the sweep's configuration are inherited. Replacement: `hydra.plugins.sweeper.Sweeper` and these two methods.
- `BasicLauncher`: stacks are launched like jobs in this process. Replacement: `hydra.plugins.launcher.Launcher`.
- `Callbacks`: type of the callbacks that a launcher passes on. Replacement: `Any`.
- `get_overrides_dirname`: keeps `hydra.job.override_dirname` right in configurations whose numbers are put in after
  composition. Replacement: to compose every job, 0.1 s each.
"""

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf

__all__ = ["BasicLauncher", "BasicSweeper", "BasicSweeperConf", "Callbacks", "get_overrides_dirname"]
