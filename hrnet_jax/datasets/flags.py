"""Which labelled joints are hidden, for networks that train on the difference."""

import dataclasses

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import records
from hrnet_jax.datasets.records import HIDDEN, SEEN, Split


def with_flags(split: Split) -> Split:
    """Returns a split with `SEEN` or `HIDDEN` instead of 1 for the labelled joints in ``people.visible``.

    The flags are those of COCO's annotations. Labelled joints are seen in data without the difference: MPII, files
    that mark none as `SEEN`, and joints with a score below 1 for a flag, as hands of COCO-WholeBody.

    Raises:
      FileNotFoundError: the file of annotations is missing.
      ValueError: it is damaged.
    """
    people, labelled = split.people, split.people.visible > 0
    is_coco = split.annotations.name == records.TRUTH["coco"]
    flags = _read(split) if is_coco else labelled.astype(np.float64)
    seen = (flags >= min(SEEN, flags.max(initial=0))) | (flags < HIDDEN)
    visible = np.where(labelled, np.where(seen, SEEN, HIDDEN), 0).astype(np.float64)
    return dataclasses.replace(split, people=dataclasses.replace(people, visible=visible))


def _read(split: Split) -> np.ndarray:
    """Returns the flags of a split's people in its annotations, ``[N, K]``."""
    content, joints = validation.read_json(split.annotations), split.people.visible.shape[1]
    try:
        found = {entry["id"]: entry["keypoints"][2::3] for entry in content["annotations"] if "keypoints" in entry}
        flags = [found[number] for number in split.people.annotation_id.tolist()]
        return np.array(flags, np.float64).reshape(len(flags), joints)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{split.annotations} is damaged ({error!r:.200}): {records.AGAIN}") from error
