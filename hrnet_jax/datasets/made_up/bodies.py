"""Bodies of made-up people: bones, joints and the solids around them.

Body space has x to the person's left, y up and z to the front. Its unit is the height of the standing person. A
frame is a [3, 3] rotation with the left, up and front of a part as columns. Angles are in degrees as in `poses`.
"""

import dataclasses

import numpy as np

from hrnet_jax.datasets.made_up import poses

# Greatest distance in heights from a joint forward to its own skin. Any surface beyond it hides the joint.
DEPTHS = {
    "nose": 0.020, "eye": 0.016, "ear": 0.020, "shoulder": 0.075, "elbow": 0.045, "wrist": 0.036,
    "hip": 0.105, "knee": 0.060, "ankle": 0.045,
}  # fmt: skip
SIDES = {"left_": 1.0, "right_": -1.0}  # prefix of a sided name -> sign of x on that side
UP, DOWN = np.array([0.0, 1.0, 0.0]), np.array([0.0, -1.0, 0.0])
# Mean, standard deviation, lowest and highest value of the fields of `Shape`.
SHAPES = (
    (1.0, 0.12, 0.8, 1.35), (1.0, 0.07, 0.85, 1.15), (1.0, 0.06, 0.88, 1.15), (1.0, 0.03, 0.93, 1.07),
    (1.0, 0.03, 0.93, 1.07), (1.06, 0.05, 0.95, 1.2),
)  # fmt: skip

Joints = dict[str, np.ndarray]  # name -> [3] position


@dataclasses.dataclass(frozen=True)
class Shape:
    """Proportions of one person, as factors on the average."""

    girth: float
    shoulders: float
    hips: float
    arms: float
    legs: float
    head: float


@dataclasses.dataclass(frozen=True)
class Part:
    """A cone with round ends and an oval cross-section, in body or view space."""

    name: str  # without its side, such as "thigh"
    start: np.ndarray  # [3] centre of the first end ball
    end: np.ndarray  # [3] centre of the second end ball
    radii: tuple[float, float]  # of the two balls, measured from left to right
    frame: np.ndarray  # [3, 3] left, up and front; `figures` aligns it with the axis from start to end
    depth: float = 1.0  # thickness from front to back, relative to the width
    offset: float = 0.0  # distance from the garment's beginning to `start`: patterns continue across parts
    flat: bool = False  # whether the second end is a plane instead of a ball


@dataclasses.dataclass(frozen=True)
class Body:
    """A posed person: joints and parts in the same space."""

    joints: Joints
    parts: list[Part]
    pose: str

    def part(self, name: str) -> Part:
        """Returns the first part with the given name."""
        return next(part for part in self.parts if part.name == name)


def turn(axis: int, degrees: float) -> np.ndarray:
    """Returns the [3, 3] right-handed rotation about axis 0 (x), 1 (y) or 2 (z)."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.roll([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]], axis, axis=(0, 1))


def sample_shape(rng: np.random.Generator) -> Shape:
    """Draws the proportions of a person."""
    return Shape(*(float(np.clip(rng.normal(mean, std), low, high)) for mean, std, low, high in SHAPES))


def build(shape: Shape, angles: dict[str, float], pose: str = "") -> Body:
    """Builds a body with the angles of `poses.sample`. The pelvis is at the origin and faces +z.

    Hip angles are relative to the vertical, not to the bent back.
    """
    bend, side, twist = angles["spine_bend"], angles["spine_side"], angles["spine_twist"]
    pelvis = turn(0, 0.35 * bend) @ turn(2, 0.3 * side)
    waist = pelvis @ turn(0, 0.3 * bend) @ turn(2, 0.3 * side) @ turn(1, 0.4 * twist)
    chest = waist @ turn(0, 0.35 * bend) @ turn(2, 0.4 * side) @ turn(1, 0.6 * twist)
    neck_turn = turn(1, angles["neck_turn"]) @ turn(2, angles["neck_side"]) @ turn(0, angles["neck_bend"])
    neck, parts = _torso(shape, pelvis, waist, chest)
    joints: Joints = {}
    for name, sign in SIDES.items():
        own = {angle: angles[name + angle] for angle in poses.SIDED}
        for found, added in (_leg(shape, own, sign, pelvis), _arm(shape, own, sign, chest, neck)):
            joints |= {name + joint: position for joint, position in found.items()}
            parts += added
    face, skull = _head(shape.head, chest @ neck_turn, neck)
    return Body(joints | face, parts + skull, pose)


def _torso(shape: Shape, *frames: np.ndarray) -> tuple[np.ndarray, list[Part]]:
    """Returns the base of the neck and the parts of the trunk."""
    pelvis, waist, chest = frames
    girth = shape.girth
    low = pelvis @ np.array([0.0, 0.012, 0.0])
    belt = pelvis @ UP * 0.062
    middle = belt + waist @ UP * 0.085
    top = middle + chest @ UP * 0.105
    hip, side = 0.083 * shape.hips * (0.4 + 0.6 * girth), 0.083 * (0.4 * shape.shoulders + 0.6 * girth)
    return top + chest @ UP * 0.045, [
        Part("pelvis", low, belt, (hip, 0.95 * hip), pelvis, 0.70, -0.062),
        Part("waist", belt, middle, (0.078 * girth, side), waist, 0.70),
        Part("chest", middle, top, (side, 0.082 * shape.shoulders), chest, 0.66, 0.085),
    ]


def _leg(shape: Shape, angles: dict[str, float], sign: float, pelvis: np.ndarray) -> tuple[Joints, list[Part]]:
    """Returns the three joints and the parts of one leg."""
    girth = 0.35 + 0.65 * shape.girth
    thigh = turn(0, -angles["hip_swing"]) @ turn(2, sign * angles["hip_spread"])
    thigh = thigh @ turn(1, sign * angles["hip_twist"])
    shin = thigh @ turn(0, angles["knee"])
    foot = shin @ turn(0, angles["ankle"])
    hip = pelvis @ np.array([sign * 0.052 * shape.hips, 0.0, 0.0])
    knee = hip + thigh @ DOWN * 0.245 * shape.legs
    calf = knee + shin @ (DOWN * 0.075 + np.array([0.0, 0.0, -0.007])) * shape.legs
    ankle = knee + shin @ DOWN * 0.235 * shape.legs
    heel, toe = ankle + foot @ np.array([0, -0.020, -0.018]), ankle + foot @ np.array([0, -0.030, 0.086])
    return {"hip": hip, "knee": knee, "ankle": ankle}, [
        Part("thigh", hip, knee, (0.054 * girth, 0.035 * girth), thigh),
        Part("shin", knee, calf, (0.034 * girth, 0.038 * girth), shin),
        Part("shin", calf, ankle, (0.038 * girth, 0.021), shin, 1.0, 0.075),
        Part("shoe", heel, toe, (0.027, 0.022), foot),
    ]


def _arm(
    shape: Shape, angles: dict[str, float], sign: float, chest: np.ndarray, neck: np.ndarray
) -> tuple[Joints, list[Part]]:
    """Returns the three joints and the parts of one arm, from the neck to the finger tips."""
    girth = 0.35 + 0.65 * shape.girth
    upper = chest @ (turn(0, -angles["shoulder_swing"]) @ turn(2, sign * angles["shoulder_spread"]))
    upper = upper @ turn(1, sign * angles["shoulder_twist"])
    fore = upper @ turn(0, -angles["elbow"])
    hand = fore @ turn(1, sign * -70) @ turn(0, -angles["wrist"])
    # A raised arm lifts the shoulder blade.
    lift = max(0.0, max(angles["shoulder_spread"], angles["shoulder_swing"]) - 70.0) / 100.0
    shoulder = np.array([sign * (0.106 - 0.012 * lift) * shape.shoulders, -0.030 + 0.030 * lift, 0.0])
    shoulder = neck + chest @ shoulder
    elbow = shoulder + upper @ DOWN * 0.168 * shape.arms
    wrist = elbow + fore @ DOWN * 0.145 * shape.arms
    bulge = elbow + 0.3 * (wrist - elbow)  # thickest place of the forearm
    palm, tips = wrist + hand @ DOWN * 0.034, wrist + hand @ DOWN * 0.076
    thumb = wrist + hand @ np.array([-sign * 0.024, -0.046, 0.006])
    return {"shoulder": shoulder, "elbow": elbow, "wrist": wrist}, [
        Part("yoke", neck + chest @ DOWN * 0.012, shoulder, (0.040, 0.036 * girth), chest, 1.0),
        Part("upper_arm", shoulder, elbow, (0.037 * girth, 0.026 * girth), upper),
        Part("forearm", elbow, bulge, (0.0255 * girth, 0.027 * girth), fore),
        Part("forearm", bulge, wrist, (0.027 * girth, 0.0165), fore, 1.0, 0.3 * 0.145),
        Part("hand", palm, tips, (0.021, 0.013), hand, 0.5),
        Part("hand", wrist, palm, (0.015, 0.021), hand, 0.6),
        Part("hand", wrist + 0.3 * (palm - wrist), thumb, (0.009, 0.007), hand),
    ]


def _head(size: float, frame: np.ndarray, neck: np.ndarray) -> tuple[Joints, list[Part]]:
    """Returns the five joints of the face, the two ends of the head, and the parts of neck and head."""

    def at(x: float, y: float, z: float) -> np.ndarray:
        return neck + frame @ (np.array([0.0, 0.062, 0.010]) + size * np.array([x, 0.028 + y, z]))

    throat = neck + frame @ np.array([0, -0.02, -0.008])
    parts = [
        Part("neck", throat, at(0, -0.02, -0.012), (0.034, 0.029), frame),
        Part("head", at(0, 0.000, -0.002), at(0, 0.014, -0.004), (0.045 * size, 0.046 * size), frame, 1.22),
        Part("jaw", at(0, 0.000, 0.012), at(0, -0.042, 0.020), (0.041 * size, 0.021 * size), frame),
        Part("nose", at(0, 0.004, 0.050), at(0, -0.014, 0.056), (0.005 * size, 0.0085 * size), frame),
    ]
    joints = {"nose": at(0, -0.014, 0.064), "head_bottom": at(0, -0.058, -0.006), "head_top": at(0, 0.060, -0.004)}
    for side, sign in SIDES.items():
        lobe, tip = at(sign * 0.047, -0.012, -0.002), at(sign * 0.045, 0.002, -0.004)
        parts.append(Part("ear", lobe, tip, (0.0065 * size, 0.008 * size), frame, 1.6))
        joints[f"{side}ear"] = at(sign * 0.049, -0.004, -0.003)
        joints[f"{side}eye"] = at(sign * 0.0185, 0.006, 0.047)
    return joints, parts


def place(body: Body, view: np.ndarray, distance: float, height: float) -> Body:
    """Rotates a body by `view` and projects it to view space, see `figures`. The pelvis stays at the origin.

    Points and radii at depth z are scaled by ``distance / (distance - z)``, so a cone stays a cone. `distance` is
    from the camera to the pelvis in standing heights, infinite for no perspective. `height` is in pixels.
    """

    def project(point: np.ndarray) -> tuple[np.ndarray, float]:
        rotated = view @ point
        scale = height / (1.0 - rotated[2] / distance)
        return rotated * scale, float(scale)

    parts = []
    for part in body.parts:
        (start, start_scale), (end, end_scale) = project(part.start), project(part.end)
        radii = part.radii[0] * start_scale, part.radii[1] * end_scale
        parts.append(dataclasses.replace(part, start=start, end=end, radii=radii, frame=view @ part.frame))
    return Body({name: project(point)[0] for name, point in body.joints.items()}, parts, body.pose)
