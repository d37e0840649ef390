"""Grouping of joints to people by their tags (associative embedding), on the host.

Each joint has up to M candidates: peaks of its heatmap with their tags. Joints are taken in turn, the steadiest
first. Their candidates are assigned to the people found so far, by the distance of tags. A candidate that is close
to none founds a person. Newell et al., "Associative Embedding", NIPS 2017, section 3.3. The defaults group exactly
as the release of HigherHRNet does (Cheng et al., CVPR 2020).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from hrnet_jax import skeletons
from hrnet_jax.bottom_up import assignment
from hrnet_jax.skeleton_tables import part_of

LIMB_ENDS = ("elbow", "wrist", "knee", "ankle")
"""Parts that move most. They are grouped last, so that they do not found people."""

LEFT_OVER = 1e10
"""Cost of a candidate without a person. As in the release, because costs beside it are rounded to 2e-6."""

LARGEST = 1e18
"""Values and tags must be below. No network gives such ones, and their sums and squares fit in float32."""


@dataclasses.dataclass(frozen=True)
class Grouping:
    """Settings of `group`. The defaults are the release's.

    Attributes:
      joint_threshold: candidates up to this value of the heatmap are ignored. 0.1: `DETECTION_THRESHOLD`.
      tag_threshold: L2 distance of tags from which a candidate does not belong to a person. 1: `TAG_THRESHOLD`.
      most_people: candidates are compared with this many people, in the order in which they were found. 30:
        `MAX_NUM_PEOPLE`. People beyond it get no further joints, so each of their joints founds one more person:
        a crowd of 42 becomes 170 or more. None, beyond the release, compares with all.
      use_value: whether distances are rounded and the higher value decides between equal ones, as
        `USE_DETECTION_VAL` does. Otherwise the distance alone counts.
      ignore_too_much: whether a joint is ignored if there are `most_people` people, as `IGNORE_TOO_MUCH` does.
        More can still be found at once.
    """

    joint_threshold: float = 0.1
    tag_threshold: float = 1.0
    most_people: int | None = 30
    use_value: bool = True
    ignore_too_much: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        if not 0 <= self.joint_threshold < math.inf:
            raise ValueError(
                f"`joint_threshold` (={self.joint_threshold}) must be at least 0: the release takes 0.1"
            )
        if not self.tag_threshold > 0:
            raise ValueError(f"`tag_threshold` (={self.tag_threshold}) must be above 0: the release takes 1")
        if self.most_people is not None and self.most_people < 1:
            raise ValueError(
                f"`most_people` (={self.most_people}) must be at least 1, or None to compare with all"
            )
        if self.ignore_too_much and self.most_people is None:
            raise ValueError("`ignore_too_much` needs `most_people`, a number of people that is too much")


RELEASE = Grouping()

CROWD = Grouping(most_people=None)
"""For more than 30 people: none of them falls to pieces."""


def joint_order(skeleton: skeletons.Skeleton) -> tuple[int, ...]:
    """Returns the K joints in the order in which they are grouped: head and trunk first, then `LIMB_ENDS`.

    For COCO this is the release's order. The release takes the same numbers for CrowdPose, where they stand for
    other joints. That is kept, because the published results are such. The release has no other skeletons.
    """
    named = skeletons.COCO if skeleton.joints == skeletons.SKELETONS["crowdpose"].joints else skeleton
    order = sorted(range(named.num_joints), key=lambda joint: part_of(named.joints[joint]) in LIMB_ENDS)
    return tuple(joint for joint in order if joint < skeleton.num_joints)


def group(
    values: np.ndarray,
    places: np.ndarray,
    tags: np.ndarray,
    order: Sequence[int],
    settings: Grouping = RELEASE,
) -> np.ndarray:
    """Groups the candidates of a photo to people.

    Args:
      values: ``[K, M]`` of the heatmaps.
      places: ``[K, M, 2]`` (x, y) in pixels of the heatmaps.
      tags: ``[K, M, T]``, used as float32.
      order: the K joints in the order in which they are grouped, see `joint_order`.
      settings: see `Grouping`.

    Returns:
      ``[P, K, 3 + T]`` float32: x, y, value and tags of the joints of P people, in the order in which they were
      found. All are 0 for a missing joint.

    Raises:
      ValueError: a value or a tag is not finite, shapes do not fit, or `order` does not name each joint once.
    """
    values = np.asarray(values, np.float64)  # in float32, 0.1 would not be above `joint_threshold`
    tags = np.asarray(tags, np.float32)
    _check(values, places, tags, order)
    people = _People(tags)
    for joint in order:
        rows = np.flatnonzero(values[joint] > settings.joint_threshold)
        means = people.means(settings.most_people)
        if not (settings.ignore_too_much and len(means) == settings.most_people):
            people.add(joint, rows, _match(values[joint, rows], tags[joint, rows], means, settings))
    joints = np.concatenate([places, values[..., None], tags], axis=2, dtype=np.float32)
    return people.gather(joints)


def _check(values: np.ndarray, places: np.ndarray, tags: np.ndarray, order: Sequence[int]) -> None:
    if places.shape != (*values.shape, 2) or tags.shape[:-1] != values.shape:
        raise ValueError(
            f"`values`, `places` and `tags` (of {values.shape}, {places.shape}, {tags.shape}) must be"
            " [K, M], [K, M, 2] and [K, M, T]"
        )
    if sorted(order) != list(range(len(values))):
        raise ValueError(f"`order` (={tuple(order)}) must name each of the {len(values)} joints once")
    for name, array in (("values", values), ("tags", tags)):
        if not (np.abs(array) < LARGEST).all():
            joint, candidate, *_ = np.argwhere(~(np.abs(array) < LARGEST))[0].tolist()
            raise ValueError(
                f"`{name}` of joint {joint}, candidate {candidate} (={array[joint, candidate]}) must be finite and"
                f" below {LARGEST:g}: the network has diverged; take an earlier checkpoint, or leave the photo out"
            )


def _match(values: np.ndarray, tags: np.ndarray, means: np.ndarray, settings: Grouping) -> list[int]:
    """Assigns the candidates of a joint to people.

    Args:
      values: ``[R]`` float64.
      tags: ``[R, T]`` float32.
      means: ``[C, T]`` float32 mean tags of people.
      settings: see `Grouping`.

    Returns:
      The person of each candidate, or -1 if it is close to none or was left over.
    """
    rows, columns = len(tags), len(means)
    if not rows or not columns:
        return [-1] * rows
    distance = np.full((rows, max(rows, columns)), np.inf)
    difference = tags.astype(np.float64)[:, None] - means
    distance[:, :columns] = np.sqrt(np.square(difference).sum(axis=2))
    cost = np.rint(distance) * 100 - values[:, None] if settings.use_value else distance.copy()
    cost[:, columns:] = LEFT_OVER
    chosen = np.array(assignment.assign(cost))
    close = distance[np.arange(rows), chosen] < settings.tag_threshold
    return np.where(close, chosen, -1).tolist()


class _People:
    """The people found so far.

    A person is known by the first tag of the candidate that founded it. As in the release, a founder with the tag
    of an earlier person replaces that person's joint and all its tags.

    Args:
      tags: ``[K, M, T]`` float32 of all candidates.
    """

    def __init__(self, tags: np.ndarray):
        joints, candidates, size = tags.shape
        self._tags = tags
        self._numbers: dict[float, int] = {}
        self._counts: list[int] = []
        self._held = np.zeros((joints * candidates, joints, size), np.float32)
        self._rows = np.full((joints * candidates, joints), -1)

    def add(self, joint: int, rows: np.ndarray, owners: list[int]) -> None:
        """Adds candidates of a joint, given by row, to people. An owner of -1 founds a person."""
        tags = self._tags[joint, rows]
        numbers, slots = [], []
        for owner, key in zip(owners, tags[:, 0].tolist(), strict=True):
            number = self._found(key) if owner < 0 else owner
            numbers.append(number)
            slots.append(self._counts[number])
            self._counts[number] += 1
        self._rows[numbers, joint] = rows
        self._held[numbers, slots] = tags

    def _found(self, key: float) -> int:
        number = self._numbers.setdefault(key, len(self._numbers))
        self._counts[number : number + 1] = [0]
        return number

    def means(self, limit: int | None) -> np.ndarray:
        """Returns the ``[C, T]`` float32 mean tags of the first people, up to `limit`.

        Sums in float32 in the order of numpy's `mean` of ``[N, T]``, as the release does: one by one, but in pairs
        if T is 1 and N at least 8. The last bit can decide.
        """
        counts = np.array(self._counts[:limit], np.int64)
        is_held = np.arange(self._held.shape[1]) < counts[:, None]
        sums = np.where(is_held[..., None], self._held[: len(counts)], 0).cumsum(axis=1)[:, -1]
        if sums.shape[1] == 1:
            for number in np.flatnonzero(counts >= 8):
                sums[number] = self._held[number, : counts[number]].sum(axis=0)
        return sums / counts[:, None].astype(np.float32)

    def gather(self, candidates: np.ndarray) -> np.ndarray:
        """Returns people ``[P, K, D]``, given candidates ``[K, M, D]``. Missing joints are 0."""
        rows = self._rows[: len(self._counts)]
        found = candidates[np.arange(len(candidates)), rows]
        return np.where(rows[..., None] >= 0, found, np.float32(0))
