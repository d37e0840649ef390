"""What estimates poses in boxes: a network, or the ground truth with errors in its place."""

from collections.abc import Callable

import numpy as np

from hrnet_jax.datasets.posetrack import JOINTS
from hrnet_jax.predict.box_predictor import BoxPredictor
from hrnet_jax.predict.items import Item
from hrnet_jax.track.sequences import Sequence
from hrnet_jax.tracking import similarity
from hrnet_jax.tracking.tracker import Estimate

Estimator = Callable[[Sequence, int, np.ndarray], Estimate]
"""(sequence, number of the frame, its photo) -> boxes [N, 4] -> poses [N, K, 3] in the order of `JOINTS`."""

CROP = 1.25  # of a box, as the crops of networks
MIN_OVERLAP = 0.2  # of a box with a person, for the oracle to see the person
ERROR = 0.012  # deviation of the oracle's joints, in heights of the person; in a displaced box up to twice
OUTLIERS = 0.04  # share of the oracle's joints that are elsewhere; both ours, about the errors of a good network


def of_network(predictor: BoxPredictor) -> Estimator:
    """Returns the estimator of a network. Joints that it does not have get the score 0.

    Raises ValueError if it has none of PoseTrack's.
    """
    names = predictor.network.skeleton.joints
    places = [(row, names.index(name)) for row, name in enumerate(JOINTS) if name in names]
    if not places:
        raise ValueError(f"the network has none of PoseTrack's joints, but {', '.join(names)}")
    to, of = map(list, zip(*places, strict=True))

    def of_frame(sequence: Sequence, frame: int, photo: np.ndarray) -> Estimate:
        def estimate(boxes: np.ndarray) -> np.ndarray:
            sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
            found = predictor.result(Item(photo=photo, found=(sides, np.ones(len(boxes))))).poses
            poses = np.zeros((len(boxes), len(JOINTS), 3))
            poses[:, to, :2], poses[:, to, 2] = found.joints[:, of], found.scores[:, of]
            return poses

        return estimate

    return of_frame


def oracle(sequence: Sequence, frame: int, photo: np.ndarray) -> Estimate:
    """Returns an estimator that knows the truth, and errs as networks do.

    In each box it sees the person that the box fits best: labelled joints with a normal error, a few of them
    elsewhere, and of low score those that are not labelled or outside of the crop. In a box of nobody the joints
    are anywhere, with low scores. The errors depend on frame and box only.
    """
    truth = sequence.truth
    people = truth.present[frame]
    joints, exists = truth.joints[frame, people], truth.exists[frame, people]
    poses = np.concatenate([joints, exists[..., None]], axis=-1)
    spans = similarity.grow(similarity.tight_boxes(poses))

    def estimate(boxes: np.ndarray) -> np.ndarray:
        overlaps = similarity.iou(boxes, spans)
        return np.array([one(box, overlap) for box, overlap in zip(boxes, overlaps, strict=True)])

    def one(box: np.ndarray, overlap: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng([frame, *np.maximum(box * 100, -box * 100 + 1e7).astype(int)])
        low, high = np.split(similarity.grow(box, CROP - 1), 2)
        pose = np.concatenate([rng.uniform(low, high, (len(JOINTS), 2)), rng.beta(2, 8, (len(JOINTS), 1))], axis=1)
        best = overlap.argmax() if len(overlap) else 0
        if overlap.max(initial=0.0) < MIN_OVERLAP:
            return pose
        height = spans[best, 3] - spans[best, 1]
        placed = joints[best] + rng.normal(0, ERROR * height * (2 - overlap[best]), (len(JOINTS), 2))
        inside = ((placed >= low) & (placed <= high)).all(axis=1)
        seen = exists[best] & inside & (rng.random(len(JOINTS)) >= OUTLIERS)
        scores = rng.beta(9, 2, len(JOINTS))
        return np.where(seen[:, None], np.concatenate([placed, scores[:, None]], axis=1), pose)

    return estimate
