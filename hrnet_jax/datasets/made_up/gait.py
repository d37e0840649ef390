"""How made-up people walk: joint angles as a function of the phase of a step."""

import numpy as np

from hrnet_jax.datasets.made_up import poses

CYCLE = 0.85  # heights walked in two steps
HIP, SHOULDER, ELBOW = 24.0, 22.0, 8.0  # amplitudes of the swing in degrees
FORWARDS, ARMS_BENT, KNEE = (
    4.0,
    12.0,
    45.0,
)  # added to hips and elbows, and to the knee of a leg that comes forward

Angles = dict[str, float]


def sample_style(rng: np.random.Generator) -> Angles:
    """Draws the relaxed angles of a person, within the limits of `poses.ANGLES`."""
    angles = {}
    for name, (low, high, mean, std) in poses.ANGLES.items():
        for side in ("left_", "right_") if name in poses.SIDED else ("",):
            angles[side + name] = float(np.clip(rng.normal(mean, 0.6 * std), low, high))
    return angles


def walk(style: Angles, phase: float) -> Angles:
    """Returns the angles at a phase, in radians; arms swing against legs. A multiple of 2 pi changes nothing."""
    angles = dict(style)
    for side, own in (("left_", phase), ("right_", phase + np.pi)):
        swing, forwards = float(np.sin(own)), max(0.0, float(np.cos(own)))
        angles[f"{side}hip_swing"] += FORWARDS + HIP * swing
        angles[f"{side}knee"] += KNEE * forwards**2
        angles[f"{side}shoulder_swing"] -= SHOULDER * swing
        angles[f"{side}elbow"] += ARMS_BENT - ELBOW * swing
    return angles
