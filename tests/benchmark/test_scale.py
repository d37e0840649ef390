import math

import pytest

from hrnet_jax.benchmark import collectives, scale

TORUS = scale.Chip(1e12, links=4e9, axes=2, closed=64, island=64, network=1e8, host=8)
SWITCHED = scale.Chip(1e12, links=1e9, axes=0, closed=1, island=8, network=1e8, host=8)


def talk(size: int, operations: int = 1, sums: int = 0) -> dict[str, dict[str, dict[str, int]]]:
    """Gradients of so many bytes, and so many sums of 8 bytes for batch normalisation."""
    found = {collectives.GRADIENTS: {"all-reduce": {"operations": operations, "bytes": size}}}
    return found | ({collectives.NORM: {"all-reduce": {"operations": sums, "bytes": 8 * sums}}} if sums else {})


def test_a_ring_sends_every_byte_twice():
    """Of eight, each sends 7/8 of 8 MB, twice, at 1 GB/s; a message goes through a switch 3 times, twice."""
    assert scale.seconds("all-reduce", 8_000_000, SWITCHED, 8) == pytest.approx(0.014 + 2 * 3 * 5e-6)
    for kind in ("all-gather", "reduce-scatter", "all-to-all"):
        assert scale.seconds(kind, 8_000_000, SWITCHED, 8) == pytest.approx(0.007 + 3 * 5e-6)


def test_islands_send_each_other_only_their_parts():
    """Between four islands each chip sends 3/4 of its 1 MB at 0.1 GB/s, 7.5 ms, in two rounds of 10 us."""
    inside = scale.seconds("all-reduce", 8_000_000, SWITCHED, 8)
    assert scale.seconds("all-reduce", 8_000_000, SWITCHED, 32) == pytest.approx(inside + 2 * (0.0075 + 2e-5))


def test_a_torus_uses_all_links_once_its_rings_are_closed():
    """64 chips: 63/64 of 64 MB at 4 GB/s, 8 hops, half of each side; 16 chips, open: 15/16 at 2 GB/s, 6 hops."""
    assert scale.seconds("all-gather", 64_000_000, TORUS, 64) == pytest.approx(0.01575 + 8e-6)
    assert scale.seconds("all-gather", 64_000_000, TORUS, 16) == pytest.approx(0.03 + 6e-6)


@pytest.mark.parametrize("chip", [TORUS, SWITCHED, *scale.CHIPS.values()])
def test_one_chip_has_nothing_to_say_and_more_have_more(chip):
    times = [scale.seconds("all-reduce", 1000, chip, chips) for chips in (1, 2, 4, 8)]
    assert times[0] == 0 and times == sorted(times) and len(set(times)) == 4


def test_a_step_computes_then_talks():
    """0.4 TFLOP at half of 1 TFLOP/s, then 14.03 ms of gradients, then the wait for 100 sums of a layer."""
    step = scale.Step(people=32, operations=4e11, talk=talk(8_000_000, sums=100))
    found = scale.predict(step, SWITCHED, 8, share=0.5)
    norm = 100 * (2 * 7 / 1e9 + 3e-5)
    assert found["parts"] == pytest.approx({"compute": 0.8, "gradients": 0.01403, "batch norm": norm})
    assert found["step"] == pytest.approx(0.81403 + norm)
    assert found["efficiency"] == pytest.approx(0.8 / (0.81403 + norm))
    assert found["people"] == found["needs"] == pytest.approx(256 / (0.81403 + norm))
    assert found["limit"] == "compute"


def test_only_sums_of_batch_normalisation_wait_for_each_other():
    one, many = (scale.Step(32, 1e12, talk(8_000_000, operations=count)) for count in (1, 300))
    assert scale.predict(one, SWITCHED, 8, 1.0) == scale.predict(many, SWITCHED, 8, 1.0)


def test_the_limit_is_the_longest_part_or_the_loader():
    def limit(chips: int, loaded: float = math.inf, sums: int = 0, operations: float = 1e10) -> str:
        step = scale.Step(32, operations, talk(8_000_000, sums=sums))
        return scale.predict(step, SWITCHED, chips, 1.0, loaded)["limit"]

    assert limit(1) == "compute" and limit(8) == "gradients"
    assert limit(8, sums=1000) == "batch norm"
    assert limit(8, operations=1e12, loaded=250) == "input" and limit(8, operations=1e12, loaded=300) == "compute"


def test_who_waits_for_the_loader_is_less_efficient():
    step = scale.Step(people=32, operations=1e12, talk={})
    found = scale.predict(step, SWITCHED, 16, share=1.0, loaded=128)
    assert (found["step"], found["efficiency"], found["people"], found["needs"]) == (2.0, 0.5, 256.0, 256.0)


def test_every_chip_is_predicted_at_every_count():
    predicted = scale.predictions(scale.Step(32, 1.4e12, talk(114_000_000)), share=0.3)
    assert {name: [row["chips"] for row in rows] for name, rows in predicted.items()} == {
        name: list(scale.COUNTS) for name in scale.CHIPS
    }
    lines = scale.table(predicted).splitlines()
    assert len(lines) == 1 + len(scale.CHIPS) * len(scale.COUNTS)
    assert lines[1].split()[:5] == ["TPU", "v4", "8", "18.5", "ms"]
