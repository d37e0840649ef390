"""Reading files that may be wrong: JSON, its fields, arrays, with errors that name file, entry and value."""

import collections
import json
import math
import os
import pathlib
import re
import reprlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from etils import epath

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

MOST_UNPACKED = 2**32
"""Bytes that a file of arrays may take; a million boxes for 133 joints take 3.2e9."""

MOST_PACKED = 1032
"""How many times its own size it may take: what claims more is no `deflate`, which comes close for equal boxes."""

LARGEST = 1e9
"""Of coordinates, sizes and scores: far outside any photo, and far from where float32 ends, squared as well."""

# Control characters, other systems' separators and drives, halves of characters: nothing that photos are called.
_NO_NAME = re.compile(r"[\0-\x1f\x7f\\\ud800-\udfff]|^[A-Za-z]:")

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 100


def short_repr(value: object) -> str:
    """Returns a value for a message, cut short however long or deep it is."""
    return _brief.repr(value)


def one_line(error: Exception) -> str:
    """Returns what another library says is wrong, on one line and cut short."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def differences(
    there: Mapping[Any, Any], here: Mapping[Any, Any], wording: str = "`{}` is {!r} there and {!r} here"
) -> dict[Any, str]:
    """Describes the entries in which two mappings differ, sorted by key; NaN equals NaN.

    Args:
      there: one mapping. An entry missing from it counts as None.
      here: the other mapping.
      wording: a format string for a key and its two values.
    """
    pairs = {key: (there.get(key), here.get(key)) for key in sorted(there.keys() | here.keys())}
    return {key: wording.format(key, a, b) for key, (a, b) in pairs.items() if a != b and (a == a or b == b)}


def missing(path: pathlib.Path) -> FileNotFoundError:
    """Returns the error for a file that is not there, which tells what is there instead."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    present = sorted(file.name for file in folder.iterdir())
    listed = ", ".join(present[:20]) + ", ..." * (len(present) > 20)
    return FileNotFoundError(f"{path} does not exist; {folder} holds {listed or 'nothing'}")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file of finite numbers; see `read_odd_json`.

    Raises:
      FileNotFoundError, OSError: as `read_odd_json`.
      ValueError: as there, or a number is not finite.
    """
    found, odd = read_odd_json(path)
    if place := next(odd, ""):
        raise ValueError(f"{path}: {place}, not a finite number: write one, or leave the entry out")
    return found


def read_odd_json(path: pathlib.Path) -> tuple[Any, Iterator[str]]:
    """Reads a JSON file, in which no object has a name twice: programs differ in which of the two they take.

    Returns:
      its content, and where in it NaN and infinity stand, which Python takes, and 1e400, which it makes infinite.
      Whole numbers may be as long as Python reads them. `numbers` and `get` refuse all of these.

    Raises:
      FileNotFoundError: it is missing.
      OSError: it cannot be read, or is a folder, a pipe or a device.
      ValueError: it is no JSON, or nested without end; both name the file.
    """
    check_regular(path)
    try:
        found, odd = _parsed(path.read_bytes())
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole JSON: {error}; download or write it again") from error
    return found, _not_finite(found) if odd else iter(())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = collections.Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{short_repr(twice)} stands twice in {short_repr(found)}")
    return found


def _parsed(content: bytes) -> tuple[Any, bool]:
    """Parses JSON; says whether it has numbers that are not finite."""
    odd = False

    def number(text: str) -> float:
        nonlocal odd
        value = float(text)
        odd = odd or not math.isfinite(value)
        return value

    return json.loads(content, object_pairs_hook=_object, parse_float=number, parse_constant=number), odd


def _not_finite(document: Any) -> Iterator[str]:
    """Yields where in a document infinity and NaN stand: ``it['annotations'][3]['area'] is nan``."""
    pending: list[tuple[Any, tuple]] = [({"": document}, ())]
    while pending:
        outer, path = pending.pop()
        place, inner = "", []
        for key, x in outer.items() if isinstance(outer, dict) else enumerate(outer):
            if isinstance(x, dict | list):
                inner.append((x, (path, key)))
            elif isinstance(x, float) and not math.isfinite(x):
                place = place or _place(path)  # once for all of them
                yield f"{place}{f'[{key!r:.100}]' if path else ''} is {x}"
        pending += reversed(inner)


def _place(path: tuple) -> str:
    """Returns where in a document something lies, cut short: ``it['annotations'][3]``."""
    keys = []
    while path:
        path, key = path
        keys.append(key)
    return "it" + "".join(f"[{key!r:.100}]" for key in keys[-2::-1])[:300]


def check_regular(path: pathlib.Path | epath.Path) -> None:
    """Raises OSError for what is there but no file: a pipe would be waited for, a device read without end."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} cannot be read: it is no regular file; put the file itself there")


def check_packing(entry: zipfile.ZipInfo) -> None:
    """Raises ValueError for an entry of a zip file that is neither stored nor deflated.

    Python unpacks the other kinds whole, whatever size they claim: kilobytes to gigabytes.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        found = f"{entry.filename[:100]!r} is packed by method {entry.compress_type}"
        raise ValueError(f"{found} of zip: pack it by `deflate`, as `zip` does")


def _check_unpacked(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Raises ValueError for what takes more memory than `MOST_UNPACKED`, or than it can be the packing of.

    Args:
      entries: of a zip file.
      size: its bytes; what the entries say of theirs may be wrong.
    """
    for entry in entries:
        check_packing(entry)
    unpacked = sum(entry.file_size for entry in entries)  # no more than that is read, whatever is there
    most = min(MOST_UNPACKED, MOST_PACKED * size)
    if unpacked > most:
        raise ValueError(f"it is {unpacked:,} bytes unpacked, but up to {most:,} are read of one of its size")


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
        check_regular(path)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            _check_unpacked(arrays.zip.infolist(), os.fstat(file.fileno()).st_size)
            if set(arrays.files) != columns.keys():
                raise ValueError(f"it holds {', '.join(arrays.files)[:200]} instead of {', '.join(columns)}")
            found = {name: arrays[name] for name in columns}
        rows = len(found[next(iter(columns))])
        for name, (dtype, shape) in columns.items():
            array = found[name]
            if array.dtype != dtype or array.shape != (rows, *shape):
                wanted = f"{np.dtype(dtype)} {(rows, *shape)}"
                raise ValueError(f"`{name}` is {array.dtype} {array.shape}, not {wanted}")
    except Exception as error:  # numpy, zipfile and zlib raise what their parsers happen to
        raise ValueError(
            f"{path} is damaged ({one_line(error)}): prepare the split again, with --force"
        ) from error
    return kind(**found)


def numbers(value: Any, count: int, what: str) -> list[float]:
    """Returns a list of `count` finite numbers as it is. Raises ValueError beginning with `what` if it is none."""
    good = isinstance(value, list) and len(value) == count
    if not good or not all(type(item) in (int, float) and -LARGEST <= item <= LARGEST for item in value):
        found = f"{len(value)}: {short_repr(value)}" if isinstance(value, list) else short_repr(value)
        wanted = "a finite number" if count == 1 else f"{count} finite numbers"
        raise ValueError(f"{what} must be {wanted}, but is {found}; up to {LARGEST:g} are taken")
    return value


def names(value: Any, what: str) -> list[str]:
    """Returns a list of strings as it is. Raises ValueError beginning with `what` if it is none."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{what} must be a list of names, but is {short_repr(value)}")
    return value


def require(entry: Any, name: str, kind: type | tuple[type, ...], what: str) -> Any:
    """Returns a field of a JSON object, of one of the `KINDS`; numbers are finite and below `INTEGERS`.

    Raises:
      ValueError: beginning with `what`, if the field is missing or of another kind.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{what} must be an object, but is {short_repr(entry)}")
    if name not in entry:
        raise ValueError(f"{what} has no `{name}`; its fields are {', '.join(entry)[:200]}")
    value = entry[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(
            f"{what}: `{name}` (={short_repr(value)}) must be {KINDS[kind]}, not {type(value).__name__}"
        )
    if isinstance(value, (int, float)) and not -INTEGERS <= value < INTEGERS:
        raise ValueError(f"{what}: `{name}` (={short_repr(value)}) must be finite, and of 64 bits")
    return value


def inner_path(entry: Any, name: str, what: str) -> str:
    """Returns a field that names a photo by its path inside the folder of photos.

    Raises:
      ValueError: beginning with `what`, if it is missing or leads out of the folder.
    """
    value = require(entry, name, str, what)
    path = pathlib.PurePosixPath(value)
    if not path.name or path.is_absolute() or ".." in path.parts or _NO_NAME.search(value):
        raise ValueError(
            f"{what}: `{name}` (={short_repr(value)}) must be a path inside the folder of photos, such as"
            " 'some/photo.jpg': name the photo by where it lies there, or remove the entry"
        )
    return value
