"""Compares two COCO result files photo by photo, such as that of another program on the same photos.

    python -m examples.compare_results ours.json theirs.json

People of a photo are compared in the order of the files. Only joints with a positive score count, the others have
no meaningful place.
"""

import argparse
import collections
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Results = Sequence[Mapping[str, Any]]
"""Content of a COCO result file."""


class Comparison(NamedTuple):
    """How the people of a photo differ. Distances are NaN if they are not the same people."""

    photo: int | str
    counts: tuple[int, int]  # of people in both files
    joints: float  # largest difference of x or y, in pixels
    joint_scores: float  # largest difference of the score of a joint
    scores: float  # largest difference of the score of a person


def compare(first: Results, second: Results) -> list[Comparison]:
    """Compares the people of each photo that either file has, by ascending id.

    They are the same if their numbers are, and each pair has the same joints.
    """
    one, other = _by_photo(first), _by_photo(second)
    return [_compare_photo(photo, one.get(photo, []), other.get(photo, [])) for photo in sorted({*one, *other})]


def _by_photo(results: Results) -> dict[int | str, list[Mapping[str, Any]]]:
    photos = collections.defaultdict(list)
    for person in results:
        photos[person["image_id"]].append(person)
    return photos


def _compare_photo(photo: int | str, first: Results, second: Results) -> Comparison:
    counts = len(first), len(second)
    if len(first) != len(second):
        return Comparison(photo, counts, *[np.nan] * 3)
    (one, scores), (other, other_scores) = (_arrays(results) for results in (first, second))
    found, other_found = one[..., 2] > 0, other[..., 2] > 0
    if (found != other_found).any():
        return Comparison(photo, counts, *[np.nan] * 3)
    difference = np.abs(one - other)[found]
    joints, joint_scores = difference[:, :2].max(), difference[:, 2].max()
    return Comparison(photo, counts, joints, joint_scores, np.abs(scores - other_scores).max())


def _arrays(results: Results) -> tuple[np.ndarray, np.ndarray]:
    """Returns joints with scores ``[N, K, 3]``, and the scores of people ``[N]``."""
    keypoints = np.array([person["keypoints"] for person in results], float)
    return keypoints.reshape(len(results), -1, 3), np.array([person["score"] for person in results], float)


def summary(compared: Sequence[Comparison], pixels: float, scores: float) -> list[str]:
    """Returns the result in lines: how many photos agree, and each that does not."""
    lines = []
    for each in compared:
        # A comparison with NaN is false: other people never agree.
        if not (each.joints <= pixels and max(each.joint_scores, each.scores) <= scores):
            people = f"{each.counts[0]} and {each.counts[1]} people"
            lines.append(
                f"  photo {each.photo}: {people}, joints {each.joints:.3g} pixels, scores {each.scores:.2g}"
            )
    agreeing = [each for each in compared if not np.isnan(each.joints)]
    columns = np.array([each[2:] for each in agreeing] or [[0.0] * 3])
    joints, joint_scores, of_people = columns.max(axis=0)
    count = sum(each.counts[0] for each in agreeing)
    return [
        f"{len(agreeing)} of {len(compared)} photos have the same people, {count} in all: joints differ by up to"
        f" {joints:.3g} pixels, their scores by {joint_scores:.2g}, those of people by {of_people:.2g}",
        f"{len(lines)} photos differ by more than {pixels} pixels or {scores} in scores:"[: None if lines else 0],
        *lines,
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=pathlib.Path)
    parser.add_argument("second", type=pathlib.Path)
    parser.add_argument("--pixels", type=float, default=0.05, help="difference of joints that is none")
    parser.add_argument("--scores", type=float, default=1e-4, help="difference of scores that is none")
    options = parser.parse_args(arguments)
    first, second = (json.loads(path.read_text()) for path in (options.first, options.second))
    print("\n".join(filter(None, summary(compare(first, second), options.pixels, options.scores))))


if __name__ == "__main__":
    main()
