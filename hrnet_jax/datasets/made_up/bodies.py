"""Made-up people as solids: what a body can do, and where its joints and parts then are.

A body stands in its own space: x to the person's left, y up, z to the front; the unit is the standing height.
A frame is a [3, 3] rotation whose columns are a part's left, up and front. Angles are in degrees (`poses`).
"""

import dataclasses

import numpy as np

from hrnet_jax.datasets.made_up import poses

# How far in front of a joint its own flesh may reach, in heights; what is farther in front hides the joint.
DEPTHS = {
    "nose": 0.020, "eye": 0.016, "ear": 0.020, "shoulder": 0.075, "elbow": 0.045, "wrist": 0.036,
    "hip": 0.105, "knee": 0.060, "ankle": 0.045,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Shape:
    """The proportions of one person, as factors on a middling one."""

    girth: float
    shoulders: float
    hips: float
    arms: float
    legs: float
    head: float


@dataclasses.dataclass(frozen=True)
class Part:
    """A cone with round ends and an oval section, in body or view space.

    Attributes:
      name: what it is, sides left out: ``"thigh"``.
      start, end: [3] centres of the end balls. ``radii``: their radii, measured from left to right.
      frame: [3, 3] the part's left, up and front; the axis from start to end is made to agree with it.
      depth: thickness from front to back over that from left to right.
      offset: where along the garment the part starts, so that its pattern runs on from the part before.
      flat: whether it ends in a plane instead of a ball.
    """

    name: str
    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]
    frame: np.ndarray
    depth: float = 1.0
    offset: float = 0.0
    flat: bool = False


@dataclasses.dataclass(frozen=True)
class Body:
    """A posed person: `joints` name -> [3], `parts`, both in the same space, and what the pose is called."""

    joints: dict[str, np.ndarray]
    parts: list[Part]
    pose: str


def turn(axis: int, degrees: float) -> np.ndarray:
    """Returns the [3, 3] right-handed rotation about axis 0 (x), 1 (y) or 2 (z)."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[[a, b], [a, b]] = cosine
    matrix[a, b], matrix[b, a] = -sine, sine
    return matrix


def sample_shape(rng: np.random.Generator) -> Shape:
    """Draws a person's proportions."""
    normal = rng.normal
    return Shape(
        girth=float(np.clip(normal(1.0, 0.12), 0.8, 1.35)),
        shoulders=float(np.clip(normal(1.0, 0.07), 0.85, 1.15)),
        hips=float(np.clip(normal(1.0, 0.06), 0.88, 1.15)),
        arms=float(np.clip(normal(1.0, 0.03), 0.93, 1.07)),
        legs=float(np.clip(normal(1.0, 0.03), 0.93, 1.07)),
        head=float(np.clip(normal(1.06, 0.05), 0.95, 1.2)),
    )


def build(shape: Shape, angles: dict[str, float], pose: str = "") -> Body:
    """Puts the bones together, from the pelvis outwards, and wraps them in parts.

    The pelvis stands at the origin, facing +z. Legs are counted from the vertical, not from the bent back.
    """
    joints: dict[str, np.ndarray] = {}
    parts: list[Part] = []
    bend = angles["spine_bend"]
    pelvis = turn(0, 0.35 * bend) @ turn(2, 0.3 * angles["spine_side"])
    waist = (
        pelvis @ turn(0, 0.3 * bend) @ turn(2, 0.3 * angles["spine_side"]) @ turn(1, 0.4 * angles["spine_twist"])
    )
    chest = (
        waist @ turn(0, 0.35 * bend) @ turn(2, 0.4 * angles["spine_side"]) @ turn(1, 0.6 * angles["spine_twist"])
    )
    neck = _torso(shape, pelvis, waist, chest, parts)
    for side, sign in (("left_", 1.0), ("right_", -1.0)):
        own = {name: angles[side + name] for name in poses.SIDED}
        _leg(side, sign, shape, own, pelvis, joints, parts)
        _arm(side, sign, shape, own, chest, neck, joints, parts)
    turned = turn(1, angles["neck_turn"]) @ turn(2, angles["neck_side"]) @ turn(0, angles["neck_bend"])
    _head(shape, chest @ turned, neck, joints, parts)
    return Body(joints, parts, pose)


def _torso(
    shape: Shape, pelvis: np.ndarray, waist: np.ndarray, chest: np.ndarray, parts: list[Part]
) -> np.ndarray:
    """Adds the trunk and returns where the neck begins."""
    girth, up = shape.girth, np.array([0.0, 1.0, 0.0])
    low = pelvis @ np.array([0.0, 0.012, 0.0])
    belt = pelvis @ up * 0.062
    middle = belt + waist @ up * 0.085
    top = middle + chest @ up * 0.105
    neck = top + chest @ up * 0.045
    hip, side = 0.083 * shape.hips * (0.4 + 0.6 * girth), 0.083 * (0.4 * shape.shoulders + 0.6 * girth)
    parts.append(Part("pelvis", low, belt, (hip, 0.95 * hip), pelvis, 0.70, -0.062))
    parts.append(Part("waist", belt, middle, (0.078 * girth, side), waist, 0.70))
    parts.append(Part("chest", middle, top, (side, 0.082 * shape.shoulders), chest, 0.66, 0.085))
    return neck


def _leg(
    side: str,
    sign: float,
    shape: Shape,
    own: dict[str, float],
    pelvis: np.ndarray,
    joints: dict[str, np.ndarray],
    parts: list[Part],
) -> None:
    """Adds one leg: hip, knee and ankle, and its parts down to the shoe."""
    girth, down = 0.35 + 0.65 * shape.girth, np.array([0.0, -1.0, 0.0])
    hip = pelvis @ np.array([sign * 0.052 * shape.hips, 0.0, 0.0])
    thigh = turn(0, -own["hip_swing"]) @ turn(2, sign * own["hip_spread"]) @ turn(1, sign * own["hip_twist"])
    knee = hip + thigh @ down * 0.245 * shape.legs
    shin = thigh @ turn(0, own["knee"])
    calf = knee + shin @ (down * 0.075 + np.array([0.0, 0.0, -0.007])) * shape.legs
    ankle = knee + shin @ down * 0.235 * shape.legs
    foot = shin @ turn(0, own["ankle"])
    heel, toe = ankle + foot @ np.array([0, -0.020, -0.018]), ankle + foot @ np.array([0, -0.030, 0.086])
    parts.append(Part("thigh", hip, knee, (0.054 * girth, 0.035 * girth), thigh))
    parts.append(Part("shin", knee, calf, (0.034 * girth, 0.038 * girth), shin))
    parts.append(Part("shin", calf, ankle, (0.038 * girth, 0.021), shin, 1.0, 0.075))
    parts.append(Part("shoe", heel, toe, (0.027, 0.022), foot))
    joints |= {f"{side}hip": hip, f"{side}knee": knee, f"{side}ankle": ankle}


def _arm(
    side: str,
    sign: float,
    shape: Shape,
    own: dict[str, float],
    chest: np.ndarray,
    neck: np.ndarray,
    joints: dict[str, np.ndarray],
    parts: list[Part],
) -> None:
    """Adds one arm: shoulder, elbow and wrist, and its parts from the neck to the finger tips."""
    girth, down = 0.35 + 0.65 * shape.girth, np.array([0.0, -1.0, 0.0])
    lift = max(0.0, max(own["shoulder_spread"], own["shoulder_swing"]) - 70.0) / 100.0  # the blade goes along
    shoulder = neck + chest @ np.array(
        [sign * (0.106 - 0.012 * lift) * shape.shoulders, -0.030 + 0.030 * lift, 0.0]
    )
    turned = turn(0, -own["shoulder_swing"]) @ turn(2, sign * own["shoulder_spread"])
    upper = chest @ turned @ turn(1, sign * own["shoulder_twist"])
    elbow = shoulder + upper @ down * 0.168 * shape.arms
    fore = upper @ turn(0, -own["elbow"])
    wrist = elbow + fore @ down * 0.145 * shape.arms
    hand = fore @ turn(1, sign * -70) @ turn(0, -own["wrist"])
    palm, tips = wrist + hand @ down * 0.034, wrist + hand @ down * 0.076
    thumb = wrist + hand @ np.array([-sign * 0.024, -0.046, 0.006])
    parts.append(Part("yoke", neck + chest @ down * 0.012, shoulder, (0.040, 0.036 * girth), chest, 1.0))
    parts.append(Part("upper_arm", shoulder, elbow, (0.037 * girth, 0.026 * girth), upper))
    parts.append(Part("forearm", elbow, elbow + 0.3 * (wrist - elbow), (0.0255 * girth, 0.027 * girth), fore))
    parts.append(
        Part("forearm", elbow + 0.3 * (wrist - elbow), wrist, (0.027 * girth, 0.0165), fore, 1.0, 0.3 * 0.145)
    )
    parts.append(Part("hand", palm, tips, (0.021, 0.013), hand, 0.5))
    parts.append(Part("hand", wrist, palm, (0.015, 0.021), hand, 0.6))
    parts.append(Part("hand", wrist + 0.3 * (palm - wrist), thumb, (0.009, 0.007), hand))
    joints |= {f"{side}shoulder": shoulder, f"{side}elbow": elbow, f"{side}wrist": wrist}


def _head(
    shape: Shape, frame: np.ndarray, neck: np.ndarray, joints: dict[str, np.ndarray], parts: list[Part]
) -> None:
    """Adds neck, skull, jaw, nose and ears, and the five joints of the face."""
    size = shape.head

    def at(x: float, y: float, z: float) -> np.ndarray:
        return neck + frame @ (np.array([0.0, 0.062, 0.010]) + size * np.array([x, 0.028 + y, z]))

    parts.append(
        Part("neck", neck + frame @ np.array([0, -0.02, -0.008]), at(0, -0.02, -0.012), (0.034, 0.029), frame)
    )
    parts.append(
        Part("head", at(0, 0.000, -0.002), at(0, 0.014, -0.004), (0.045 * size, 0.046 * size), frame, 1.22)
    )
    parts.append(Part("jaw", at(0, 0.000, 0.012), at(0, -0.042, 0.020), (0.041 * size, 0.021 * size), frame))
    parts.append(Part("nose", at(0, 0.004, 0.050), at(0, -0.014, 0.056), (0.005 * size, 0.0085 * size), frame))
    for side, sign in (("left_", 1.0), ("right_", -1.0)):
        ear = at(sign * 0.045, 0.002, -0.004), at(sign * 0.047, -0.012, -0.002)
        parts.append(Part("ear", ear[1], ear[0], (0.0065 * size, 0.008 * size), frame, 1.6))
        joints[f"{side}ear"] = at(sign * 0.049, -0.004, -0.003)
        joints[f"{side}eye"] = at(sign * 0.0185, 0.006, 0.047)
    joints["nose"] = at(0, -0.014, 0.064)


def place(body: Body, view: np.ndarray, distance: float, height: float) -> Body:
    """Turns a body and projects it: x to the right, y up, z to the viewer, in pixels about the pelvis.

    Args:
      body: in body space.
      view: [3, 3] rotation from body to view space.
      distance: from the camera to the pelvis in standing heights (infinite: no perspective). What is nearer
        grows by ``distance / (distance - z)``, radii included, so that a cone stays a cone.
      height: what a standing person measures in pixels.
    """

    def project(point: np.ndarray) -> tuple[np.ndarray, float]:
        turned = view @ point
        growth = height / (1.0 - turned[2] / distance)
        return turned * growth, float(growth)

    parts = []
    for part in body.parts:
        (start, start_growth), (end, end_growth) = project(part.start), project(part.end)
        radii = part.radii[0] * start_growth, part.radii[1] * end_growth
        parts.append(dataclasses.replace(part, start=start, end=end, radii=radii, frame=view @ part.frame))
    return Body({name: project(point)[0] for name, point in body.joints.items()}, parts, body.pose)
