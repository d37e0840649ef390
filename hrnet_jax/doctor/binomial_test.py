"""The binomial test behind every statistical finding: tells chance failures of a check from too many failures."""

import dataclasses
from typing import Literal

import numpy as np
from scipy import special

# The rate of false alarms for sound data with a pass rate at the floor. In truth it is much lower: measured pass
# rates are .95 and more where the floor is .85.
ALPHA = 1e-3

Verdict = Literal["unknown", "passed", "mixed", "failed"]


@dataclasses.dataclass(frozen=True)
class Checks:
    """Outcomes of one check on N people or photos."""

    passed: np.ndarray  # [N] bool
    id: np.ndarray  # [N] int64 ids of the people or photos
    floor: float  # the least share of passed checks in sound data

    def __len__(self) -> int:
        return len(self.passed)

    @property
    def failures(self) -> np.ndarray:
        """The ids of those that failed."""
        return self.id[~self.passed]

    def __str__(self) -> str:
        return f"{int(self.passed.sum()):,} of {len(self):,}"


def verdict(checks: Checks) -> Verdict:
    """Tests whether the share of passed checks is that of sound data.

    It is "unknown" with so few checks that all could fail by chance, "passed" if chance explains the failures,
    "failed" if chance explains the passes in data with all answers inverted, and otherwise "mixed".
    """
    count, passed = len(checks), int(checks.passed.sum())
    if (1 - checks.floor) ** count >= ALPHA:
        return "unknown"
    if special.bdtr(passed, count, checks.floor) >= ALPHA:
        return "passed"
    return "failed" if special.bdtr(count - passed, count, checks.floor) >= ALPHA else "mixed"
