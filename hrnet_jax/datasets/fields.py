"""Reading files that may be wrong: JSON, its fields, arrays, with errors that name file, entry and value."""

import json
import pathlib
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

Record = TypeVar("Record")

# What `get` can ask for.
KINDS: dict[type | tuple[type, ...], str] = {
    int: "an integer",
    (int, float): "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}

INTEGERS = 2**63
"""Whole numbers lie below it: they become 64 bits wide."""

LARGEST = 1e9
"""Of coordinates, sizes and scores: far outside any photo, and far from where float32 ends, squared as well."""

# Control characters, other systems' separators and drives, halves of characters: nothing that photos are called.
_NO_NAME = re.compile(r"[\0-\x1f\x7f\\\ud800-\udfff]|^[A-Za-z]:")

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 100


def shown(value: object) -> str:
    """Returns a value for a message, cut short however long or deep it is."""
    return _brief.repr(value)


def reason(error: Exception) -> str:
    """Returns what another library says is wrong, on one line and cut short."""
    return " ".join(str(error).split())[:300]


def missing(path: pathlib.Path) -> FileNotFoundError:
    """Returns the error for a file that is not there, which tells what is there instead."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    present = sorted(file.name for file in folder.iterdir())
    listed = ", ".join(present[:20]) + ", ..." * (len(present) > 20)
    return FileNotFoundError(f"{path} does not exist; {folder} holds {listed or 'nothing'}")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file, in which no object has a name twice: programs differ in which of the two they take.

    Numbers may be anything that Python reads, NaN and infinity included; `numbers` and `get` refuse these.

    Raises:
      FileNotFoundError: it is missing.
      OSError: it cannot be read.
      ValueError: it is no JSON, or nested without end; all name the file.
    """
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_object)
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}; download or write it again") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} stands twice in {shown(found)}")
    return found


def read_arrays(
    path: pathlib.Path,
    kind: Callable[..., Record],
    columns: Mapping[str, tuple[type[np.generic], tuple[int, ...]]],
) -> Record:
    """Reads a record of arrays, with as many rows each, from a file of a prepared split.

    Args:
      path: an ``.npz`` file.
      kind: makes the record of arrays by name.
      columns: type and shape of each array's rows.

    Raises:
      ValueError: the file is damaged, or holds other arrays.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays}
        if found.keys() != columns.keys():
            raise ValueError(f"it holds {', '.join(found)[:200]} instead of {', '.join(columns)}")
        rows = len(found[next(iter(columns))])
        for name, (dtype, shape) in columns.items():
            array = found[name]
            if array.dtype != dtype or array.shape != (rows, *shape):
                wanted = f"{np.dtype(dtype)} {(rows, *shape)}"
                raise ValueError(f"`{name}` is {array.dtype} {array.shape}, not {wanted}")
    except Exception as error:  # numpy, zipfile and zlib raise what their parsers happen to
        raise ValueError(f"{path} is damaged ({reason(error)}): prepare the split again, with --force") from error
    return kind(**found)


def numbers(value: Any, count: int, what: str) -> list[float]:
    """Returns a list of `count` finite numbers as it is. Raises ValueError beginning with `what` if it is none."""
    good = isinstance(value, list) and len(value) == count
    if not good or not all(type(item) in (int, float) and -LARGEST <= item <= LARGEST for item in value):
        found = f"{len(value)}: {shown(value)}" if isinstance(value, list) else shown(value)
        wanted = "a finite number" if count == 1 else f"{count} finite numbers"
        raise ValueError(f"{what} must be {wanted}, but is {found}; up to {LARGEST:g} are taken")
    return value


def names(value: Any, what: str) -> list[str]:
    """Returns a list of strings as it is. Raises ValueError beginning with `what` if it is none."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{what} must be a list of names, but is {shown(value)}")
    return value


def get(entry: Any, name: str, kind: type | tuple[type, ...], what: str) -> Any:
    """Returns a field of a JSON object, of one of the `KINDS`; numbers are finite and below `INTEGERS`.

    Raises:
      ValueError: beginning with `what`, if the field is missing or of another kind.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{what} must be an object, but is {shown(entry)}")
    if name not in entry:
        raise ValueError(f"{what} has no `{name}`; its fields are {', '.join(entry)[:200]}")
    value = entry[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{what}: `{name}` (={shown(value)}) must be {KINDS[kind]}, not {type(value).__name__}")
    if isinstance(value, (int, float)) and not -INTEGERS <= value < INTEGERS:
        raise ValueError(f"{what}: `{name}` (={shown(value)}) must be finite, and of 64 bits")
    return value


def inner_path(entry: Any, name: str, what: str) -> str:
    """Returns a field that names a photo by its path inside the folder of photos.

    Raises:
      ValueError: beginning with `what`, if it is missing or leads out of the folder.
    """
    value = get(entry, name, str, what)
    path = pathlib.PurePosixPath(value)
    if not path.name or path.is_absolute() or ".." in path.parts or _NO_NAME.search(value):
        raise ValueError(
            f"{what}: `{name}` (={shown(value)}) must be a path inside the folder of photos, such as"
            " 'some/photo.jpg': name the photo by where it lies there, or remove the entry"
        )
    return value
