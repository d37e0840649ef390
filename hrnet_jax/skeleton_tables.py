"""Skeletons of published data sets, as the fields of a skeleton file; see `skeletons.load`.

Joints are in the order of the data set's files. Joints that mean the same have the same name in all tables,
because data sets are mixed by name. A table without ``flip_pairs`` pairs each ``left_`` joint with its ``right_``
one.
"""

import itertools
from collections.abc import Sequence
from typing import Any

BODY = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
"""Parts of which COCO has a left and a right one, in its order."""

COCO_SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107,
    "knee": 0.087, "ankle": 0.089,
}  # fmt: skip


def sides(part: str) -> list[str]:
    """Returns the left and the right joint of a part."""
    return [f"left_{part}", f"right_{part}"]


def both_sides(*parts: str) -> list[str]:
    """Returns the left and the right joint of each part."""
    return [side for part in parts for side in sides(part)]


def limb(a: str, b: str) -> list[list[str]]:
    """Returns the limbs between two parts of each side."""
    return [[f"{side}_{a}", f"{side}_{b}"] for side in ("left", "right")]


def chain(*joints: str) -> list[list[str]]:
    """Returns the limbs along a chain of joints."""
    return [list(pair) for pair in itertools.pairwise(joints)]


def part_of(joint: str) -> str:
    """Returns a joint's name without its side."""
    return joint.removeprefix("left_").removeprefix("right_")


def sigmas_of_coco(joints: Sequence[str], **others: float) -> list[float]:
    """Returns COCO's sigmas of joints, and those given for parts that COCO lacks."""
    return [(COCO_SIGMAS | others)[part_of(joint)] for joint in joints]


def _pairs_by_name(joints: Sequence[str]) -> list[list[str]]:
    return [sides(part_of(joint)) for joint in joints if joint.startswith("left_")]


ARMS = ("shoulder", "elbow", "wrist")
LEGS = ("hip", "knee", "ankle")
_ARMS_AND_LEGS = [
    *limb("shoulder", "elbow"),
    *limb("elbow", "wrist"),
    *limb("hip", "knee"),
    *limb("knee", "ankle"),
]
_TRUNK = [*limb("shoulder", "hip"), sides("hip"), ["neck", "left_shoulder"], ["neck", "right_shoulder"]]
_NECK_AND_HEAD = [*_ARMS_AND_LEGS, *_TRUNK, ["head_top", "neck"]]
_UPPER_WITH_HEAD = [*both_sides(*ARMS), "head_top", "neck"]


def _original_weights(joints: Sequence[str]) -> dict[str, list[float]]:
    """Returns the weights that the original's `USE_DIFFERENT_JOINTS_WEIGHT` gives joints."""
    of_part = {"elbow": 1.2, "knee": 1.2, "wrist": 1.5, "ankle": 1.5}
    return {"original": [of_part.get(part_of(joint), 1.0) for joint in joints]}


_FACE_LIMBS = [
    sides("eye"), ["nose", "left_eye"], ["nose", "right_eye"], *limb("eye", "ear"), *limb("ear", "shoulder"),
]  # fmt: skip
_COCO_JOINTS = ["nose", *both_sides(*BODY)]
COCO = {
    "joints": _COCO_JOINTS,
    "limbs": [
        *limb("ankle", "knee"), *limb("knee", "hip"), sides("hip"), *limb("hip", "shoulder"),
        sides("shoulder"), *limb("shoulder", "elbow"), *limb("elbow", "wrist"),
        *_FACE_LIMBS,
    ],
    "sigmas": sigmas_of_coco(_COCO_JOINTS),
    "upper_body": ["nose", *both_sides("eye", "ear", *ARMS)],
    "joint_weights": _original_weights(_COCO_JOINTS),
}  # fmt: skip

# MPII's metric (PCKh) needs no sigmas, so these are COCO's: for joints of the same name; of hips and shoulders for
# pelvis and thorax, their midpoints; and of ears for the ends of the head.
_MPII_JOINTS = [
    *(f"right_{part}" for part in reversed(LEGS)), *(f"left_{part}" for part in LEGS),
    "pelvis", "thorax", "upper_neck", "head_top",
    *(f"right_{part}" for part in reversed(ARMS)), *(f"left_{part}" for part in ARMS),
]  # fmt: skip
MPII = {
    "joints": _MPII_JOINTS,
    "flip_pairs": [sides(part) for part in ("ankle", "knee", "hip", "wrist", "elbow", "shoulder")],
    "limbs": [
        *limb("ankle", "knee"), *limb("knee", "hip"), ["left_hip", "pelvis"], ["right_hip", "pelvis"],
        ["pelvis", "thorax"], ["thorax", "upper_neck"], ["upper_neck", "head_top"],
        ["left_shoulder", "thorax"], ["right_shoulder", "thorax"],
        *limb("shoulder", "elbow"), *limb("elbow", "wrist"),
    ],
    "sigmas": sigmas_of_coco(_MPII_JOINTS, pelvis=0.107, thorax=0.079, upper_neck=0.035, head_top=0.035),
    "upper_body": ["thorax", "upper_neck", "head_top", *both_sides("wrist", "elbow", "shoulder")],
    "joint_weights": _original_weights(_MPII_JOINTS),
}  # fmt: skip

# The sigmas are those of the authors' evaluation tool, crowdposetools.
_CROWDPOSE_JOINTS = [*both_sides(*ARMS, *LEGS), "head_top", "neck"]
CROWDPOSE = {
    "joints": _CROWDPOSE_JOINTS,
    "limbs": [*_NECK_AND_HEAD, sides("shoulder")],
    "sigmas": sigmas_of_coco(_CROWDPOSE_JOINTS, head_top=0.079, neck=0.079),
    "upper_body": _UPPER_WITH_HEAD,
}

# Half the deltas of the evaluation program of AI Challenger 2017 (keypoint_eval.py).
AIC = {
    "joints": [
        *(f"right_{part}" for part in ARMS), *(f"left_{part}" for part in ARMS),
        *(f"right_{part}" for part in LEGS), *(f"left_{part}" for part in LEGS), "head_top", "neck",
    ],
    "limbs": _NECK_AND_HEAD,
    "sigmas": [
        0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144,
        0.03909642, 0.03686941, 0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173,
    ],
    "upper_body": _UPPER_WITH_HEAD,
}  # fmt: skip

# The metric (PCK) needs no sigmas. These are COCO's, and CrowdPose's for head and neck.
_LSP_JOINTS = [
    *(f"right_{part}" for part in reversed(LEGS)), *(f"left_{part}" for part in LEGS),
    *(f"right_{part}" for part in reversed(ARMS)), *(f"left_{part}" for part in ARMS), "neck", "head_top",
]  # fmt: skip
LSP = {
    "joints": _LSP_JOINTS,
    "limbs": _NECK_AND_HEAD,
    "sigmas": sigmas_of_coco(_LSP_JOINTS, head_top=0.079, neck=0.079),
    "upper_body": _UPPER_WITH_HEAD,
}

# The metric (PCK) needs no sigmas. These are mmpose's, from COCO. The head is its centre, not its top.
_JHMDB_JOINTS = [
    "neck", "belly", "head",
    *(f"{side}_{part}" for part in ("shoulder", "hip", "elbow", "knee", "wrist", "ankle")
      for side in ("right", "left")),
]  # fmt: skip
JHMDB = {
    "joints": _JHMDB_JOINTS,
    "limbs": [
        *_ARMS_AND_LEGS, *chain("head", "neck", "belly"), ["neck", "left_shoulder"], ["neck", "right_shoulder"],
        ["belly", "left_hip"], ["belly", "right_hip"],
    ],
    "sigmas": sigmas_of_coco(_JHMDB_JOINTS, neck=0.025, belly=0.107, head=0.025),
    "upper_body": ["neck", "belly", "head", *both_sides(*ARMS)],
}  # fmt: skip

_FEET = ("big_toe", "small_toe", "heel")
_ANKLE_TO_FOOT = [pair for part in _FEET for pair in limb("ankle", part)]

# AlphaPose's 26 joints of Halpe, the first of its 136, with mmpose's sigmas. AlphaPose calls the top of the head
# "head"; "hip" is between the hips.
_HALPE_JOINTS = [*_COCO_JOINTS, "head_top", "neck", "hip", *both_sides(*_FEET)]
HALPE26 = {
    "joints": _HALPE_JOINTS,
    "limbs": [
        *_ARMS_AND_LEGS, *_FACE_LIMBS, ["head_top", "neck"], ["neck", "hip"], ["neck", "left_shoulder"],
        ["neck", "right_shoulder"], ["hip", "left_hip"], ["hip", "right_hip"], *_ANKLE_TO_FOOT,
    ],
    "sigmas": [
        *COCO["sigmas"], 0.026, 0.026, 0.066, *[0.079] * len(both_sides(*_FEET)),
    ],
    "upper_body": [*COCO["upper_body"], "head_top", "neck"],
}  # fmt: skip

# Jin et al. 2020, with the sigmas of the authors' evaluation. The face is numbered as in iBUG's 300-W.
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_HAND = ["hand_root", *(f"{finger}{number}" for finger in _FINGERS for number in range(1, 5))]
_FACE = [f"face_{number}" for number in range(68)]
_MIRRORED_FACE = [
    *((a, 16 - a) for a in range(8)),  # jaw
    *((21 - a, 22 + a) for a in range(5)),  # brows
    (31, 35), (32, 34),  # nostrils
    *((a, 81 - a) for a in range(36, 40)), (40, 47), (41, 46),  # eyes
    (48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67),  # mouth
]  # fmt: skip
_FACE_SIGMAS = [
    .042, .043, .044, .043, .04, .035, .031, .025, .02, .023, .029, .032, .037, .038, .043, .041, .045,
    .013, .012, .011, .011, .012, .012, .011, .011, .013, .015, .009, .007, .007, .007, .012, .009, .008, .016,
    .01, .017, .011, .009, .011, .009, .007, .013, .008, .011, .012, .01, .034, .008, .008, .009, .008, .008, .007,
    .01, .008, .009, .009, .009, .007, .007, .008, .011, .008, .008, .008, .01, .008,
]  # fmt: skip
_HAND_SIGMAS = [
    .029, .022, .035, .037, .047, .026, .025, .024, .035, .018, .024, .022, .026, .017, .021, .021, .032, .02,
    .019, .022, .031,
]  # fmt: skip
_FOOT_SIGMAS = [0.068, 0.066, 0.066, 0.092, 0.094, 0.094]
WHOLEBODY_PARTS = {
    "body": _COCO_JOINTS,
    "foot": [f"{side}_{part}" for side in ("left", "right") for part in _FEET],
    "face": _FACE,
    "lefthand": [f"left_{joint}" for joint in _HAND],
    "righthand": [f"right_{joint}" for joint in _HAND],
}
"""The joints of COCO-WholeBody by the part that its files and metrics name."""
_WHOLEBODY_JOINTS = [joint for joints in WHOLEBODY_PARTS.values() for joint in joints]
WHOLEBODY = {
    "joints": _WHOLEBODY_JOINTS,
    "flip_pairs": [*_pairs_by_name(_WHOLEBODY_JOINTS), *([_FACE[a], _FACE[b]] for a, b in _MIRRORED_FACE)],
    "limbs": [
        *COCO["limbs"], *_ANKLE_TO_FOOT,
        *(pair for side in ("left", "right") for finger in _FINGERS
          for pair in chain(f"{side}_hand_root", *(f"{side}_{finger}{number}" for number in range(1, 5)))),
    ],
    "sigmas": [*COCO["sigmas"], *_FOOT_SIGMAS, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS],
    "upper_body": [*COCO["upper_body"], *_FACE, *WHOLEBODY_PARTS["lefthand"], *WHOLEBODY_PARTS["righthand"]],
}  # fmt: skip

# Yu et al. 2021, with mmpose's sigmas: COCO's of the corresponding human joints.
AP10K = {
    "joints": [
        "left_eye", "right_eye", "nose", "neck", "root_of_tail",
        *(f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "elbow", "front_paw")),
        *(f"{side}_{part}" for side in ("left", "right") for part in ("hip", "knee", "back_paw")),
    ],
    "limbs": [
        sides("eye"), ["nose", "left_eye"], ["nose", "right_eye"], *chain("nose", "neck", "root_of_tail"),
        ["neck", "left_shoulder"], ["neck", "right_shoulder"], *limb("shoulder", "elbow"),
        *limb("elbow", "front_paw"), ["root_of_tail", "left_hip"], ["root_of_tail", "right_hip"],
        *limb("hip", "knee"), *limb("knee", "back_paw"),
    ],
    "sigmas": [
        0.025, 0.025, 0.026, 0.035, 0.035, 0.079, 0.072, 0.062, 0.079, 0.072, 0.062,
        0.107, 0.087, 0.089, 0.107, 0.087, 0.089,
    ],
    "upper_body": ["nose", "neck", *both_sides("eye", "shoulder", "elbow", "front_paw")],
}  # fmt: skip

# The joints of files of 2018 and 2021: COCO's, with the ends of the head for the eyes. Ears are never labelled.
# Sigmas are COCO's. Of the ends of the head there is no agreed one: this is PoseTrack21's (others: 0.025 to 0.08).
_POSETRACK_JOINTS = ["nose", "head_bottom", "head_top", *both_sides(*BODY[1:])]
POSETRACK = {
    "joints": _POSETRACK_JOINTS,
    "limbs": [
        *_ARMS_AND_LEGS, *limb("shoulder", "hip"), sides("hip"), sides("shoulder"),
        *chain("head_top", "nose", "head_bottom"), ["head_bottom", "left_shoulder"],
        ["head_bottom", "right_shoulder"], ["nose", "left_ear"], ["nose", "right_ear"],
    ],
    "sigmas": sigmas_of_coco(_POSETRACK_JOINTS, head_bottom=0.079, head_top=0.079),
    "upper_body": ["nose", "head_bottom", "head_top", *both_sides("ear", *ARMS)],
}  # fmt: skip

_NAMED = {
    "coco": COCO, "mpii": MPII, "crowdpose": CROWDPOSE, "aic": AIC, "halpe26": HALPE26,
    "coco_wholebody": WHOLEBODY, "jhmdb": JHMDB, "lsp": LSP, "ap10k": AP10K, "posetrack": POSETRACK,
}  # fmt: skip
TABLES: dict[str, dict[str, Any]] = {
    name: {"name": name, "flip_pairs": _pairs_by_name(table["joints"]), **table} for name, table in _NAMED.items()
}
"""The fields of skeleton files by name."""
