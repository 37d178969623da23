"""Temporary changes of environment variables, which child processes inherit.

The only module that changes `os.environ`. It imports little, since `mnist_mlp.base.interrupts` must load first.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


@contextmanager
def environment_variables(**values: str) -> Iterator[None]:
    """Set environment variables, and restore the previous values on exit.

    Args:
        values: Value of each variable, by name.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def prepend_path(name: str, directory: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Put a directory first in a search path such as PYTHONPATH, and restore the variable on exit.

    Args:
        name: Environment variable; its entries are separated by `os.pathsep`.
        directory: Entry to search before all others.
    """
    return environment_variables(**{name: os.pathsep.join(filter(None, [os.fspath(directory), os.environ.get(name)]))})
