"""Poses of made-up people: joint angles with their limits and distributions.

Angles are in degrees. Arms and legs hang straight down at 0: `swing` moves them to the front, `spread` to the side
and `twist` turns them about the bone, outwards if positive.
"""

import numpy as np

# Lowest and highest value of each angle on both sides, then its mean and standard deviation when relaxed.
ANGLES = {
    "spine_bend": (-15, 85, 3, 4), "spine_side": (-20, 20, 0, 4), "spine_twist": (-30, 30, 0, 6),
    "neck_bend": (-25, 35, 4, 9), "neck_side": (-20, 20, 0, 5), "neck_turn": (-60, 60, 0, 20),
    "shoulder_swing": (-45, 170, 4, 10), "shoulder_spread": (4, 170, 9, 6), "shoulder_twist": (-75, 45, -12, 15),
    "elbow": (3, 140, 18, 14), "wrist": (-35, 45, 0, 12),
    "hip_swing": (-30, 115, 2, 5), "hip_spread": (0, 45, 4, 3), "hip_twist": (-10, 40, 8, 6),
    "knee": (2, 135, 6, 5), "ankle": (-25, 20, 0, 4),
}  # fmt: skip
SIDED = [name for name in ANGLES if not name.startswith(("spine", "neck"))]
# Mean and standard deviation of the angles of each pose that are not relaxed. Those of one side take precedence.
# The sides are swapped half of the time.
POSES = {
    "standing": {},
    "walking": {
        "left_hip_swing": (26, 6), "right_hip_swing": (-16, 6), "left_knee": (10, 6), "right_knee": (28, 10),
        "left_shoulder_swing": (-22, 8), "right_shoulder_swing": (26, 8), "elbow": (28, 12),
    },
    "running": {
        "spine_bend": (14, 5), "left_hip_swing": (58, 14), "right_hip_swing": (-18, 8), "left_knee": (75, 18),
        "right_knee": (50, 25), "left_shoulder_swing": (-35, 8), "right_shoulder_swing": (45, 12),
        "elbow": (92, 12),
    },
    "waving": {"left_shoulder_spread": (125, 20), "left_shoulder_twist": (0, 15), "left_elbow": (45, 25)},
    "cheering": {
        "shoulder_spread": (145, 15), "shoulder_swing": (10, 12), "shoulder_twist": (0, 15),
        "elbow": (30, 22), "neck_bend": (-6, 8),
    },
    "arms_out": {"shoulder_spread": (85, 12), "elbow": (12, 12), "hip_spread": (12, 8)},
    "hands_on_hips": {
        "shoulder_spread": (42, 6), "shoulder_swing": (-12, 6), "shoulder_twist": (-55, 8), "elbow": (95, 10),
    },
    "talking": {"shoulder_swing": (28, 18), "elbow": (80, 22), "shoulder_twist": (-20, 22)},
    "telephoning": {
        "left_shoulder_swing": (35, 10), "left_shoulder_spread": (25, 8), "left_elbow": (136, 4),
        "left_shoulder_twist": (5, 8),
    },
    "reaching": {
        "left_shoulder_swing": (95, 30), "left_elbow": (15, 12), "right_shoulder_swing": (40, 30),
        "spine_bend": (12, 8), "left_hip_swing": (15, 10),
    },
    "sitting": {
        "hip_swing": (84, 6), "knee": (84, 10), "hip_spread": (10, 6), "shoulder_swing": (28, 12),
        "elbow": (55, 20), "shoulder_twist": (-25, 12), "spine_bend": (8, 7),
    },
    "bending": {
        "spine_bend": (58, 14), "knee": (22, 14), "hip_swing": (14, 8), "shoulder_swing": (65, 20),
        "neck_bend": (-8, 10),
    },
    "crouching": {
        "spine_bend": (42, 9), "hip_swing": (103, 8), "knee": (128, 6), "hip_spread": (14, 8),
        "shoulder_swing": (60, 15), "elbow": (55, 20), "ankle": (-15, 5), "neck_bend": (-14, 8),
    },
    "lunging": {
        "left_hip_swing": (68, 10), "left_knee": (72, 10), "right_hip_swing": (-18, 6), "right_knee": (28, 12),
        "elbow": (50, 30), "shoulder_spread": (30, 20),
    },
    "dancing": {
        "shoulder_spread": (70, 40), "shoulder_swing": (30, 40), "elbow": (60, 35), "hip_spread": (16, 10),
        "left_hip_swing": (30, 20), "left_knee": (35, 22), "spine_side": (0, 11), "shoulder_twist": (0, 25),
    },
}  # fmt: skip
POSE_WEIGHTS = {  # 1 for the others
    "standing": 20.0, "walking": 20.0, "talking": 10.0, "waving": 10.0, "hands_on_hips": 10.0, "arms_out": 10.0,
    "cheering": 8.0, "running": 3.0, "sitting": 3.0,
}  # fmt: skip


def sample(rng: np.random.Generator) -> tuple[str, dict[str, float]]:
    """Draws the name of a pose and its angles, ``{"left_elbow": degrees, ...}``, within the limits in `ANGLES`."""
    weights = np.array([POSE_WEIGHTS.get(name, 1.0) for name in POSES])
    pose = str(rng.choice(list(POSES), p=weights / weights.sum()))
    swapped = rng.random() < 0.5
    target = {"left_": "right_", "right_": "left_", "": ""} if swapped else {}
    angles = {}
    for name, (low, high, *relaxed) in ANGLES.items():
        for side in ("left_", "right_") if name in SIDED else ("",):
            distribution = POSES[pose].get(side + name, POSES[pose].get(name, relaxed))
            angles[target.get(side, side) + name] = float(np.clip(rng.normal(*distribution), low, high))
    return pose, angles
