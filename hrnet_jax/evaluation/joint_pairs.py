"""Distances between the labelled and the predicted joints of a video, in heads, without what is ignored.

Shapes: F frames, G people of the ground truth, D predicted people, K joints. People of a frame who are missing or
padding have no joints.
"""

import dataclasses

import numpy as np

from hrnet_jax.datasets import polygons
from hrnet_jax.datasets.posetrack import Video

THRESHOLD = 0.5  # heads: greatest distance of a correct joint


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Ground truth and results of the same F frames; `distance` [F, D, G, K] is infinite unless both exist."""

    truth: Video
    results: Video
    distance: np.ndarray

    @property
    def within(self) -> np.ndarray:
        """[F, D, G, K] bool: joints that are near enough to be the same."""
        return self.distance <= THRESHOLD

    def select(self, keep: np.ndarray) -> "Pairs":
        """Returns the pairs of some frames, [F] bool."""
        return Pairs(self.truth.select(keep), self.results.select(keep), self.distance[keep])


def pair(truth: Video, results: Video) -> Pairs:
    """Pairs frames by their position, as the official evaluation does, and measures distances.

    Frames that are neither labelled nor have people are left out. Joints inside the ground truth's ignore regions
    are removed from both, and with them people who have no other.

    Raises:
      ValueError: the videos have different numbers of frames, or a person with joints has no head box.
    """
    if len(truth.frames) != len(results.frames):
        raise ValueError(
            f"{truth.name}: the results list {len(results.frames)} frames and the ground truth"
            f" {len(truth.frames)}: list all frames of the sequence in order, also those without people or labels"
        )
    keep = truth.labelled | truth.listed
    truth, results = truth.select(keep), results.select(keep)
    has_region = np.array([bool(regions) for regions in truth.regions], bool)
    truth, results = (_without_ignored(video, truth.regions, has_region) for video in (truth, results))
    _check_heads(truth)
    return Pairs(truth, results, _distances(truth, results))


def _without_ignored(video: Video, regions: tuple[tuple[np.ndarray, ...], ...], has_region: np.ndarray) -> Video:
    inside = np.zeros_like(video.exists)
    for frame in np.flatnonzero(has_region):
        inside[frame] = polygons.inside_any(video.joints[frame], regions[frame])
    return video.without(inside, has_region)


def _check_heads(truth: Video) -> None:
    headless = np.argwhere(np.isnan(truth.head_sizes) & truth.exists.any(axis=-1))
    if len(headless):
        frame, person = headless[0]
        raise ValueError(
            f"{truth.name}: the person with `track_id` {truth.track_ids[frame, person]} in {truth.frames[frame]}"
            " of the ground truth has no head box (`bbox_head`; x1, y1, x2, y2 in files of 2017), the unit of"
            " distances"
        )


def _distances(truth: Video, results: Video) -> np.ndarray:
    """Returns [F, D, G, K]; infinite for a head box of size zero."""
    offset = results.joints[:, :, None] - truth.joints[:, None]
    exists = results.exists[:, :, None] & truth.exists[:, None] & truth.present[:, None, :, None]
    exists &= results.present[:, :, None, None]
    heads = truth.head_sizes[:, None, :, None]
    pixels = np.sqrt(offset[..., 0] ** 2 + offset[..., 1] ** 2)
    return np.divide(pixels, heads, out=np.full_like(pixels, np.inf), where=exists & (heads > 0))


def frame_differences(truth: Video, results: Video) -> list[str]:
    """Describes frames that are paired by position although their names or ids differ."""
    if truth.year != results.year:
        years = f"in the format of {truth.year} and the results in that of {results.year}"
        return [f"{truth.name}: the ground truth is {years}: frames are compared by position"]
    names = [[name.rpartition("/")[2] for name in video.frames] for video in (truth, results)]
    ids = truth.image_ids, results.image_ids
    for kind, (ours, theirs) in {"names": names, "ids": ids}.items():
        if differ := [row for row, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]:
            example = f"the first at position {differ[0]}, {theirs[differ[0]]} for {ours[differ[0]]}"
            others = not set(ours) & set(theirs)
            remedy = "are they of another video?" if others else "list them in the ground truth's order"
            return [
                f"{truth.name}: {len(differ)} frames of the results have other {kind} than the ground truth's,"
                f" {example}; frames are compared by position, as in the official evaluation: {remedy}"
            ]
    return []
