"""MATLAB files up to version 7.2, read by scipy in a subprocess, because damaged ones can crash it.

The arguments of the subprocess are what to read, a memory limit, the file, and names of arrays. It writes arrays
to standard output as ``.npz``, with cells as strings and without structures, or structures as JSON. Others may be
huge and are not unpacked.
"""

import contextlib
import io
import json
import os
import pathlib
import resource
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.io

TIMEOUT = 600  # seconds; MPII's files take less than one
ARRAYS, STRUCTURES = "arrays", "structures"  # what the subprocess reads
AS_OBJECTS = {"struct_as_record": False, "squeeze_me": True}
MEMORY = 2**32  # limit in bytes: damaged files claim any size


def read(path: pathlib.Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads some of a file's arrays. Raises ValueError if it is not a MATLAB file, or lacks an array."""
    with np.load(io.BytesIO(_run(ARRAYS, path, names)), allow_pickle=False) as arrays:
        missing, present = [name for name in names if name not in arrays], ", ".join(arrays) or "nothing"
        if missing:
            raise ValueError(f"{path} has no `{missing[0]}`; of {', '.join(names)} it holds {present}")
        return {name: arrays[name] for name in names}


def read_structures(path: pathlib.Path, name: str) -> list[Any]:
    """Reads an array of structures as dictionaries.

    A list of one stands as its only element, as MATLAB knows no difference, and fields without a value are left
    out. Raises ValueError if it is not a MATLAB file, or lacks the array.
    """
    content = json.loads(_run(STRUCTURES, path, [name]))
    if name not in content:
        raise ValueError(f"{path} has no `{name}`")
    return content[name] if isinstance(content[name], list) else [content[name]]


def _run(kind: str, path: pathlib.Path, names: Sequence[str]) -> bytes:
    """Runs the subprocess, and returns what it writes. Raises ValueError if it fails."""
    command = [sys.executable, "-P", __file__, kind, str(MEMORY), str(path), *names]
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each thread would use some of the memory
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False, env=alone)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path} cannot be read in {TIMEOUT} seconds: download it again") from None
    if done.returncode:
        (reason,) = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it crashed the reader"]
        problem = f"cannot be read as a MATLAB file up to version 7.2: {reason[:300]}"
        raise ValueError(f"{path} {problem}; download it again")
    return done.stdout


def _plain(array: np.ndarray) -> np.ndarray:
    """Turns cells into strings, and returns other arrays unchanged."""
    if array.dtype.kind != "O":
        return array
    return np.array(["".join(map(str, np.ravel(cell))) for cell in np.ravel(array)], str)


def plain_structures(value: Any) -> Any:
    """Turns what scipy reads, with its options `AS_OBJECTS`, into dictionaries, lists, numbers and strings."""
    if isinstance(value, scipy.io.matlab.mat_struct):
        fields = {name: field for name, field in vars(value).items() if name != "_fieldnames"}
        return {name: plain_structures(field) for name, field in fields.items() if np.size(field)}
    if isinstance(value, np.ndarray):
        return [plain_structures(element) for element in value.ravel()]
    return value.item() if isinstance(value, np.generic) else value


def _main() -> None:
    kind, memory, path, *names = sys.argv[1:]
    with contextlib.suppress(ValueError, OSError):  # not every system has this limit
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    if kind == STRUCTURES:
        found = scipy.io.loadmat(path, variable_names=names, **AS_OBJECTS)
        print(json.dumps({name: plain_structures(found[name]) for name in names if name in found}))
        return
    content = scipy.io.loadmat(path, variable_names=names)
    arrays = {name: _plain(np.asarray(content[name])) for name in names if name in content}
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **{n: array for n, array in arrays.items() if not array.dtype.hasobject})
    sys.stdout.buffer.write(packed.getvalue())


if __name__ == "__main__":
    _main()
