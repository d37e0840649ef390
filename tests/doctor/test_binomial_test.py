import numpy as np
import pytest

from hrnet_jax.doctor import binomial_test
from hrnet_jax.doctor.binomial_test import Checks


@pytest.mark.parametrize(
    ("passed", "count", "expected"),
    [(0, 0, "unknown"), (0, 3, "unknown"), (0, 4, "failed"), (4, 4, "passed"), (85, 100, "passed"),
     (73, 100, "passed"), (72, 100, "mixed"), (28, 100, "mixed"), (27, 100, "failed")],
)  # fmt: skip
def test_verdict_depends_on_the_probability_of_the_count(passed, count, expected):
    checks = Checks(np.arange(count) < passed, np.arange(count), 0.85)
    assert binomial_test.verdict(checks) == expected
    assert checks.failures.tolist() == list(range(passed, count)) and str(checks) == f"{passed} of {count}"
