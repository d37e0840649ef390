import pytest

from hrnet_jax.benchmark import step


def test_the_limit_is_the_longer_of_operations_and_bytes():
    cost, rates = {"operations": 6e9, "bytes": 4e9, "memory": 1e9}, {"operations": 3e9, "bytes": 1e9}
    limits = step.limits(cost, rates, seconds=8.0)
    assert limits == {"operations": 2, "bytes": 4, "share": 0.5}
    text = step.limits_summary(cost, rates, limits)
    assert "6.0 G operations counted at 3 G/s would take 2 s" in text and "50% of the step's time" in text


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_peak_rates_are_positive(monkeypatch, dtype):
    monkeypatch.setattr(step, "SIDE", {"cpu": 64})
    monkeypatch.setattr(step, "BYTES", {"cpu": 2**16})
    found = step.peak_rates(dtype, rounds=2)
    assert set(found) == {"operations", "bytes"} and min(found.values()) > 0
