"""Similarities, ids and boxes of made-up poses, computed by another implementation of the papers' algorithm."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from hrnet_jax.tracking import linking, memory, similarity, tracker
from hrnet_jax.tracking.settings import PAPER


@pytest.fixture(scope="module")
def reference(shared) -> dict:
    return json.loads((shared / "conformance" / "posetrack" / "matching.json").read_text())


@functools.lru_cache(maxsize=2)
def dense_flow(parameters: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    """Returns the affine flow [H, W, 2] of the reference."""
    ax, bx, cx, ay, by, cy = parameters
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.stack([ax + bx * x + cx * y, ay + by * x + cy * y], axis=-1)


def poses(frame: list) -> np.ndarray:
    return np.array(frame, float).reshape(-1, 15, 3)


def flows(case: dict) -> list[np.ndarray]:
    return [dense_flow(tuple(flow), tuple(case["size"])) for flow in case["flows"]]


def metrics(reference: dict) -> dict:
    oks = functools.partial(similarity.pose_similarity, sigmas=reference["sigmas"]["pt21"])
    return {"bbox": similarity.box_similarity, "pose": oks, "flow": oks}


def test_all_ids_equal_the_reference(reference):
    lists = 0
    for name, case in reference["cases"].items():
        frames, steps = [poses(frame) for frame in case["frames"]], flows(case)
        for setting, expected in case["ids"].items():
            metric, memory, threshold = setting.split("/")
            ids = linking.follow(
                frames,
                metrics(reference)[metric],
                int(memory.removeprefix("LQ")),
                float(threshold.removeprefix("thr")),
                flows=steps if metric == "flow" else None,
            )
            assert [found.tolist() for found in ids] == expected, (name, setting)
            lists += len(expected)
    assert lists > 1000


def tracked(case: dict, metric: str, memory_frames: int, threshold: float, sigmas: list[float]) -> list[list[int]]:
    """Returns the ids that the tracker gives to the poses of a case, as they are."""
    settings = dataclasses.replace(
        PAPER,
        **{"propagation": "none", "propagation_frames": 0, "box_score": 0, "box_nms": 1, "pose_nms": 1},
        similarity="iou" if metric == "bbox" else "oks",
        motion="flow" if metric == "flow" else "none",
        memory_frames=memory_frames,
        min_similarity=threshold,
    )
    state, found, (width, height) = memory.start(15), [], case["size"]
    for number, (frame, flow) in enumerate(zip(case["frames"], [None, *flows(case)], strict=True)):
        people = poses(frame)
        boxes, scores = np.zeros((len(people), 4)), np.ones(len(people))
        told = tracker.Frame(number, (height, width), boxes, scores, flow=flow)
        state, tracks = tracker.step(state, told, lambda _, people=people: people, settings, sigmas)
        found.append(tracks.ids.tolist())
    return found


def test_the_tracker_gives_the_ids_of_the_reference(reference):
    for name, case in reference["cases"].items():
        for setting, expected in case["ids"].items():
            metric, length, threshold = setting.split("/")
            numbers = int(length.removeprefix("LQ")), float(threshold.removeprefix("thr"))
            assert tracked(case, metric, *numbers, reference["sigmas"]["pt21"]) == expected, (name, setting)


def test_all_similarities_equal_the_reference(reference):
    matrices = 0
    for name, case in reference["cases"].items():
        frames, steps = [poses(frame) for frame in case["frames"]], flows(case)
        for setting, expected in case["similarity"].items():
            pair, metric, *sigmas = setting.split("/")
            earlier, current = map(int, pair.split(">"))
            moved = frames[earlier]
            for step in steps[earlier:current] if metric == "flow" else ():
                moved = similarity.propagate(moved, step)
            if metric == "bbox":
                found = similarity.box_similarity(moved, frames[current])
            else:
                found = similarity.pose_similarity(moved, frames[current], reference["sigmas"][sigmas[0]])
            wanted = np.array(expected, float).reshape(found.shape)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6, err_msg=f"{name} {setting}")
            matrices += 1
    assert matrices > 200


def test_propagated_boxes_and_their_suppression_equal_the_reference(reference):
    for case in reference["boxes"]:
        previous = poses(case["previous"])
        moved = similarity.propagate(previous, dense_flow(tuple(case["flow"]), tuple(case["size"])))
        np.testing.assert_allclose(moved, poses(case["propagated"]), rtol=0, atol=1e-9)
        tight = similarity.tight_boxes(moved)
        np.testing.assert_allclose(tight, case["tight"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(similarity.grow(tight), case["grown"], rtol=0, atol=1e-9)
        boxes = np.concatenate([np.reshape(case["detections"], (-1, 4)), similarity.grow(tight)])
        scores = np.concatenate([case["detection_scores"], case["propagated_scores"]])
        for threshold, expected in case["keep"].items():
            assert similarity.suppress_boxes(boxes, scores, float(threshold)).tolist() == expected
