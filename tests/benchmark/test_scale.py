import math

import pytest

from hrnet_jax import devices
from hrnet_jax.benchmark import scale

TORUS = devices.Chip(1e12, 1e9, 1e9, links=4e9, axes=2, closed=64, island=64, network=1e8, host=8)
SWITCHED = devices.Chip(1e12, 1e9, 1e9, links=1e9, axes=0, closed=1, island=8, network=1e8, host=8)


def communication(size: int, operations: int = 1, sums: int = 0) -> dict[str, dict[str, dict[str, int]]]:
    """Returns gradients of some size and sums of 8 bytes for batch normalisation."""
    found = {scale.GRADIENTS: {"all-reduce": {"operations": operations, "bytes": size}}}
    return found | ({scale.NORM: {"all-reduce": {"operations": sums, "bytes": 8 * sums}}} if sums else {})


def test_a_ring_all_reduce_sends_every_byte_twice():
    """Each of 8 chips sends 7/8 of 8 MB at 1 GB/s and passes the switch 3 times. Both happen twice."""
    assert scale.collective_time("all-reduce", 8_000_000, SWITCHED, 8) == pytest.approx(0.014 + 2 * 3 * 5e-6)
    for kind in ("all-gather", "reduce-scatter", "all-to-all"):
        assert scale.collective_time(kind, 8_000_000, SWITCHED, 8) == pytest.approx(0.007 + 3 * 5e-6)


def test_between_islands_each_chip_sends_its_part():
    """Among 4 islands each chip sends 3/4 of its 1 MB at 0.1 GB/s in two rounds of 10 us."""
    one_island, four = (scale.collective_time("all-reduce", 8_000_000, SWITCHED, chips) for chips in (8, 32))
    assert four == pytest.approx(one_island + 2 * (0.0075 + 2e-5))


def test_a_torus_of_open_rings_has_half_the_bandwidth():
    """64 chips: 63/64 of 64 MB at 4 GB/s and 8 hops. 16 chips, open rings: 15/16 at 2 GB/s and 6 hops."""
    assert scale.collective_time("all-gather", 64_000_000, TORUS, 64) == pytest.approx(0.01575 + 8e-6)
    assert scale.collective_time("all-gather", 64_000_000, TORUS, 16) == pytest.approx(0.03 + 6e-6)


@pytest.mark.parametrize("chip", [TORUS, SWITCHED, *devices.CHIPS.values()])
def test_one_chip_takes_no_time_and_more_chips_take_longer(chip):
    times = [scale.collective_time("all-reduce", 1000, chip, chips) for chips in (1, 2, 4, 8)]
    assert times[0] == 0 and times == sorted(times) and len(set(times)) == 4


def test_communication_follows_computation():
    """0.4 TFLOP at half of 1 TFLOP/s, then gradients for 14.03 ms, then 100 sums one after the other."""
    cost = scale.StepCost(people=32, operations=4e11, communication=communication(8_000_000, sums=100))
    found = scale.predict(cost, SWITCHED, 8, share=0.5)
    norm = 100 * (2 * 7 / 1e9 + 3e-5)
    assert found["parts"] == pytest.approx({"compute": 0.8, "gradients": 0.01403, "batch norm": norm})
    assert found["step"] == pytest.approx(0.81403 + norm)
    assert found["efficiency"] == pytest.approx(0.8 / (0.81403 + norm))
    assert found["people"] == found["people_per_host"] == pytest.approx(256 / (0.81403 + norm))
    assert found["limit"] == "compute"


def test_only_sums_of_batch_normalisation_stay_separate():
    one, many = (scale.StepCost(32, 1e12, communication(8_000_000, operations=count)) for count in (1, 300))
    assert scale.predict(one, SWITCHED, 8, 1.0) == scale.predict(many, SWITCHED, 8, 1.0)


def test_the_limit_is_the_longest_part_or_loading():
    def limit(chips: int, load_rate: float = math.inf, sums: int = 0, operations: float = 1e10) -> str:
        cost = scale.StepCost(32, operations, communication(8_000_000, sums=sums))
        return scale.predict(cost, SWITCHED, chips, 1.0, load_rate)["limit"]

    assert limit(1) == "compute" and limit(8) == "gradients"
    assert limit(8, sums=1000) == "batch norm"
    assert limit(8, operations=1e12, load_rate=250) == "input"
    assert limit(8, operations=1e12, load_rate=300) == "compute"


def test_waiting_for_loading_lowers_the_efficiency():
    cost = scale.StepCost(people=32, operations=1e12, communication={})
    found = scale.predict(cost, SWITCHED, 16, share=1.0, load_rate=128)
    assert (found["step"], found["efficiency"]) == (2.0, 0.5)
    assert found["people"] == found["people_per_host"] == 256.0


def test_predictions_cover_every_chip_and_count():
    predicted = scale.predict_all(scale.StepCost(32, 1.4e12, communication(114_000_000)), share=0.3)
    assert {name: [row["chips"] for row in rows] for name, rows in predicted.items()} == {
        name: list(scale.CHIP_COUNTS) for name in devices.CHIPS
    }
    lines = scale.prediction_table(predicted).splitlines()
    assert len(lines) == 1 + len(devices.CHIPS) * len(scale.CHIP_COUNTS)
    assert lines[1].split()[:5] == ["TPU", "v4", "8", "18.5", "ms"]
