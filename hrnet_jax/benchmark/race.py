"""Interleaved timing: contenders take turns, so that other load on the machine affects all of them alike."""

import dataclasses
import itertools
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

OURS = "ours"  # prefix of the names of our contenders
Contender = Callable[[], int]  # does its work to completion and returns the number of units, such as people
Contenders = Mapping[str, Contender]  # by name, ours first


@dataclasses.dataclass(frozen=True)
class Race:
    """Result of a race: the rates of its contenders, ours first, one value per round."""

    title: str  # description of the work, such as ``HRNet-W32 256x192, training step, batch 8``
    unit: str  # name of the counted units, such as ``people``
    rates: Mapping[str, Sequence[float]]  # units per second by contender
    reference: str  # name of the contender that ours is compared with

    @property
    def ratios(self) -> dict[str, float]:
        """Speed relative to the reference, by contender: the ratio of the medians."""
        base = np.median(self.rates[self.reference])
        return {name: float(np.median(rates) / base) for name, rates in self.rates.items()}


def run(title: str, unit: str, contenders: Contenders, *, reference: str, rounds: int) -> Race:
    """Runs each contender once per round, in alternating order, after a round of warm-up that does not count."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-1, rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            units = contenders[name]()
            if number >= 0:
                rates[name].append(units / (time.perf_counter() - start))
    return Race(title, unit, rates, reference)


def processor_milliseconds(work: Callable[[], Any], rounds: int) -> float:
    """Returns the median processor time of a call, of all threads together, after one that does not count.

    Unlike the time on the clock, it hardly depends on other load on the machine.
    """
    seconds = []
    for _ in range(rounds + 1):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 1e3 * float(np.median(seconds[1:]))


def fastest_reference(rates: Mapping[str, Sequence[float]]) -> str:
    """Returns the contender with the highest median that is not ours, or the first one if all are ours."""
    medians = {name: float(np.median(rates[name])) for name in rates if not name.startswith(OURS)}
    return max(medians, key=medians.__getitem__, default=next(iter(rates)))


def sweep(part: str, sizes: list[int], arguments: Sequence[str], directory: pathlib.Path) -> dict[int, list[Race]]:
    """Runs a part of the benchmark (``step``, ``predict``) at several batch sizes and returns its races by size.

    Each side runs in a process of its own at each size, with the same further command-line arguments. It has the
    device's memory to itself, and if it runs out of memory only that process ends. The reports are written to
    directories in `directory`. Repeated sizes are measured once. Raises ValueError if all processes fail.
    """
    sizes = list(dict.fromkeys(sizes))
    races: dict[int, list[Race]] = {}
    for size, side in itertools.product(sizes, ("ours", "theirs")):
        out = directory / f"{part}-{size}-{side}"
        own = [f"--batch={size}", f"--side={side}", "--sweep=", f"--out={out}"]
        done = subprocess.run([sys.executable, "-m", "hrnet_jax.benchmark", part, *arguments, *own])
        if done.returncode:
            print(f"batch {size}, {side}: not measured, see the error above\n", flush=True)
            continue
        result = json.loads((out / "report.json").read_text())[part]["race"]
        del result["ratios"]
        races.setdefault(size, []).append(Race(**result))
    if not races:
        raise ValueError(f"--sweep (={','.join(map(str, sizes))}): none of these batch sizes could be measured")
    return races


def best(title: str, races: Mapping[int, Sequence[Race]]) -> Race:
    """Combines races by batch size into one. Each contender is at its fastest size, which its name then ends with.

    The rates come from races run one after the other, so they are not interleaved.
    """
    found: dict[str, tuple[str, Sequence[float]]] = {}
    for size, sides in races.items():
        for name, rates in (item for side in sides for item in side.rates.items()):
            if name not in found or np.median(rates) > np.median(found[name][1]):
                found[name] = f"{name}, batch {size}", rates
    rates = dict(found.values())
    return Race(title, next(iter(races.values()))[0].unit, rates, fastest_reference(rates))


def table(race: Race) -> str:
    """Formats a race for the terminal: median, quartiles and speed relative to the reference."""
    width = 3 + max(47, *map(len, race.rates))
    lines = [f"{race.title} [{race.unit}/s]", f"  {'':<{width}}{'median':>9}{'quartiles':>20}{'ratio':>8}"]
    for name, rates in race.rates.items():
        low, median, high = map(format_rate, np.percentile(rates, [25, 50, 75]))
        lines.append(f"  {name:<{width}}{median:>9}{f'{low} to {high}':>20}{race.ratios[name]:>8.2f}")
    return "\n".join(lines)


def format_rate(rate: float) -> str:
    """Formats a rate with at least four significant digits."""
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"
