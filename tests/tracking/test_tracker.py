import dataclasses

import numpy as np
import pytest

from hrnet_jax.tracking import memory, tracker
from hrnet_jax.tracking.settings import PRESETS, Settings, parse

SIGMAS = np.full(4, 0.1)
SIZE = 400, 600
SQUARE = np.array([[-10.0, -20], [10, -20], [-10, 20], [10, 20]])


def pose(x: float, y: float = 200, score: float = 0.9) -> np.ndarray:
    """Returns a person of four joints, 20 by 40 pixels."""
    return np.concatenate([np.add(SQUARE, [x, y]), np.full((4, 1), score)], axis=1)


def box(x: float, y: float = 200) -> list[float]:
    return [x - 12, y - 24, x + 12, y + 24]


def world(*people: tuple[float, ...]):
    """Returns a network that finds the nearest of the people (x, y, score) to the middle of a box."""
    poses = [pose(*person) for person in people]

    def estimate(boxes: np.ndarray) -> np.ndarray:
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        centres = np.array([each[:, :2].mean(axis=0) for each in poses])
        return np.array([poses[i] for i in ((middles[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1)])

    return estimate


def frame(time: float, *places: float, scores=None, **options) -> tracker.Frame:
    boxes = np.array([box(x) for x in places]).reshape(-1, 4)
    return tracker.Frame(
        time, SIZE, boxes, np.ones(len(places)) if scores is None else np.array(scores), **options
    )


def run(settings: Settings, *frames: tuple[tracker.Frame, list[float]]) -> list[tracker.Tracks]:
    """Follows people through frames, each with the places x where people really are."""
    state, tracks = memory.start(4), []
    for detections, places in frames:
        estimate = world(*((x,) if np.isscalar(x) else x for x in places)) if places else lambda boxes: boxes
        state, found = tracker.step(state, detections, estimate, settings, SIGMAS)
        tracks.append(found)
    return tracks


def ids(tracks: list[tracker.Tracks]) -> list[list[int]]:
    return [found.ids.tolist() for found in tracks]


def moved(x: float) -> np.ndarray:
    return np.broadcast_to([float(x), 0.0], (*SIZE, 2))


OFF = parse("off/pose")


def test_people_keep_their_ids_in_any_order():
    tracks = run(OFF, (frame(0, 100, 300), [100, 300]), (frame(1, 303, 99, 500), [99, 303, 500]))
    assert ids(tracks) == [[0, 1], [1, 0, 2]]
    assert tracks[1].began.tolist() == [0, 0, 1]


def test_a_missed_person_is_found_in_the_box_that_its_last_pose_proposes():
    frames = [(frame(0, 100, 300), [100, 300]), (frame(1, 300, flow=moved(5)), [105, 300])]
    assert ids(run(OFF, *frames)) == [[0, 1], [1]]
    tracks = run(parse("on/flow"), *frames)
    assert ids(tracks) == [[0, 1], [1, 0]]
    assert tracks[1].detected.tolist() == [True, False]
    assert tracks[1].box_scores == pytest.approx([1, 0.9])
    np.testing.assert_allclose(tracks[1].boxes[1], [105 - 11.5, 200 - 23, 105 + 11.5, 200 + 23])


def test_nobody_is_proposed_for_longer_than_the_limit_without_a_detection():
    settings = parse("paper,propagation_frames=2,memory_frames=2")
    frames = [(frame(0, 100), [100])] + [(frame(time, flow=moved(0)), [100]) for time in range(1, 5)]
    assert ids(run(settings, *frames)) == [[0], [0], [0], [], []]
    supported = [(frame(0, 100), [100])] + [
        (frame(time, *[100] * (time == 2), flow=moved(0), scores=[0.6] * (time == 2)), [100])
        for time in range(1, 6)
    ]
    tracks = run(settings, *supported)
    assert ids(tracks) == [[0], [0], [0], [0], [0], []]
    assert [found.detected.tolist() for found in tracks[1:4]] == [[False], [True], [False]]
    assert tracks[3].box_scores == pytest.approx(0.6 * 0.9)


def test_flow_is_needed_unless_a_shot_begins_which_forgets_everybody():
    frames = [(frame(0, 100), [100]), (frame(1, 100), [100])]
    with pytest.raises(ValueError, match="flow"):
        run(parse("paper"), *frames)
    cut = [(frame(0, 100), [100]), (frame(1, 100, cut=True), [100])]
    assert ids(run(parse("paper"), *cut)) == [[0], [1]]


def test_memory_is_in_frames_and_in_seconds():
    frames = [(frame(0, 100), [100]), (frame(1), []), (frame(2), []), (frame(3, 100), [100])]
    settings = "off/pose,propagation_frames=0,memory_frames=%d,memory_seconds=%f"
    assert ids(run(parse(settings % (3, 3)), *frames))[-1] == [0]
    assert ids(run(parse(settings % (2, 3)), *frames))[-1] == [1]
    assert ids(run(parse(settings % (3, 2.9)), *frames))[-1] == [1]


def test_velocity_carries_people_over_a_gap_and_past_each_other():
    def walk(*gap):
        places = [(100 + 8 * t, 190 - 9 * t) for t in range(12)]
        return [(frame(t / 10, *(() if t in gap else both)), list(both)) for t, both in enumerate(places)]

    for motion, expected in (("velocity", [0, 1]), ("none", [1, 0])):
        settings = parse(f"ours,propagation=none,pose_nms=1,motion={motion}")
        assert ids(run(settings, *walk(4, 5, 6)))[-1] == expected


def test_velocity_is_in_seconds_and_the_mean_of_the_first_displacements():
    state, settings = memory.start(4), parse("ours,velocity_gain=0.1")
    for time, x in ((0, 100), (0.5, 110), (1.5, 120)):
        state, _ = tracker.step(state, frame(time, x), world((x,)), settings, SIGMAS)
    np.testing.assert_allclose(state.velocities[0], [20 + (10 - 20) / 2, 0])


def test_velocity_is_before_the_background():
    pan = [(frame(t, 100 + 12 * t, shift=(12.0 * (t > 0), 0.0)), [100 + 12 * t]) for t in (0, 1)]
    hidden = [(frame(t, shift=(12.0, 0.0)), []) for t in (2, 3, 4)]
    settings = parse("ours,propagation=none,memory_seconds=9")
    assert ids(run(settings, *pan, *hidden, (frame(5, 160, shift=(12.0, 0.0)), [160])))[-1] == [0]
    state = memory.start(4)
    for detections, places in pan:
        state, _ = tracker.step(state, detections, world(*((x,) for x in places)), settings, SIGMAS)
    np.testing.assert_allclose(state.velocities[0], 0, atol=1e-9)


def test_poses_of_low_joint_scores_are_dropped():
    frames = [(frame(0, 100, 300), [(100, 200, 0.35), (300, 200, 0.45)])]
    tracks = run(parse("off/pose,pose_score=0.4"), *frames)
    assert tracks[0].poses[:, :, 0].mean(axis=1) == pytest.approx([300])
    assert ids(run(OFF, *frames)) == [[0, 1]]


def test_nobody_is_proposed_outside_of_the_photo():
    frames = [(frame(0, 100), [100]), (frame(1, flow=moved(700)), [100])]
    assert ids(run(parse("paper"), *frames)) == [[0], []]


def test_the_better_scored_of_two_similar_poses_is_kept():
    near = [(frame(0, 100, 116, scores=[0.6, 0.8]), [108])]
    tracks = run(OFF, *near)
    assert ids(tracks) == [[0]] and tracks[0].box_scores.tolist() == [0.8]
    assert ids(run(parse("off/pose,pose_nms=1"), *near)) == [[0, 1]]


def test_low_boxes_are_dropped_and_those_of_new_people_need_a_higher_score():
    frames = [
        (frame(0, 100, 300, scores=[0.9, 0.4]), [100, 300]),
        (frame(1, 100, 300, scores=[0.4, 0.9]), [100, 300]),
    ]
    assert ids(run(OFF, *frames)) == [[0], [1]]
    assert ids(run(parse("off/pose,box_score=0.3"), *frames)) == [[0, 1], [0, 1]]
    assert ids(run(parse("off/pose,box_score=0.3,new_score=0.5"), *frames)) == [[0], [0, 1]]


def test_the_state_does_not_grow():
    for name in PRESETS:
        state, settings = memory.start(4), PRESETS[name]
        for time in range(200):
            people = 100, 200 + time % 7
            flow = moved(0) if settings.needs_flow else None
            state, tracks = tracker.step(
                state, frame(time / 25, *people, flow=flow), world((100,), (200 + time % 7,)), settings, SIGMAS
            )
        assert tracks.ids.tolist() == [0, 1], name
        assert len(state.ids) == 2 * (1 if settings.history == "latest" else settings.memory_frames + 1)


def test_people_of_another_tracker_keep_its_ids():
    tracks = tracker.adopt(
        np.array([box(300), box(100)]), np.array([0.9, 0.8]), np.array([7, 3]), world((100,), (300,)), 4
    )
    assert tracks.ids.tolist() == [7, 3] and tracks.poses[:, :, 0].mean(axis=1).tolist() == [300, 100]
    with pytest.raises(ValueError, match="different"):
        tracker.adopt(np.array([box(300), box(100)]), np.ones(2), np.array([3, 3]), world((100,)), 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": 0.0}, "later"),
        ({"flow": moved(0)[1:]}, "shape"),
        ({"boxes": np.zeros((2, 4))}, "detections"),
        ({"boxes": np.full((1, 4), np.nan)}, "finite"),
    ],
)
def test_wrong_frames_are_refused(changes, message):
    state, _ = tracker.step(memory.start(4), frame(0, 100), world((100,)), OFF, SIGMAS)
    with pytest.raises(ValueError, match=message):
        tracker.step(state, dataclasses.replace(frame(1, 100), **changes), world((100,)), OFF, SIGMAS)


def test_poses_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 4, 3\)"):
        tracker.step(memory.start(4), frame(0, 100), lambda boxes: np.zeros((1, 5, 3)), OFF, SIGMAS)
