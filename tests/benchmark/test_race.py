import types

import pytest

from hrnet_jax.benchmark import race


class Clock:
    """A clock that advances only while contenders work."""

    def __init__(self):
        self.now, self.done = 0.0, []

    def contender(self, name: str, seconds: list[float], units: int = 6):
        left = iter(seconds)

        def turn() -> int:
            self.now += next(left)
            self.done.append(name)
            return units

        return turn


def run_race(clock: Clock) -> race.Race:
    turns = {"ours": [9, 1, 2, 3], "eager": [9, 3, 3, 6]}
    contenders = {name: clock.contender(name, seconds) for name, seconds in turns.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))
        return race.run("work", "people", contenders, reference="eager", rounds=3)


def test_rates_are_units_per_second_without_the_warm_up():
    found = run_race(Clock())
    assert found.rates == {"ours": [6, 3, 2], "eager": [2, 2, 1]}


def test_ratios_are_ratios_of_medians():
    assert run_race(Clock()).ratios == {"ours": pytest.approx(3 / 2), "eager": 1}


def test_contenders_take_turns_in_alternating_order():
    clock = Clock()
    run_race(clock)
    rounds = [clock.done[i : i + 2] for i in range(0, 8, 2)]
    assert all(sorted(turn) == ["eager", "ours"] for turn in rounds)
    assert {turn[0] for turn in rounds[1:]} == {"ours", "eager"}


def test_the_table_lists_median_quartiles_and_ratio():
    text = race.table(run_race(Clock()))
    assert text.splitlines()[0] == "work [people/s]"
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["ours", "3", "2.5", "to", "4.5", "1.50"],
        ["eager", "2", "1.5", "to", "2", "1.00"],
    ]


def test_the_reference_is_the_fastest_that_is_not_ours():
    assert race.fastest_reference({"ours": [9], "eager": [1, 2, 3], "compiled": [1, 4, 4]}) == "compiled"
    assert race.fastest_reference({"ours, batch 8": [9]}) == "ours, batch 8"
    assert race.fastest_reference({"eager": [1]}) == "eager"


def test_each_contender_is_taken_at_its_fastest_batch_size():
    """At batch 32, one side is missing."""
    measured = {
        8: [{"ours": [3, 4, 5]}, {"eager": [2]}],
        16: [{"ours": [6, 7, 9]}, {"eager": [1], "compiled": [3]}],
        32: [{"ours": [5]}],
    }
    races = {
        size: [race.Race("", "people", rates, next(iter(rates))) for rates in sides]
        for size, sides in measured.items()
    }
    best = race.best("all", races)
    assert best.rates == {"ours, batch 16": [6, 7, 9], "eager, batch 8": [2], "compiled, batch 16": [3]}
    assert best.reference == "compiled, batch 16" and best.ratios["ours, batch 16"] == 7 / 3
