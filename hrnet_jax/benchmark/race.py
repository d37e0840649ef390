"""Timing side by side: contenders take turns, so that whatever else a machine does disturbs all of them alike."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

OURS = "ours"
"""What the names of our contenders begin with."""


@dataclasses.dataclass(frozen=True)
class Race:
    """What came of a race.

    Attributes:
      title: what was done, in words, such as ``HRNet-W32 256x192, training step, batch 8``.
      unit: what is counted, such as ``people``.
      rates: units per second by contender, a figure a round; the first contender is ours.
      reference: the contender that ours is compared with.
    """

    title: str
    unit: str
    rates: Mapping[str, Sequence[float]]
    reference: str

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as fast as the reference each contender is: the ratio of their medians."""
        base = np.median(self.rates[self.reference])
        return {name: float(np.median(rates) / base) for name, rates in self.rates.items()}


def run(
    title: str,
    unit: str,
    contenders: Mapping[str, Callable[[], int]],
    *,
    reference: str,
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Race:
    """Lets contenders take turns, each a round at a time, in an order that turns round from round to round.

    Args:
      title: see `Race`.
      unit: see `Race`.
      contenders: by name, ours first; each does its share, waits until it is done, and returns how many units
        that was.
      reference: the name of the one that ours is compared with.
      rounds: how many count.
      warm_up: how many rounds before them do not.
      clock: seconds, from anywhere on.
    """
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-warm_up, rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            start = clock()
            units = contenders[name]()
            if number >= 0:
                rates[name].append(units / (clock() - start))
    return Race(title, unit, rates, reference)


def strongest(rates: Mapping[str, Sequence[float]]) -> str:
    """Returns the contender of the highest median that is not ours; the first if there is none."""
    medians = {name: float(np.median(rates[name])) for name in rates if not name.startswith(OURS)}
    return max(medians, key=medians.__getitem__, default=next(iter(rates)))


def best(title: str, races: Mapping[int, Sequence[Race]]) -> Race:
    """Returns what each contender reached at the batch that suits it best, which is added to its name.

    Such a race was not run in turns, but as the races that it is taken from, one after the other.

    Args:
      title: see `Race`.
      races: by the size of their batches.
    """
    found: dict[str, tuple[str, Sequence[float]]] = {}
    for size, sides in races.items():
        for name, rates in (item for side in sides for item in side.rates.items()):
            if name not in found or np.median(rates) > np.median(found[name][1]):
                found[name] = f"{name}, batch {size}", rates
    rates = dict(found.values())
    return Race(title, next(iter(races.values()))[0].unit, rates, reference=strongest(rates))


def table(race: Race) -> str:
    """Returns a race as lines for the terminal: median, quartiles, and how many times as fast as the reference."""
    width = 3 + max(47, *map(len, race.rates))
    lines = [f"{race.title} [{race.unit}/s]", f"  {'':<{width}}{'median':>9}{'quartiles':>20}{'ratio':>8}"]
    for name, rates in race.rates.items():
        low, median, high = map(number, np.percentile(rates, [25, 50, 75]))
        lines.append(f"  {name:<{width}}{median:>9}{f'{low} to {high}':>20}{race.ratios[name]:>8.2f}")
    return "\n".join(lines)


def number(rate: float) -> str:
    """Returns a rate in four digits."""
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.4g}"
