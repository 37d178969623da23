"""Sweeps over weight initialization and optimizer on small image classifiers.

From Python:

- `train` trains one network in this process, and `sweep` many of them by processes;
- `load` reads the runs of a sweep as data frames, `compare` compares its cells, and `plot` draws them;
- `load_model` and `load_data` return a trained model, and images as it takes them.

Nothing heavy is imported before one of these is used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.5.0"

if TYPE_CHECKING:
    from mnist_mlp.app import plot
    from mnist_mlp.app.frames import compare, load
    from mnist_mlp.app.library import load_data, sweep, train
    from mnist_mlp.build.stored import load_model

__all__ = ["compare", "load", "load_data", "load_model", "plot", "sweep", "train"]

_MODULES = {
    **dict.fromkeys(("compare", "load"), "mnist_mlp.app.frames"),
    **dict.fromkeys(("load_data", "sweep", "train"), "mnist_mlp.app.library"),
    "load_model": "mnist_mlp.build.stored",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "plot":
        return import_module("mnist_mlp.app.plot")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
