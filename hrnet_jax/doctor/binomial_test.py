"""When few who disagree are chance, and when they are not: the one test behind every statistical finding."""

import dataclasses
from typing import Literal

import numpy as np
import scipy.stats

# A sound data set may be told to be damaged once in a thousand tests at the floors given, which lie below what
# sound data show; measured shares are .95 and more where the floor is .85, so that in truth it is much rarer.
ALPHA = 1e-3

Verdict = Literal["unknown", "right", "partly", "wrong"]


@dataclasses.dataclass(frozen=True)
class Checks:
    """Votes of N people on a question that a sound data set answers with yes.

    Attributes:
      yes: [N] bool.
      id: [N] int64 who voted.
      floor: the share of yes that sound data do not fall below.
    """

    yes: np.ndarray
    id: np.ndarray
    floor: float

    def __len__(self) -> int:
        return len(self.yes)

    @property
    def against(self) -> np.ndarray:
        """The ids of those who voted no."""
        return self.id[~self.yes]

    def __str__(self) -> str:
        return f"{int(self.yes.sum()):,} of {len(self):,}"


def verdict(votes: Checks) -> Verdict:
    """Says whether a data set is as it should be.

    Returns:
      "unknown" if even unanimous votes against could be chance; "right" if those against are no more than chance
      explains; "wrong" if those for it are; else "partly".
    """
    count, yes = len(votes), int(votes.yes.sum())
    if (1 - votes.floor) ** count >= ALPHA:
        return "unknown"
    if scipy.stats.binom.cdf(yes, count, votes.floor) >= ALPHA:
        return "right"
    return "wrong" if scipy.stats.binom.cdf(count - yes, count, votes.floor) >= ALPHA else "partly"
