"""Smooths the joints in the lines of a followed video, with a look ahead."""

import collections
import dataclasses
import json
import os
import pathlib

import numpy as np

from hrnet_jax import buckets
from hrnet_jax.predict import poses, shards
from hrnet_jax.skeletons import Skeleton
from hrnet_jax.tracking import savitzky_golay


def rewrite(path: pathlib.Path, skeleton: Skeleton) -> None:
    """Adds smoothed joints to the lines of a video. The file is complete or unchanged.

    The joints of the whole video are held in memory: 0.2 kB for each person in each frame.
    """
    smoothed = {track_id: iter(joints) for track_id, joints in _smooth(path, skeleton).items()}
    partial = shards.atomic_path(path)
    with buckets.explain_write_errors(path), open(partial, "w", encoding="utf-8") as file:
        for line in shards.read_file(path):
            found = poses.from_json(line, skeleton)
            if found.ids is not None:
                joints = [next(smoothed[track_id]) for track_id in found.ids.tolist()]
                found = dataclasses.replace(found, smoothed=np.array(joints, np.float32))
            file.write(json.dumps(found.to_json(), separators=(",", ":")) + "\n")
    os.replace(partial, path)


def _smooth(path: pathlib.Path, skeleton: Skeleton) -> dict[int, np.ndarray]:
    """Returns the smoothed joints [F, K, 2] of each track, in its F frames."""
    times, tables = collections.defaultdict(list), collections.defaultdict(list)
    for line in shards.read_file(path):
        found = poses.from_json(line, skeleton)
        joints = np.concatenate([found.joints, found.found_scores[..., None]], axis=-1)
        for track_id, of_person in zip([] if found.ids is None else found.ids.tolist(), joints, strict=True):
            times[track_id].append(line["time"])
            tables[track_id].append(of_person)
    return {
        track_id: savitzky_golay.smooth(np.array(times[track_id]), np.array(table))
        for track_id, table in tables.items()
    }
