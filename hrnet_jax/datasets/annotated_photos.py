"""Photos of a prepared split with all people on them, and masks of the pixels that count.

These are the photos with at least one annotation, also of a crowd only. People are annotations that are no crowd,
or have labelled joints, in the order of the file. People without labelled joints are rows without labels.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import decoded as decoded_photos
from hrnet_jax.datasets import masks, records
from hrnet_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class AnnotatedPhotos:
    """A table of N photos with M people, and random access by grain to photos.

    Attributes:
      name: of the split.
      skeleton: of the people.
      photo_id: [N] int64, ascending.
      photo_index: [N] int64 row of the photo in `photos`.
      first: [N + 1] int64: the people of photo n are ``first[n]`` to ``first[n + 1]``, without the last.
      joints: [M, K, 2] float64 photo pixels.
      visible: [M, K] float64, 1 for labelled joints, hidden or not, else 0.
      photos: of the split.
      masks: of the split.
      decoded: the photos' pixels, or None.
    """

    name: str
    skeleton: Skeleton
    photo_id: np.ndarray
    photo_index: np.ndarray
    first: np.ndarray
    joints: np.ndarray
    visible: np.ndarray
    photos: Sequence[dict]
    masks: masks.Masks
    decoded: decoded_photos.Decoded | None = None

    @classmethod
    def of_split(cls, split: records.Split) -> Self:
        """Reads the people and masks of a split.

        Raises:
          ValueError: the split is of MPII, or was prepared without masks, or is damaged.
        """
        if split.annotations.name != records.TRUTH["coco"]:
            raise ValueError(
                f"split {split.name!r} is of MPII, whose photos do not have everyone annotated: take a data set in"
                " COCO's form"
            )
        found, (photo_ids, people) = masks.read(split.annotations.parent), _read(split)
        rows = [row for row, number in enumerate(photo_ids) if number in people]
        on_each = [people[photo_ids[row]] for row in rows]
        joints = np.array([joints for of_photo in on_each for joints in of_photo], np.float64)
        joints = joints.reshape(-1, split.skeleton.num_joints, 3)
        return cls(
            split.name,
            split.skeleton,
            photo_id=np.array(photo_ids, np.int64)[rows],
            photo_index=np.array(rows, np.int64),
            first=np.cumsum([0, *map(len, on_each)]),
            joints=joints[..., :2],
            visible=(joints[..., 2] > 0).astype(np.float64),
            photos=split.photos,
            masks=found,
            decoded=split.decoded,
        )

    def __len__(self) -> int:
        return len(self.photo_id)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns photo [h, w, 3] uint8, mask [h, w] uint8, joints [P, K, 2], visible [P, K] and `index`.

        Raises ValueError if the photo cannot be decoded.
        """
        photo = records.read_photo(self.photos, self.decoded, self, index)
        people = slice(self.first[index], self.first[index + 1])
        return {
            "photo": photo,
            "mask": self.masks.of_photo(int(self.photo_id[index]), photo.shape[:2]),
            "joints": self.joints[people],
            "visible": self.visible[people],
            "index": index,
        }

    @property
    def counts(self) -> np.ndarray:
        """[N] number of people on each photo."""
        return np.diff(self.first)


def _read(split: records.Split) -> tuple[list[int], dict[int, list[np.ndarray]]]:
    """Returns the ids of all photos as the records have them, and people [K, 3] by the ids of annotated photos."""
    content, shape = validation.read_json(split.annotations), (split.skeleton.num_joints, 3)
    people: dict[int, list[np.ndarray]] = {}
    try:
        photo_ids = [image["id"] for image in content["images"]]
        for entry in content["annotations"]:
            of_photo = people.setdefault(entry["image_id"], [])
            if not entry["iscrowd"] or entry["num_keypoints"] > 0:
                of_photo.append(np.array(entry["keypoints"], np.float64).reshape(shape))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{split.annotations} is damaged ({error!r:.200}): {records.AGAIN}") from error
    return photo_ids, people


def digest(split: records.Split) -> str:
    """Returns a digest of a split with its masks; see `records.digest`."""
    path = split.annotations.parent / masks.FILE
    whole = hashlib.sha256(records.digest(split).encode() + path.read_bytes())
    return whole.hexdigest()[:16]


class AllPhotos(NamedTuple):
    """All photos of a split, by row."""

    photo_index: np.ndarray  # [N] int64, the row
    photo_id: np.ndarray  # [N] int64
    sizes: list[tuple[int, int]]  # (height, width)


def list_all(split: records.Split) -> AllPhotos:
    """Returns all photos of a split, annotated or not. Raises ValueError if the annotations are damaged."""
    content = validation.read_json(split.annotations)
    try:
        photo_ids = np.array([image["id"] for image in content["images"]], np.int64)
        sizes = [(int(image["height"]), int(image["width"])) for image in content["images"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{split.annotations} is damaged ({error!r:.200}): {records.AGAIN}") from error
    return AllPhotos(np.arange(len(photo_ids)), photo_ids, sizes)
