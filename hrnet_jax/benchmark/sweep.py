"""Measures a part of the benchmark at several batch sizes.

Each side runs in a process of its own at each batch size. It has the device's memory to itself, and if it runs out
of memory only that process ends.
"""

import itertools
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Sequence

from hrnet_jax.benchmark import race

SIDES = ("ours", "theirs")


def run(
    part: str, sizes: Iterable[int], arguments: Sequence[str], directory: pathlib.Path
) -> dict[int, list[race.Race]]:
    """Returns the races of the processes that succeeded, by batch size.

    Args:
      part: ``step`` or ``predict``.
      sizes: batch sizes. Repeated ones are measured once.
      arguments: command-line arguments for all processes.
      directory: parent of the directories of their reports.

    Raises:
      ValueError: all processes failed.
    """
    sizes = list(dict.fromkeys(sizes))
    races: dict[int, list[race.Race]] = {}
    for size, side in itertools.product(sizes, SIDES):
        out = directory / f"{part}-{size}-{side}"
        own = [f"--batch={size}", f"--side={side}", "--sweep=", f"--out={out}"]
        done = subprocess.run([sys.executable, "-m", "hrnet_jax.benchmark", part, *arguments, *own])
        if done.returncode:
            print(f"batch {size}, {side}: not measured, see the error above\n", flush=True)
            continue
        result = json.loads((out / "report.json").read_text())[part]["race"]
        del result["ratios"]
        races.setdefault(size, []).append(race.Race(**result))
    if not races:
        raise ValueError(f"--sweep (={','.join(map(str, sizes))}): none of these batch sizes could be measured")
    return races
