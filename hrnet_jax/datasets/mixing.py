"""Several prepared splits as one: people of other skeletons are mapped by the names of their joints.

Joints of the skeleton that a data set lacks have no label, so their weight in the loss is 0. Ids of different data
sets may be the same: photos and people are known by their rows.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hrnet_jax.datasets import records
from hrnet_jax.skeletons import Skeleton

ALIASES = {"upper_neck": "neck", "neck": "upper_neck"}
"""Other names of the same joint: MPII's neck is that of the others (as in mmpose's mixtures)."""

MOST_COMPARED = 100  # photos of equal ids, compared by name


class Joined(Sequence):
    """Sequences one after the other."""

    def __init__(self, parts: Sequence[Sequence]):
        self._parts, self._starts = parts, np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, row: Any) -> Any:
        """Returns an element by its number, counted from 0."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._parts[part][row - int(self._starts[part])]


def sources_of_joints(skeleton: Skeleton, other: Skeleton) -> list[int]:
    """Returns for each of K joints the number of the other skeleton's joint of that name, or -1."""
    numbers = {name: number for number, name in enumerate(other.joints)}
    return [numbers.get(name, numbers.get(ALIASES.get(name, ""), -1)) for name in skeleton.joints]


def map_people(people: records.People, skeleton: Skeleton, other: Skeleton) -> records.People:
    """Returns people of another skeleton with the joints of this one; joints that they lack are not labelled."""
    numbers = np.array(sources_of_joints(skeleton, other))
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
        if max(sources_of_joints(skeleton, split.skeleton)) < 0:
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


def describe(splits: Sequence[records.Split], weights: Sequence[float], skeleton: Skeleton) -> str:
    """Returns a table of the joints that each split has, its people and those seen in an epoch."""
    header = ["joint", *map(name, splits)]
    numbers = [sources_of_joints(skeleton, split.skeleton) for split in splits]
    rows = [
        [
            joint,
            *(
                split.skeleton.joints[of[k]] if of[k] >= 0 else "- (weight 0)"
                for split, of in zip(splits, numbers, strict=True)
            ),
        ]
        for k, joint in enumerate(skeleton.joints)
    ]
    unused = [
        ", ".join(joint for k, joint in enumerate(split.skeleton.joints) if k not in of) or "none"
        for split, of in zip(splits, numbers, strict=True)
    ]
    counts = [len(split.people) for split in splits]
    seen = [f"{round(count * weight):,}" for count, weight in zip(counts, weights, strict=True)]
    rows += [
        ["people", *(f"{count:,}" for count in counts)],
        ["seen in an epoch", *seen],
        ["unused joints", *unused],
    ]
    widths = [max(len(row[column]) for row in [header, *rows[:-1]]) for column in range(len(header))]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]
    )
    return "\n".join(line.rstrip() for line in lines)


def shared_photos(split: records.Split, other: records.Split) -> str:
    """Returns what is to be said of photo ids that two splits share, "" for none."""
    shared, rows, others = np.intersect1d(split.people.photo_id, other.people.photo_id, return_indices=True)
    if not len(shared):
        return ""
    pairs = [
        (_file_name(split, row), _file_name(other, row_of_other))
        for row, row_of_other in zip(rows[:MOST_COMPARED], others[:MOST_COMPARED], strict=True)
    ]
    same = [mine for mine, theirs in pairs if mine == theirs]
    about = f"{len(shared):,} photo ids are in both {name(split)} and {name(other)}"
    if same:
        return f"{about}, {len(same)} of the first {len(pairs)} under one file name, such as {same[0]}: the same photos?"
    return (
        f"{about}, for different photos ({shared[0]}: {pairs[0][0]} and {pairs[0][1]}); reports name the data set"
    )


def _file_name(split: records.Split, row: int) -> str:
    """Returns the name of a person's photo, without folders."""
    found = split.photos[int(split.people.photo_index[row])]["file_name"]
    return (found.decode() if isinstance(found, bytes) else str(found)).rpartition("/")[2]
