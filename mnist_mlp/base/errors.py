"""Errors that a user can correct, and their messages."""

from collections.abc import Callable


class UserError(Exception):
    """An error that the user can correct; only its message is shown, without a traceback."""


class ConfigError(UserError):
    """An invalid setting; the message names the key, its value and what was expected."""


class InvalidArgument(ValueError):
    """An argument that a function does not accept.

    Args:
        name: Name of the parameter.
        value: Given value.
        allowed: Expectation that completes "expected …", such as "a number in [0, 1)".
    """

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name}={value}: expected {allowed}")


class InvalidData(ValueError):
    """A data set that cannot be trained on; the message is to be preceded by the name of the data set.

    Args:
        expected: Expectation that completes "expected …".
        found: Sentence that describes the actual data.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}. {found}")


def name_of(function: Callable[..., object]) -> str:
    """Return the name of a function, looking through `functools.partial`."""
    return str(getattr(getattr(function, "func", function), "__name__", function))


def in_words(error: Exception) -> str:
    """Return the message of an error for the user; for an OSError, the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
