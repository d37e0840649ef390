"""Validated reading of JSON and arrays. Errors name the file, the entry and the value."""

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

from hrnet_jax import file_kinds

Record = TypeVar("Record")

OnError = Callable[[str, Any, str], None]
"""Called by the readers of annotations for each error, with its kind, the entry's id or row, and a message."""

KINDS = {
    **{int: "an integer", (int, float): "a number", str: "a string", list: "a list", dict: "an object"},
    (int, float, str): "a number or a name",
}
"""The types that `require` can check."""

INT64_LIMIT = 2**63  # integers must fit in int64
MAX_UNPACKED = 2**32  # bytes of a file of arrays, unpacked: a million boxes for 133 joints take 3.2e9
MAX_COMPRESSION = 1032  # unpacked to packed bytes: the limit of `deflate`, so other files are damaged or malicious
MAX_NUMBER = 1e9  # of coordinates, sizes and scores: no photo is that large, and the square still fits in float32

# Control characters, backslashes, drive letters and unpaired surrogates: no photo has them in its name.
_BAD_NAME = re.compile(r"[\0-\x1f\x7f\\\ud800-\udfff]|^[A-Za-z]:")

MAX_REPR = 200  # characters of a value in a message
MAX_MESSAGES = 5  # of one kind, in an error that lists all kinds

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 100


def raise_error(path: pathlib.Path) -> OnError:
    """Returns the handler that raises the first error of a file as ValueError."""

    def on_error(kind: str, entry: Any, message: str) -> None:
        del kind, entry
        raise ValueError(f"{path}: {message}")

    return on_error


class ErrorCollector:
    """The handler that collects all errors of a file by kind.

    `entries` are the ids or rows of the entries, `first` is the first message, `messages` are a few.
    """

    def __init__(self):
        self.entries: dict[str, list[Any]] = collections.defaultdict(list)
        self.first: dict[str, str] = collections.defaultdict(str)
        self.messages: dict[str, list[str]] = collections.defaultdict(list)

    def __call__(self, kind: str, entry: Any, message: str) -> None:
        """Adds an error; see `OnError`."""
        self.entries[kind].append(entry)
        self.first.setdefault(kind, message)
        if len(self.messages[kind]) < MAX_MESSAGES:
            self.messages[kind].append(message)

    def raise_any(self, path: pathlib.Path) -> None:
        """Raises ValueError with all errors of the file, a few of each kind, if there are any."""
        lines = [message for messages in self.messages.values() for message in messages]
        total = sum(map(len, self.entries.values()))
        if total == 1:
            raise ValueError(f"{path}: {lines[0]}")
        if total:
            rest = total - len(lines)
            more = [f"and {rest:,} more; `python -m hrnet_jax.doctor` counts them by kind"] * (rest > 0)
            raise ValueError("\n  ".join([f"{path}: {total:,} entries are refused:", *lines, *more]))


def short_repr(value: object) -> str:
    """Returns the repr of a value, shortened for a message."""
    text = _short.repr(value)
    return text if len(text) <= MAX_REPR else f"{text[: MAX_REPR - 3]}..."


def one_line(error: Exception) -> str:
    """Returns the message of another library's error, shortened to one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def differences(
    there: Mapping[Any, Any], here: Mapping[Any, Any], wording: str = "`{}` is {!r} there and {!r} here"
) -> dict[Any, str]:
    """Describes the entries in which two mappings differ, sorted by key. NaN equals NaN, a missing entry is None.

    The wording is a format string for a key and its two values.
    """
    pairs = {key: (there.get(key), here.get(key)) for key in sorted(there.keys() | here.keys())}
    return {key: wording.format(key, a, b) for key, (a, b) in pairs.items() if a != b and (a == a or b == b)}


def missing(path: pathlib.Path) -> FileNotFoundError:
    """Returns the error for a missing file. It lists the files that are there instead."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    present = sorted(file.name for file in folder.iterdir())
    listed = ", ".join(present[:20]) + ", ..." * (len(present) > 20)
    return FileNotFoundError(f"{path} does not exist; {folder} holds {listed or 'nothing'}")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file as `read_json_leniently` does. Raises ValueError also for numbers that are not finite."""
    content, not_finite = read_json_leniently(path)
    if first := next(not_finite, ""):
        raise ValueError(f"{path}: {first}, not a finite number: correct it, or leave the entry out")
    return content


def read_json_leniently(path: pathlib.Path, may_be_nan: str = "") -> tuple[Any, Iterator[str]]:
    """Reads a JSON file. Duplicate keys are refused, because parsers differ in the value they keep.

    NaN is no error in lists that are fields called `may_be_nan`.

    Returns:
      The content, and the locations of numbers that are not finite: NaN, Infinity, or 1e400 that overflows.
      Integers may be as long as Python reads them. `numbers` and `require` refuse both.

    Raises:
      FileNotFoundError: the file is missing.
      OSError: it cannot be read, or is a folder, a pipe or a device.
      ValueError: it is not JSON, or nested too deeply.
    """
    check_regular(path)
    try:
        text = path.read_bytes()
        content, has_not_finite = _parse(text)
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON{_way_out(text, error)}") from error
    return content, _not_finite(content, may_be_nan) if has_not_finite else iter(())


def _way_out(text: bytes, error: Exception) -> str:
    """Returns the end of the message on text that is not JSON."""
    if text and (found := file_kinds.instead(text[: file_kinds.HEAD], "export the data as JSON")):
        return f", but {found}"
    form = ", in UTF-8" * isinstance(error, UnicodeDecodeError)
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
        form = ", as one value: each line is one (JSON Lines)"
    return f": {error}; download or write it again{form}"


def _parse(text: bytes) -> tuple[Any, bool]:
    """Parses JSON. Also returns whether a number in it is not finite."""
    not_finite = []

    def number(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            not_finite.append(value)
        return value

    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            ((key, _),) = collections.Counter(name for name, _ in pairs).most_common(1)
            raise ValueError(f"the key {short_repr(key)} is used twice in {short_repr(found)}")
        return found

    return json.loads(text, object_pairs_hook=fields, parse_float=number, parse_constant=number), bool(not_finite)


def _not_finite(document: Any, may_be_nan: str) -> Iterator[str]:
    """Yields the locations of infinity and NaN, shortened: ``it['annotations'][3]['area'] is nan``."""
    if isinstance(document, float):
        yield f"it is {document}"
    pending = [("it", document, False)] if isinstance(document, dict | list) else []
    while pending:
        where, outer, is_allowed = pending.pop()
        inner = []
        for key, value in outer.items() if isinstance(outer, dict) else enumerate(outer):
            if isinstance(value, dict | list):
                inner.append((f"{where}[{key!r:.100}]"[:300], value, is_allowed or key == may_be_nan))
            elif isinstance(value, float) and not (math.isfinite(value) or (is_allowed and math.isnan(value))):
                yield f"{where}[{key!r:.100}] is {value}"
        pending += reversed(inner)


def check_regular(path: pathlib.Path | epath.Path) -> None:
    """Raises OSError for anything but a file. Reading a pipe would block, reading a device would never end."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} cannot be read: it is no regular file; put the file itself there")


def check_packing(entry: zipfile.ZipInfo) -> None:
    """Raises ValueError for an entry of a zip file that is neither stored nor deflated.

    Python unpacks other methods at once, whatever size they claim: kilobytes may become gigabytes.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        found = f"{entry.filename[:100]!r} is packed by method {entry.compress_type}"
        raise ValueError(f"{found} of zip: pack it by `deflate`, as `zip` does")


def _check_unpacked(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Raises ValueError if a zip file of `size` bytes claims more than `MAX_UNPACKED`, or than that can hold."""
    for entry in entries:
        check_packing(entry)
    unpacked = sum(entry.file_size for entry in entries)  # no more than this is ever unpacked
    limit = min(MAX_UNPACKED, MAX_COMPRESSION * size)
    if unpacked > limit:
        raise ValueError(f"it is {unpacked:,} bytes unpacked, but up to {limit:,} are read of one of its size")


def read_arrays(
    path: pathlib.Path,
    kind: Callable[..., Record],
    columns: Mapping[str, tuple[type[np.generic], tuple[int, ...]]],
) -> Record:
    """Reads arrays of equal length, of given dtypes and shapes of rows, from an ``.npz`` file of a prepared split.

    The result is `kind` called with the arrays by name. Raises ValueError if the file is damaged or holds others.
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
    except Exception as error:  # numpy, zipfile and zlib raise many kinds
        raise ValueError(
            f"{path} is damaged ({one_line(error)}): prepare the split again, with --force"
        ) from error
    return kind(**found)


def numbers(value: Any, count: int, where: str) -> list[float]:
    """Returns a list of `count` finite numbers unchanged. Raises ValueError that begins with `where`."""

    def is_number(item: Any) -> bool:
        return type(item) in (int, float) and -MAX_NUMBER <= item <= MAX_NUMBER

    is_list = isinstance(value, list)
    if not (is_list and len(value) == count and all(map(is_number, value))):
        found = f"{len(value)}: {short_repr(value)}" if is_list else short_repr(value)
        wanted = "a finite number" if count == 1 else f"{count} finite numbers"
        raise ValueError(f"{where} must be {wanted} up to {MAX_NUMBER:g}, but is {found}")
    return value


def names(value: Any, where: str) -> list[str]:
    """Returns a list of strings unchanged. Raises ValueError that begins with `where`."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{where} must be a list of names, but is {short_repr(value)}")
    return value


def require(entry: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """Returns a field of a JSON object, of one of the `KINDS`. Numbers are finite and fit in int64.

    Raises ValueError that begins with `where` if the field is missing or of another kind.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be an object with `{name}`, but is {short_repr(entry)}")
    if name not in entry:
        raise ValueError(f"{where} has no `{name}`; its fields are {', '.join(entry)[:200]}")
    value = entry[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(
            f"{where}: `{name}` (={short_repr(value)}) must be {KINDS[kind]}, not {type(value).__name__}"
        )
    if isinstance(value, (int, float)) and not -INT64_LIMIT <= value < INT64_LIMIT:
        raise ValueError(f"{where}: `{name}` (={short_repr(value)}) must be finite and fit in 64 bits")
    return value


def inner_path(entry: Any, name: str, where: str) -> str:
    """Returns a field that holds the path of a photo, relative to the folder of photos.

    Raises ValueError that begins with `where` if the field is missing or leads out of the folder.
    """
    value = require(entry, name, str, where)
    path = pathlib.PurePosixPath(value)
    if not path.name or path.is_absolute() or ".." in path.parts or _BAD_NAME.search(value):
        raise ValueError(
            f"{where}: `{name}` (={short_repr(value)}) must be a path inside the folder of photos, such as"
            " 'some/photo.jpg': correct the path, or remove the entry"
        )
    return value
