"""People of whole photos as the content of a COCO result file."""

from collections.abc import Sequence

import numpy as np

from hrnet_jax.bottom_up.inference import People
from hrnet_jax.evaluation import coco


def coco_results(photo_ids: Sequence[int], people: Sequence[People], category_id: int = 1) -> list[coco.Result]:
    """Lists every person of every photo, as HigherHRNet's evaluation does.

    Scores stay as they are, and no duplicates are suppressed. Evaluation counts the 20 best people of a photo. All
    joints are listed, those that were not found with a score of 0: object keypoint similarity counts places alone.

    Args:
      photo_ids: ids of N photos.
      people: of each of these photos.
      category_id: COCO's number for a person.
    """
    found = []
    for photo_id, of_photo in zip(photo_ids, people, strict=True):
        keypoints = np.concatenate([of_photo.joints, of_photo.joint_scores[..., None]], axis=-1, dtype=np.float64)
        found += coco.listed(np.full(len(keypoints), photo_id), keypoints, of_photo.scores, category_id)
    return found
