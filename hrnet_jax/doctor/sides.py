"""Left and right: which pairs of joints are swapped, told from the votes of `side_cues`.

A pair that is swapped turns the votes on itself and on the pairs that hang on it; from both follows which pairs
are swapped. Eyes and shoulders are told from the face. Without faces, as in MPII, pairs are only known to differ,
and whether all of them are swapped cannot be told from one person; of many, more are photographed from the front
than from behind.
"""

import numpy as np

from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import binomial_test, side_cues
from hrnet_jax.doctor.binomial_test import Checks
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.doctor.side_cues import Cue
from hrnet_jax.skeletons import Skeleton

# With a third of the people seen from the front at most, and more against it than halves would give by chance, a
# warning: some sports are filmed from behind.
FROM_THE_FRONT, LEAST_PEOPLE = 1 / 3, 30
UPRIGHT = 0.5  # of the height difference: shoulders less wide than that are no one's who stands
CHECK = "look at a few: exchange left and right in the file, or give the skeleton whose order it has (--skeleton)"


def examine(people: AnnotatedPeople, skeleton: Skeleton) -> tuple[str, list[Finding]]:
    """Returns what left and right were told from, and what is wrong with them."""
    cues = side_cues.cues(people, skeleton)
    wrong, doubt = swapped(cues)
    against = [cue for cue in cues if cue.pair in wrong or cue.of in wrong]
    findings = _swapped(wrong, doubt, against, cues)
    if not wrong:
        findings = _partly(cues) + _mirrored(cues) + _behind(people, skeleton, cues)
    told = [cue for cue in cues if binomial_test.verdict(cue.votes) != "unknown"]
    fact = ", ".join(map(str, told))
    few = f"too few people to tell ({len(people):,})" if cues else "this skeleton's joints do not tell"
    return fact or few, findings


def _swapped(wrong: list[str], doubt: bool, against: list[Cue], cues: list[Cue]) -> list[Finding]:
    examples = dict.fromkeys(number for cue in against for number in cue.votes.against.tolist())
    every = {cue.pair for cue in cues} | {cue.of for cue in cues if cue.of}
    names = "all pairs" if every == set(wrong) and len(every) > 1 else ", ".join(wrong)
    votes = ", ".join(map(str, against))
    what = f"left and right are swapped in {names}{', or in the others' * doubt} (right in: {votes})"
    return found("sides_swapped", "error", examples if wrong else (), what, CHECK)


def _partly(cues: list[Cue]) -> list[Finding]:
    """Pairs that are swapped in more people than poses explain."""
    findings = []
    for cue in cues:
        if binomial_test.verdict(cue.votes) == "partly":
            what = (
                f"left and right {cue.pair} are swapped in some people: right in {cue.votes},"
                f" where {cue.votes.floor:.0%} are usual at least"
            )
            findings += found("sides_partly", "warning", dict.fromkeys(cue.votes.against.tolist()), what, CHECK)
    return findings


def _mirrored(cues: list[Cue]) -> list[Finding]:
    """People whose eyes and shoulders both say that they are mirrored, which in sound data nobody's do."""
    roots = {cue.pair: set(cue.votes.against.tolist()) for cue in cues if cue.of is None}
    both = sorted(roots.get("eye", set()) & roots.get("shoulder", set()))
    what = "left and right are swapped in {count} people: they face the camera, but the sides say otherwise"
    return found("sides_mirrored", "warning", both, what, CHECK)


def _behind(people: AnnotatedPeople, skeleton: Skeleton, cues: list[Cue]) -> list[Finding]:
    """Where no faces tell: most people seem to be seen from behind."""
    pair = side_cues.pairs(skeleton).get("shoulder")
    if pair is None or any(cue.of is None and binomial_test.verdict(cue.votes) != "unknown" for cue in cues):
        return []
    left, right = (people.joints[:, joint] for joint in pair)
    across = left - right
    rows = people.labelled[:, list(pair)].all(axis=1) & ~people.crowd
    rows &= np.abs(across[:, 0]) > UPRIGHT * np.abs(across[:, 1])
    votes = Checks(across[rows, 0] > 0, people.annotation_id[rows], 0.5)
    few = votes.yes.mean() < FROM_THE_FRONT if len(votes) >= LEAST_PEOPLE else False
    behind = votes.against if few and binomial_test.verdict(votes) != "right" else ()
    what = f"all but {votes} people seem to be seen from behind: left and right may be swapped in all pairs"
    return found("sides_behind", "warning", behind, what, CHECK)


def swapped(cues: list[Cue]) -> tuple[list[str], bool]:
    """Returns which pairs are swapped, and whether those named could be the sound ones and the others swapped.

    Pairs on which the face speaks, and those that hang on them, are told for certain. Where it does not, or
    there are too few faces, pairs are only known to differ, and the fewer are named. None are if the eyes, the
    surest sign, are swapped in some people and not in others.
    """
    verdicts = [(cue, binomial_test.verdict(cue.votes)) for cue in cues]
    if any(cue.pair == "eye" and verdict == "partly" for cue, verdict in verdicts):
        return [], False
    told = {cue.pair: verdict == "wrong" for cue, verdict in verdicts if not cue.of and verdict != "unknown"}
    links = [
        (cue.pair, cue.of, verdict == "wrong") for cue, verdict in verdicts if cue.of and verdict != "unknown"
    ]
    certain = _spread(told, links)
    wrong = [pair for pair, state in certain.items() if state]
    doubt = False
    for start in sorted({pair for link in links for pair in link[:2]} - set(certain)):
        if start not in certain:
            part = _spread({start: False}, links)
            certain |= part
            sides = [[pair for pair, state in part.items() if state is wanted] for wanted in (True, False)]
            fewer = min(sides, key=len)
            wrong += fewer
            doubt |= bool(fewer)
    return sorted(wrong), doubt


def _spread(known: dict[str, bool], links: list[tuple[str, str, bool]]) -> dict[str, bool]:
    """Carries what is known of some pairs along the links to the others."""
    known = dict(known)
    while True:
        fresh = {}
        for a, b, differs in links:
            for one, other in ((a, b), (b, a)):
                if one in known and other not in known:
                    fresh[other] = known[one] ^ differs
        if not fresh:
            return known
        known |= fresh
