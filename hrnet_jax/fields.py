"""Fields of a configuration, and values that a configuration names."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a configuration.

    Attributes:
      default: its value unless a row or the command line gives another.
      help: meaning, unit and source.
      minimum: least value of an integer field, None for fields of other types.
      resumable: True if a resumed run may have another value, since it does not affect the weights beyond
        rounding.
      extendable: True if ``train.py --extend`` may change it: length and learning rate of a run.
      network: True if weights fit only a network with the same value.
      items: types of the items of a tuple.
      code: True if the value names a function or class, which may be ``module:name`` of the user.
    """

    default: Any
    help: str
    minimum: int | None = None
    resumable: bool = False
    extendable: bool = False
    network: bool = False
    items: tuple[type, ...] = (int,)
    code: bool = False


def find(field: str, name: str, known: Mapping[str, Value]) -> Value:
    """Returns the value that a field of a configuration names.

    Args:
      field: full name of the field, for the error.
      name: a key of `known`, or ``module:name`` for a value in a module of the user. Modules are imported from
        Python's path and from the directory of ``--config``.
      known: the package's own values.

    Raises:
      ValueError: there is no such value.
    """
    if name in known:
        return known[name]
    module, _, attribute = str(name).partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"`{field}` (={name!r}) must be one of {', '.join(known)}, or `module:name` of your own ({error})"
        ) from error
    example = next(iter(known.values()))
    if not (callable(found) if callable(example) else isinstance(found, type(example))):
        expected = "a function or class" if callable(example) else f"a {type(example).__name__}"
        raise ValueError(f"`{field}` (={name!r}) is {type(found).__name__} {found!s:.60}, and must be {expected}")
    return found
