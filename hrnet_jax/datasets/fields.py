"""Reading files that may be wrong: JSON, its fields, arrays, with errors that name file, entry and value."""

import json
import math
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Record = TypeVar("Record")

# What `get` can ask for.
KINDS: dict[type | tuple[type, ...], str] = {
    int: "an integer",
    (int, float): "a number",
    str: "a string",
    list: "a list",
}


def missing(path: pathlib.Path) -> FileNotFoundError:
    """Returns the error for a file that is not there, which tells what is there instead."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    present = sorted(file.name for file in folder.iterdir())
    listed = ", ".join(present[:20]) + ", ..." * (len(present) > 20)
    return FileNotFoundError(f"{path} does not exist; {folder} holds {listed or 'nothing'}")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file.

    Raises:
      FileNotFoundError: it is missing.
      ValueError: it is no JSON; both name the file.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise missing(path) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}; download or write it again") from error


def read_arrays(path: pathlib.Path, kind: Callable[..., Record]) -> Record:
    """Reads a record of arrays from a file of a prepared split.

    Raises:
      ValueError: the file is damaged, or holds other arrays.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return kind(**arrays)
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}): prepare the split again, with --force") from error


def numbers(value: Any, count: int, what: str) -> list[float]:
    """Returns a list of `count` finite numbers as it is. Raises ValueError beginning with `what` if it is none."""
    good = isinstance(value, list) and len(value) == count
    if not good or not all(type(item) in (int, float) and math.isfinite(item) for item in value):
        found = f"{len(value)}: {value}" if isinstance(value, list) else repr(value)
        wanted = "a finite number" if count == 1 else f"{count} finite numbers"
        raise ValueError(f"{what} must be {wanted}, but is {found[:200]}")
    return value


def get(entry: Any, name: str, kind: type | tuple[type, ...], what: str) -> Any:
    """Returns a field of a JSON object, of one of the `KINDS`.

    Raises:
      ValueError: beginning with `what`, if the field is missing or of another kind.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{what} must be an object, but is {entry!r:.200}")
    if name not in entry:
        raise ValueError(f"{what} has no `{name}`; its fields are {', '.join(entry)}")
    value = entry[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{what}: `{name}` (={value!r:.200}) must be {KINDS[kind]}, not {type(value).__name__}")
    return value


def inner_path(entry: Any, name: str, what: str) -> str:
    """Returns a field that names a photo by its path inside the folder of photos.

    Raises:
      ValueError: beginning with `what`, if it is missing or leads out of the folder.
    """
    value = get(entry, name, str, what)
    path = pathlib.PurePosixPath(value)
    if not path.name or path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ValueError(f"{what}: `{name}` (={value!r}) must be a path inside the folder of photos")
    return value
