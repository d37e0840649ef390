"""MATLAB files up to version 7.2, read by scipy in a subprocess, because damaged ones can crash it.

The arguments of the subprocess are a memory limit, the file, and names of arrays. It writes the arrays to standard
output as ``.npz``, with cells as strings and without structures. Others may be huge and are not unpacked.
"""

import contextlib
import io
import os
import pathlib
import resource
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import scipy.io

TIMEOUT = 600  # seconds; MPII's files take less than one
MEMORY = 2**32  # limit in bytes: damaged files claim any size


def read(path: pathlib.Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads some of a file's arrays. Raises ValueError if it is not a MATLAB file, or lacks an array."""
    command = [sys.executable, "-P", __file__, str(MEMORY), str(path), *names]
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each thread would use some of the memory
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False, env=alone)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path} cannot be read in {TIMEOUT} seconds: download it again") from None
    if done.returncode:
        (reason,) = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it crashed the reader"]
        problem = f"cannot be read as a MATLAB file up to version 7.2: {reason[:300]}"
        raise ValueError(f"{path} {problem}; download it again")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as arrays:
        missing, present = [name for name in names if name not in arrays], ", ".join(arrays) or "nothing"
        if missing:
            raise ValueError(f"{path} has no `{missing[0]}`; of {', '.join(names)} it holds {present}")
        return {name: arrays[name] for name in names}


def _plain(array: np.ndarray) -> np.ndarray:
    """Turns cells into strings, and returns other arrays unchanged."""
    if array.dtype.kind != "O":
        return array
    return np.array(["".join(map(str, np.ravel(cell))) for cell in np.ravel(array)], str)


def _main() -> None:
    memory, path, *names = sys.argv[1:]
    with contextlib.suppress(ValueError, OSError):  # not every system has this limit
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    content = scipy.io.loadmat(path, variable_names=names)
    arrays = {name: _plain(np.asarray(content[name])) for name in names if name in content}
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **{n: array for n, array in arrays.items() if not array.dtype.hasobject})
    sys.stdout.buffer.write(packed.getvalue())


if __name__ == "__main__":
    _main()
