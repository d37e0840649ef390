"""Finds joints that come in two sides although the skeleton pairs none, whatever words name the sides.

Two words are those of sides if they name the same parts (``knee_gauche``, ``knee_droite``), no third word does,
and in each person the same side is on the left in nearly all parts, as in people seen from the front or behind.
"""

import collections
import itertools
import re

import numpy as np

from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.skeletons import Skeleton

MIN_PARTS = 3
AGREEMENT = 0.8  # of parts that have the same side on the left, mean over people (measured: .9 and more)


def examine(people: AnnotatedPeople, skeleton: Skeleton) -> list[Finding]:
    """Returns a finding if the skeleton has no mirror pairs, but its names and the people have two sides."""
    pairs = [] if skeleton.flip_pairs else _sides(skeleton.joints)
    if len(pairs) < MIN_PARTS or _agreement(people, np.array(pairs)) < AGREEMENT:
        return []
    listed = [f"{skeleton.joints[a]} and {skeleton.joints[b]}" for a, b in pairs]
    what = "no mirror pairs are given, but {count} joints have another on the other side of the body"
    remedy = "write these pairs as `flip_pairs` of the skeleton: else mirrored people are learned wrongly"
    return found("flip_pairs", "warning", listed, what, remedy)


def _sides(names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Returns the joints of two words that share their parts with no third word; the most of all such words."""
    parts: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for joint, name in enumerate(names):
        words = re.findall("[A-Z]?[^\\W\\dA-Z_]+|[A-Z]+|\\d+", name)
        for word in words:
            parts[word][" ".join(other for other in words if other != word)] = joint
    best: list[tuple[int, int]] = []
    for a, b in itertools.combinations(parts, 2):
        shared = parts[a].keys() & parts[b].keys()
        thirds = (other for other in parts if other not in (a, b) and len(shared & parts[other].keys()) > 1)
        if len(shared) > len(best) and not any(thirds):
            best = [(parts[a][part], parts[b][part]) for part in sorted(shared)]
    return best


def _agreement(people: AnnotatedPeople, pairs: np.ndarray) -> float:
    """Returns the mean share of a person's pairs whose same side is on the left; 0 without such people."""
    first, second = pairs.T
    across = np.sign(people.joints[:, first, 0] - people.joints[:, second, 0])
    both = people.labelled[:, first] & people.labelled[:, second]
    count = both.sum(axis=1)
    several = count >= MIN_PARTS
    same = np.abs((across * both).sum(axis=1)[several]) / count[several]
    return float((1 + same.mean()) / 2) if several.any() else 0.0
