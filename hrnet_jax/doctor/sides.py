"""Finds pairs of joints with left and right swapped, from the cues of `side_cues`.

A swapped pair fails its own cue and the cues that compare other pairs with it. Together they identify the swapped
pairs. The face decides about eyes and shoulders. Without faces, as in MPII, the cues only show that pairs differ.
A pose does not show whether all pairs are swapped. A large data set does: more people are photographed from the
front than from behind.
"""

import numpy as np

from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import binomial_test, side_cues
from hrnet_jax.doctor.binomial_test import Checks
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.doctor.side_cues import Cue
from hrnet_jax.skeletons import Skeleton

# At most this share of people seen from the front, and fewer than a fair coin explains, gives a warning. It is no
# error because some sports are filmed from behind.
FROM_THE_FRONT, LEAST_PEOPLE = 1 / 3, 30
UPRIGHT = 0.5  # least width of the shoulders of someone upright, relative to their difference in height
REMEDY = "look at some of them: exchange left and right in the file, or give the matching skeleton with --skeleton"

FROM_THE_RIGHT = (
    "; if boxes and joints are at the mirrored place in the photos, x is counted from the right: write W - x"
)


def examine(people: AnnotatedPeople, skeleton: Skeleton) -> tuple[str, list[Finding]]:
    """Returns a summary of the cues that decide, and the findings."""
    cues = side_cues.cues(people, skeleton)
    swapped, ambiguous = swapped_pairs(cues)
    if swapped:
        findings = _swapped(swapped, ambiguous, cues)
    else:
        findings = _mixed(cues) + _mirrored(cues) + _from_behind(people, skeleton, cues)
    decided = [cue for cue in cues if binomial_test.verdict(cue.checks) != "unknown"]
    undecided = f"too few people to decide ({len(people):,})" if cues else "this skeleton has no suitable joints"
    return ", ".join(map(str, decided)) or undecided, findings


def _swapped(swapped: list[str], ambiguous: bool, cues: list[Cue]) -> list[Finding]:
    involved = [cue for cue in cues if cue.pair in swapped or cue.reference in swapped]
    ids = dict.fromkeys(number for cue in involved for number in cue.checks.failures.tolist())
    every = {cue.pair for cue in cues} | {cue.reference for cue in cues if cue.reference}
    all_pairs = every == set(swapped) and len(every) > 1
    names = "all pairs" if all_pairs else ", ".join(swapped)
    passed = ", ".join(map(str, involved))
    what = f"left and right are swapped in {names}{', or in the others' * ambiguous} (correct in: {passed})"
    return found("sides_swapped", "error", ids, what, REMEDY + FROM_THE_RIGHT * all_pairs)


def _mixed(cues: list[Cue]) -> list[Finding]:
    """Finds pairs that are swapped in more people than poses explain."""
    findings = []
    for cue in cues:
        if binomial_test.verdict(cue.checks) == "mixed":
            what = (
                f"left and right {cue.pair} are swapped in some people: correct in {cue.checks},"
                f" but at least {cue.checks.floor:.0%} are usual"
            )
            findings += found("sides_partly", "warning", dict.fromkeys(cue.checks.failures.tolist()), what, REMEDY)
    return findings


def _mirrored(cues: list[Cue]) -> list[Finding]:
    """Finds people with both eyes and shoulders mirrored, of whom sound data have none."""
    failures = {cue.pair: set(cue.checks.failures.tolist()) for cue in cues if cue.reference is None}
    both = sorted(failures.get("eye", set()) & failures.get("shoulder", set()))
    what = "left and right are swapped in {count} people: they face the camera, but their sides are mirrored"
    return found("sides_mirrored", "warning", both, what, REMEDY)


def _from_behind(people: AnnotatedPeople, skeleton: Skeleton, cues: list[Cue]) -> list[Finding]:
    """Finds data sets without faces in which most people seem to be seen from behind."""
    pair = side_cues.pairs(skeleton).get("shoulder")
    if pair is None or any(
        cue.reference is None and binomial_test.verdict(cue.checks) != "unknown" for cue in cues
    ):
        return []
    left, right = (people.joints[:, joint] for joint in pair)
    across = left - right
    rows = people.labelled[:, list(pair)].all(axis=1) & ~people.crowd
    rows &= np.abs(across[:, 0]) > UPRIGHT * np.abs(across[:, 1])
    front = Checks(across[rows, 0] > 0, people.annotation_id[rows], 0.5)
    few = len(front) >= LEAST_PEOPLE and front.passed.mean() < FROM_THE_FRONT
    ids = front.failures if few and binomial_test.verdict(front) != "passed" else ()
    what = f"all but {front} people seem to be seen from behind: left and right may be swapped in all pairs"
    return found("sides_behind", "warning", ids, what, REMEDY)


def swapped_pairs(cues: list[Cue]) -> tuple[list[str], bool]:
    """Returns the swapped pairs, and whether instead all others may be swapped.

    Pairs linked to a decided face cue are certain. For all others the cues only show which pairs differ. The
    smaller group is then returned. Eyes are the most reliable cue: if they are swapped in some people only, no
    pair is returned.
    """
    verdicts = [(cue, binomial_test.verdict(cue.checks)) for cue in cues]
    if any(cue.pair == "eye" and verdict == "mixed" for cue, verdict in verdicts):
        return [], False
    decided = [(cue, verdict == "failed") for cue, verdict in verdicts if verdict != "unknown"]
    links = [(cue.pair, cue.reference, failed) for cue, failed in decided if cue.reference]
    states = _propagate({cue.pair: failed for cue, failed in decided if not cue.reference}, links)
    swapped = [pair for pair, state in states.items() if state]
    ambiguous = False
    for start in sorted({pair for link in links for pair in link[:2]} - set(states)):
        if start not in states:
            group = _propagate({start: False}, links)
            states |= group
            sides = [[pair for pair, state in group.items() if state is wanted] for wanted in (True, False)]
            smaller = min(sides, key=len)
            swapped += smaller
            ambiguous |= bool(smaller)
    return sorted(swapped), ambiguous


def _propagate(states: dict[str, bool], links: list[tuple[str, str, bool]]) -> dict[str, bool]:
    """Extends known states to all linked pairs. A link is two pairs, and whether their states differ."""
    states = dict(states)
    while True:
        reached = {}
        for a, b, differs in links:
            for known, other in ((a, b), (b, a)):
                if known in states and other not in states:
                    reached[other] = states[known] ^ differs
        if not reached:
            return states
        states |= reached
