"""Skeletons: joint names, mirror pairs, limbs, OKS sigmas and upper body.

A skeleton is chosen by name (``"coco"``, ``"mpii"`` and others of `skeleton_tables`), or read from a JSON file
with the fields of `Skeleton`, where joints are given by name.
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax import validation
from hrnet_jax.skeleton_tables import TABLES

_OPTIONAL = "joint_weights"  # the field that a skeleton file may lack

ALIASES = {"upper_neck": "neck", "neck": "upper_neck"}
"""Other names of the same joint: MPII's neck is that of the others (as in mmpose's mixtures)."""

MIN_SIGMA = 1e-4  # no annotator is that exact; OKS divides by the square, which underflows for much smaller ones


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The joints of a person, in the order of annotations and heatmaps.

    Attributes:
      name: its name in prepared data and run directories.
      joints: K joint names.
      flip_pairs: pairs of joint indices to swap in a mirrored image.
      limbs: pairs of joint indices to connect by a line.
      sigmas: K standard deviations of the annotators' disagreement, relative to the person's size (the square root
        of the area). The unit of distance of object keypoint similarity (OKS).
      upper_body: joint indices of the upper body, for half-body augmentation.
      joint_weights: K weights of the joints in the loss, by a name such as ``"original"``.
    """

    name: str
    joints: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    upper_body: tuple[int, ...]
    joint_weights: Mapping[str, tuple[float, ...]] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        """Raises ValueError if the fields contradict each other."""
        count, where = len(self.joints), f"skeleton {self.name!r:.100}:"
        if not count or len(set(self.joints)) != count:
            found = validation.short_repr(self.joints)
            raise ValueError(f"{where} `joints` ({found}) must be distinct, and at least one")
        if len(self.sigmas) != count or not all(sigma >= MIN_SIGMA for sigma in self.sigmas):
            found, wanted = validation.short_repr(self.sigmas), f"{count} numbers of at least {MIN_SIGMA:g}"
            raise ValueError(f"{where} `sigmas` (={found}) must be {wanted}, one for each joint")
        mirrored = [joint for pair in self.flip_pairs for joint in pair]
        connected = [joint for limb in self.limbs for joint in limb]
        for weights in self.joint_weights.values():
            self._check_weights(weights)
        if any(not 0 <= joint < count for joint in (*mirrored, *connected, *self.upper_body)):
            raise ValueError(f"{where} joint indices must be between 0 and {count - 1}")
        if len(set(mirrored)) != len(mirrored):
            raise ValueError(f"{where} a joint is in two of the `flip_pairs`")

    def _check_weights(self, weights: Sequence[float]) -> None:
        if len(weights) != len(self.joints) or not all(0 <= weight < np.inf for weight in weights):
            found, count = validation.short_repr(weights), len(self.joints)
            raise ValueError(f"skeleton {self.name!r:.100}: `joint_weights` (={found}) must be {count} numbers")

    def weights_of_joints(self, given: Sequence[Any]) -> np.ndarray:
        """Returns ``[K]`` weights in the loss, given ``config.joint_weights``: (), one name, or K numbers.

        Raises ValueError for an unknown name, or a wrong number of weights.
        """
        given = tuple(given)
        if len(given) == 1 and isinstance(given[0], str):
            if given[0] not in self.joint_weights:
                known = ", ".join(self.joint_weights) or "none"
                raise ValueError(f"`joint_weights` (={given[0]!r}): skeleton {self.name!r:.100} has {known}")
            given = self.joint_weights[given[0]]
        if any(isinstance(weight, str) for weight in given):
            raise ValueError(f"`joint_weights` (={given}) must be (), one name, or numbers")
        if given:
            self._check_weights(given)
        return np.array(given or (1,) * len(self.joints), np.float64)

    @functools.cached_property
    def num_joints(self) -> int:
        """The number of joints (K)."""
        return len(self.joints)

    @functools.cached_property
    def flip_order(self) -> np.ndarray:
        """[K] the joint that each joint becomes in a mirrored image."""
        order = np.arange(self.num_joints)
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return order


def sources_of_joints(joints: Sequence[str], others: Sequence[str]) -> list[int]:
    """Returns for each of K joints the number of the one of that name among others, or -1."""
    numbers = {name: number for number, name in enumerate(others)}
    return [numbers.get(name, numbers.get(ALIASES.get(name, ""), -1)) for name in joints]


def _from_names(
    *,
    name: str,
    joints: list,
    flip_pairs: list,
    limbs: list,
    sigmas: list,
    upper_body: list,
    joint_weights: dict | None = None,
) -> Skeleton:
    """Makes a skeleton with joints given by name."""
    indices = {joint: index for index, joint in enumerate(joints)}

    def index(joint: str) -> int:
        if joint not in indices:
            listed = f"{', '.join(joints):.300}"
            raise ValueError(f"skeleton {name!r:.100}: {joint!r:.100} is not among its joints ({listed})")
        return indices[joint]

    def pairs(named: list[list[str]]) -> tuple[tuple[int, int], ...]:
        if any(len(pair) != 2 for pair in named):
            value = validation.short_repr(named)
            raise ValueError(f"skeleton {name!r:.100}: flip pairs and limbs (={value}) must be of two joints each")
        return tuple((index(a), index(b)) for a, b in named)

    mirrored, connected = pairs(flip_pairs), pairs(limbs)
    weights = {key: tuple(values) for key, values in (joint_weights or {}).items()}
    upper = tuple(map(index, upper_body))
    return Skeleton(name, tuple(joints), mirrored, connected, tuple(sigmas), upper, weights)


SKELETONS = {name: _from_names(**table) for name, table in TABLES.items()}
"""Built-in skeletons by name."""

COCO, MPII = SKELETONS["coco"], SKELETONS["mpii"]


def load(name_or_path: str | os.PathLike) -> Skeleton:
    """Returns a built-in skeleton by name, or reads one from a JSON file.

    The file holds the fields of `Skeleton`, with joints by name: ``{"name": "horse", "joints": ["nose", ...],
    "flip_pairs": [["left_ear", "right_ear"], ...], "limbs": [["nose", "left_ear"], ...],
    "sigmas": [0.026, ...], "upper_body": ["nose", ...], "joint_weights": {"mine": [1.0, ...]}}``. The
    last field is optional.

    Raises:
      FileNotFoundError: it is neither a built-in skeleton nor a file.
      ValueError: the file is not JSON, a field is missing, or the fields contradict each other.
    """
    if name_or_path in SKELETONS:
        return SKELETONS[str(name_or_path)]
    path = pathlib.Path(name_or_path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`skeleton` (={str(name_or_path)!r}) is neither a file nor one of: {', '.join(SKELETONS)}"
        )
    return from_json(validation.read_json(path), str(path))


def from_json(content: Any, where: str) -> Skeleton:
    """Returns the skeleton of a parsed file, see `load`. Raises ValueError that begins with `where`."""
    _check_fields(content, where)
    try:
        return _from_names(**content)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _check_fields(content: Any, where: str) -> None:
    """Raises ValueError, beginning with `where`, unless the fields are complete and of the right types."""
    wanted = [field.name for field in dataclasses.fields(Skeleton) if field.name != _OPTIONAL]
    if not isinstance(content, dict) or content.keys() - {_OPTIONAL} != set(wanted):
        found = validation.short_repr(content)
        raise ValueError(f"{where}: a skeleton file needs the fields {', '.join(wanted)}, not {found}")
    for name in wanted:
        validation.require(content, name, str if name == "name" else list, where)
    for name in ("joints", "upper_body"):
        validation.names(content[name], f"{where}: `{name}`")
    for name in ("flip_pairs", "limbs"):
        for pair in content[name]:
            validation.names(pair, f"{where}: a pair in `{name}`")
    validation.numbers(content["sigmas"], len(content["sigmas"]), f"{where}: `sigmas`")
    for weights in validation.require({_OPTIONAL: {}, **content}, _OPTIONAL, dict, where).values():
        validation.numbers(weights, len(content["joints"]), f"{where}: `{_OPTIONAL}`")


def to_json(skeleton: Skeleton) -> dict[str, Any]:
    """Returns the content of the file that `load` reads."""
    joints, named = skeleton.joints, {}
    for field in ("flip_pairs", "limbs"):
        named[field] = [[joints[a], joints[b]] for a, b in getattr(skeleton, field)]
    named["upper_body"] = [joints[joint] for joint in skeleton.upper_body]
    return json.loads(json.dumps(dataclasses.asdict(skeleton) | named))


def save(skeleton: Skeleton, path: str | os.PathLike) -> None:
    """Writes a skeleton as the JSON file that `load` reads."""
    pathlib.Path(path).write_text(json.dumps(to_json(skeleton), indent=1))
