"""Several prepared splits as one: people of other skeletons are mapped by the names of their joints.

Joints of the skeleton that a data set lacks have no label, so their weight in the loss is 0. Ids of different data
sets may be the same: photos and people are known by their rows.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hrnet_jax.datasets import records
from hrnet_jax.skeletons import Skeleton, sources_of_joints

NO_JOINT = "- (weight 0)"
MOST_COMPARED = 100  # photos of equal ids, compared by name


class Joined(Sequence):
    """Sequences one after the other."""

    def __init__(self, parts: Sequence[Any]):
        self._parts, self._starts = parts, np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, row: Any) -> Any:
        """Returns an element by its number, counted from 0."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._parts[part][row - int(self._starts[part])]


def map_people(people: records.People, skeleton: Skeleton, other: Skeleton) -> records.People:
    """Returns people of another skeleton with the joints of this one; joints that they lack are not labelled."""
    numbers = np.array(sources_of_joints(skeleton.joints, other.joints))
    visible = np.where(numbers >= 0, people.visible[:, numbers], 0.0)
    joints = np.where(numbers[:, None] >= 0, people.joints[:, numbers], 0.0)
    return dataclasses.replace(people, joints=joints, visible=visible)


def join(splits: Sequence[records.Split], skeleton: Skeleton) -> records.Split:
    """Returns the people and photos of splits in one, with the joints of `skeleton`; the rest is of the first.

    Raises ValueError if a split has no joint of the skeleton, or is there twice.
    """
    places = [split.annotations.parent.resolve() for split in splits]
    for split, place in zip(splits, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"`data.extra`: {place} is there twice: raise its number in `data.weights` instead")
        if max(sources_of_joints(skeleton.joints, split.skeleton.joints)) < 0:
            found, wanted = ", ".join(split.skeleton.joints)[:200], ", ".join(skeleton.joints)[:200]
            raise ValueError(
                f"`data.extra`: no joint of {place} ({found}) has the name of a joint of skeleton"
                f" {skeleton.name!r} ({wanted}): all would be without labels; leave it out"
            )
    starts = np.cumsum([0, *(len(split.photos) for split in splits)])
    tables = [
        dataclasses.replace(
            map_people(split.people, skeleton, split.skeleton), photo_index=split.people.photo_index + start
        )
        for split, start in zip(splits, starts, strict=False)
    ]
    people = {name: np.concatenate([vars(table)[name] for table in tables]) for name in vars(tables[0])}
    decoded = [split.decoded for split in splits if split.decoded is not None]
    return dataclasses.replace(
        splits[0],
        photos=Joined([split.photos for split in splits]),
        people=records.People(**people),
        skeleton=skeleton,
        decoded=Joined(decoded) if len(decoded) == len(splits) else None,
    )


def digest(splits: Iterable[records.Split]) -> str:
    """Returns `records.digest` of one split, or a digest of those of several."""
    digests = [records.digest(split) for split in splits]
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]


def name(split: records.Split) -> str:
    """Returns the directory of a split, as messages name it."""
    return "/".join(split.annotations.parent.parts[-2:])


def shares(splits: Sequence[records.Split], weights: Sequence[float]) -> tuple[tuple[int, float], ...]:
    """Returns the people of each split and their visits in an epoch, by default 1.

    Raises ValueError for another number of weights, or one so small that nobody is visited.
    """
    counts = [len(split.people) for split in splits]
    given = tuple(weights) or (1.0,) * len(splits)
    if len(given) != len(splits) or not all(np.isfinite(weight) and weight > 0 for weight in given):
        listed = ", ".join(map(name, splits))
        raise ValueError(f"`data.weights` (={given}) must be () or {len(splits)} numbers above 0: for {listed}")
    for split, count, weight in zip(splits, counts, given, strict=True):
        if round(count * weight) < 1:
            raise ValueError(
                f"`data.weights` (={given}): {weight} of the {count} people of {name(split)} is nobody"
            )
    return tuple((count, float(weight)) for count, weight in zip(counts, given, strict=True))


def describe(splits: Sequence[records.Split], visits: Sequence[tuple[int, float]], skeleton: Skeleton) -> str:
    """Returns a table of the joints that each split has, its people and the visits to them in an epoch."""
    numbers = [sources_of_joints(skeleton.joints, split.skeleton.joints) for split in splits]
    pairs = [*zip(splits, numbers, strict=True)]
    rows = [["joint", *map(name, splits)]]
    rows += [
        [joint, *(split.skeleton.joints[of[k]] if of[k] >= 0 else NO_JOINT for split, of in pairs)]
        for k, joint in enumerate(skeleton.joints)
    ]
    rows.append(["people", *(f"{count:,}" for count, _ in visits)])
    rows.append(["visits in an epoch", *(f"{round(count * weight):,}" for count, weight in visits)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = ((f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    unused = {
        name(split): [joint for k, joint in enumerate(split.skeleton.joints) if k not in of] for split, of in pairs
    }
    lines = [f"training on {len(splits)} data sets", *("  ".join(row).rstrip() for row in cells)]
    return "\n".join(
        lines + [f"{of}: not trained on: {', '.join(joints)}" for of, joints in unused.items() if joints]
    )


def notes(splits: Sequence[records.Split]) -> list[str]:
    """Returns what is to be said of photo ids that splits share, for the splits to train on and to evaluate on."""
    told = (_shared(split, other) for split, other in itertools.combinations(splits, 2))
    return [note for note in told if note]


def _shared(split: records.Split, other: records.Split) -> str:
    """Returns what is to be said of photo ids that two splits share, "" for none."""
    shared, rows, others = np.intersect1d(split.people.photo_id, other.people.photo_id, return_indices=True)
    if not len(shared):
        return ""
    some = [*zip(rows.tolist(), others.tolist(), strict=True)][:MOST_COMPARED]
    named = [(_file_name(split, row), _file_name(other, row_of_other)) for row, row_of_other in some]
    same = [mine for mine, theirs in named if mine == theirs]
    about = f"{len(shared):,} photo ids are in both {name(split)} and {name(other)}"
    if same:
        known = f"{len(same)} of the first {len(named)} have one file name, such as {same[0]}"
        return f"{about}, and {known}: are these the same photos?"
    return f"{about}, for different photos ({shared[0]}: {named[0][0]} and {named[0][1]}): reports name the set"


def _file_name(split: records.Split, row: int) -> str:
    """Returns the name of a person's photo, without folders."""
    found = split.photos[int(split.people.photo_index[row])]["file_name"]
    return (found.decode() if isinstance(found, bytes) else str(found)).rpartition("/")[2]
