"""Hypothesis strategies for damaged files: documents, bytes and tables."""

import copy
import io
import json

import numpy as np
from hypothesis import strategies as st

# JSON that Python does not write. It replaces these strings in the text of a document.
TOKENS = {
    "@infinite": "1e400",
    "@long": "1" * 5000,
    "@large": "1" + "0" * 400,
    "@deep": "[" * 10_000 + "]" * 10_000,
    "@nested": "[" * 400 + "]" * 400,
    "@twice": '{"id": 1, "id": 2}',
    "@half": r'"\ud800.jpg"',
}
EXTREMES = [0, -1, -0.0, 1e-300, 1e9, 1e308, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**30]
PATHS = ["../a.jpg", "/etc/passwd", "a/../../b", "..\\b", "C:\\b", "\0", "nul", ".", "x" * 5000, "é\u202e.jpg"]

scalars = st.one_of(
    st.sampled_from([*TOKENS, *EXTREMES, *PATHS]),
    st.none() | st.booleans() | st.integers() | st.floats(),
    st.text(max_size=8),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


@st.composite
def documents(draw: st.DrawFn, valid: object) -> bytes:
    """Draws a JSON document with one to three parts changed, removed, duplicated or added."""
    content = {"": copy.deepcopy(valid)}
    for _ in range(draw(st.integers(1, 3))):
        _change(draw, content)
    text = json.dumps(content.get(""))
    for name, token in TOKENS.items():
        text = text.replace(f'"{name}"', token)
    return text.encode()


def _change(draw: st.DrawFn, part: dict | list) -> None:
    """Descends a document at random and changes a part."""
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key = draw(st.sampled_from(keys)) if keys else None
        inner = part[key] if keys else None
        if not (isinstance(inner, dict | list) and inner and draw(st.integers(0, 4))):
            break
        part = inner
    kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if kind == "add" or key is None:
        other = inner if draw(st.booleans()) else draw(values)
        part.append(other) if isinstance(part, list) else part.update({draw(st.text(max_size=8)): other})
    elif kind == "replace":
        part[key] = draw(values)
    else:
        del part[key]


def damaged(valid: bytes) -> st.SearchStrategy[bytes]:
    """Draws a file with one to three edits at nonzero bytes: flip, truncate, delete, insert or repeat."""
    places = st.sampled_from([place for place, byte in enumerate(valid) if byte])
    kinds = st.sampled_from(["flip", "flip", "end", "cut", "put", "repeat"])
    edits = st.tuples(places, kinds, st.integers(1, 40), st.binary(min_size=1, max_size=40))
    return st.lists(edits, min_size=1, max_size=3).map(lambda chosen: _edited(valid, chosen))


def _edited(valid: bytes, edits: list[tuple[int, str, int, bytes]]) -> bytes:
    content = bytearray(valid)
    for at, kind, length, new in edits:
        if kind == "flip" and at < len(content):
            content[at] ^= 1 << length % 8
        elif kind == "end":
            del content[at:]
        elif kind == "cut":
            del content[at : at + length]
        elif kind == "put":
            content[at:at] = new
        else:
            content[at:at] = content[at : at + length]
    return bytes(content)


@st.composite
def tables(draw: st.DrawFn, valid: bytes) -> bytes:
    """Draws an ``.npz`` file with a column changed in type, shape or value, or with a column added or removed."""
    with np.load(io.BytesIO(valid)) as file:
        columns = dict(file)
    name = draw(st.sampled_from([*columns]))
    column = columns[name]
    kind = draw(st.sampled_from(["type", "objects", "rows", "shape", "value", "value", "remove", "add"]))
    if kind == "type":
        columns[name] = column.astype(draw(st.sampled_from(["f4", "i4", "u8", "c16", "S8", "?", "M8[s]"])))
    elif kind == "objects":
        columns[name] = column.astype(object)
    elif kind == "rows":
        columns[name] = column[draw(st.sampled_from([slice(0), slice(1), slice(None, None, -1)]))]
    elif kind == "shape":
        columns[name] = draw(st.sampled_from([column[..., None], column.ravel(), column.sum(), column.T]))
    elif kind == "value" and column.size:
        column.flat[draw(st.integers(0, column.size - 1))] = _fitting(
            draw(st.sampled_from(EXTREMES)), column.dtype
        )
    elif kind == "remove":
        del columns[name]
    else:
        columns[draw(st.text("ab/.", max_size=4))] = column
    file = io.BytesIO()
    np.savez(file, **columns)
    return file.getvalue()


def _fitting(value: float, dtype: np.dtype) -> float:
    """Returns the value, or a replacement if it does not fit the type."""
    if dtype.kind == "f":
        return float("nan") if value == 0 else value
    return int(value) if -(2**63) <= value < 2**63 else -1
