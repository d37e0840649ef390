"""Interleaved timing: contenders take turns, so that other load on the machine affects all of them alike."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

OURS = "ours"
"""Prefix of the names of our contenders."""


@dataclasses.dataclass(frozen=True)
class Race:
    """Result of a race.

    Attributes:
      title: description of the work, such as ``HRNet-W32 256x192, training step, batch 8``.
      unit: name of the counted units, such as ``people``.
      rates: units per second by contender, one value per round. Our contender comes first.
      reference: name of the contender that ours is compared with.
    """

    title: str
    unit: str
    rates: Mapping[str, Sequence[float]]
    reference: str

    @property
    def ratios(self) -> dict[str, float]:
        """Speed relative to the reference, by contender: the ratio of the medians."""
        base = np.median(self.rates[self.reference])
        return {name: float(np.median(rates) / base) for name, rates in self.rates.items()}


def run(
    title: str,
    unit: str,
    contenders: Mapping[str, Callable[[], int]],
    *,
    reference: str,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Race:
    """Runs each contender once per round, in an order that alternates between rounds.

    One round of warm-up comes first and is not counted.

    Args:
      title: see `Race`.
      unit: see `Race`.
      contenders: functions by name, ours first. Each does its work to completion and returns the number of units.
      reference: see `Race`.
      rounds: number of counted rounds.
      clock: returns seconds since an arbitrary point in time.
    """
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-1, rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            start = clock()
            units = contenders[name]()
            if number >= 0:
                rates[name].append(units / (clock() - start))
    return Race(title, unit, rates, reference)


def fastest_reference(rates: Mapping[str, Sequence[float]]) -> str:
    """Returns the contender with the highest median that is not ours, or the first one if all are ours."""
    medians = {name: float(np.median(rates[name])) for name in rates if not name.startswith(OURS)}
    return max(medians, key=medians.__getitem__, default=next(iter(rates)))


def best(title: str, races: Mapping[int, Sequence[Race]]) -> Race:
    """Combines races into one, with each contender at its fastest batch size.

    The batch size is appended to the contender's name. The rates come from races run one after the other, so they
    are not interleaved.

    Args:
      title: see `Race`.
      races: races by batch size.
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
