"""Errors that a user can correct, and their messages."""

from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right; the message alone is shown, without a traceback."""


class ConfigError(UserError):
    """A setting that cannot work: the message names the key, its value and what is allowed."""


class InvalidArgument(ValueError):
    """An argument outside what its function allows.

    Args:
        name: the parameter's name.
        value: what was given.
        allowed: what would have been accepted, in words.
    """

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name}={value}: allowed is {allowed}")


class InvalidData(ValueError):
    """A data set that gives no result; the message is the rest of a sentence that begins with its name.

    Args:
        expected: What would have been accepted.
        found: Sentence that says what was found.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}. {found}")


def name_of(function: Callable[..., object]) -> str:
    """What a function is called, though some of its arguments are bound."""
    return str(getattr(getattr(function, "func", function), "__name__", function))


def in_words(error: Exception) -> str:
    """The message for a user: of the system's errors, the file that they are about and why."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
