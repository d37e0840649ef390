"""The people shown in galleries, and their pictures."""

import base64
import dataclasses

import cv2
import made_errors
import numpy as np
import pytest

from hrnet_jax import visualize
from hrnet_jax.datasets import mpii, records
from hrnet_jax.evaluation import error_costs, examples, gallery, protocols
from hrnet_jax.skeletons import COCO, MPII

TRUTH = made_errors.people()
PERFECT = made_errors.perfect(TRUTH)
WRIST = COCO.joints.index("left_wrist")


def test_the_worst_of_each_kind_are_shown_once_a_photo():
    found = PERFECT
    for row, joints in ((0, (3,)), (1, (3, 4)), (2, (3, 4, 5)), (4, (3, 4, 5, 6, 7))):
        for joint in joints:
            found = made_errors.moved(found, row, joint, [-5000, 0])
    shown = examples.of_errors(made_errors.find(found))
    assert list(shown) == list(error_costs.MENDED)
    assert [(example.photo_id, example.marked.sum()) for example in shown["miss"]] == [(3, 5), (2, 3), (1, 2)]
    assert shown["miss"][0].caption == "OKS 0.71: 5 of 17 joints"
    assert shown["miss"][2].caption == "OKS 0.88: left ear, right ear"
    assert shown["jitter"] == shown["score"] == shown["false_negative"] == []
    np.testing.assert_array_equal(shown["miss"][2].truth, TRUTH.joints[[1]])
    assert (np.abs(shown["miss"][2].frame) < 4000).all()  # a joint far away does not shrink the person


def test_a_swap_shows_the_other_people_of_the_photo():
    (swap,) = examples.of_errors(made_errors.find(made_errors.moved(PERFECT, 0, WRIST, TRUTH.joints[1, WRIST])))[
        "swap"
    ]
    np.testing.assert_array_equal(swap.truth, TRUTH.joints[[0, 1]])
    assert swap.predicted.shape == (1, COCO.num_joints, 2) and np.flatnonzero(swap.marked).tolist() == [WRIST]


def test_false_positives_and_negatives_are_framed_alone():
    lost = made_errors.added(PERFECT.select(np.arange(8) != 3), 9, TRUTH.joints[0] + 7000, 0.99)
    shown = examples.of_errors(made_errors.find(lost))
    (positive,), (negative,) = shown["false_positive"], shown["false_negative"]
    assert (positive.photo_id, positive.caption, len(positive.truth)) == (9, "score 0.99", 0)
    np.testing.assert_array_equal(positive.frame, TRUTH.joints[0] + 7000)
    assert (negative.photo_id, negative.caption) == (2, "100 pixels large, 17 labelled joints")
    np.testing.assert_array_equal(negative.predicted, TRUTH.joints[[2]])  # who was found there
    np.testing.assert_array_equal(negative.frame, TRUTH.joints[3])


def test_joints_that_were_not_found_are_not_framed():
    lost = made_errors.added(PERFECT, 9, TRUTH.joints[0] + 7000, 0.99)
    lost = made_errors.moved(lost, 0, WRIST, [-5000, 0])
    lost.joint_score[lost.photo_id == 9, WRIST] = lost.joint_score[0, WRIST] = 0
    shown = examples.of_errors(made_errors.find(lost))
    (positive,), (miss,) = shown["false_positive"], shown["miss"]
    assert [np.flatnonzero(~example.found[0]).tolist() for example in (positive, miss)] == [[WRIST]] * 2
    np.testing.assert_array_equal(positive.frame, np.delete(TRUTH.joints[0] + 7000, WRIST, axis=0))
    np.testing.assert_array_equal(miss.frame.min(axis=0), TRUTH.joints[0].min(axis=0))


def test_false_positives_without_a_certain_joint_are_shown_last():
    lost = PERFECT
    for photo, score in ((7, 0.0), (8, 0.5), (9, 0.0)):
        lost = made_errors.added(lost, photo, TRUTH.joints[0] + 7000, score)
    shown = examples.of_errors(made_errors.find(lost))["false_positive"]
    assert [(one.photo_id, one.caption) for one in shown] == [
        (8, "score 0.50"),
        (7, "score 0.00"),
        (9, "score 0.00"),
    ]


def test_a_person_who_was_not_found_is_shown_with_all_that_was_predicted_in_the_photo():
    wrong = TRUTH.joints[3] + 7000
    lost = made_errors.added(PERFECT.select(np.arange(8) != 3), int(TRUTH.photo_id[3]), wrong, 0.99)
    (negative,) = examples.of_errors(made_errors.find(lost))["false_negative"]
    assert sorted(negative.predicted[:, 0, 0]) == sorted([TRUTH.joints[2, 0, 0], wrong[0, 0]])
    np.testing.assert_array_equal(negative.frame, TRUTH.joints[3])
    assert not negative.has_prediction


def test_a_score_error_names_both_detections():
    better = made_errors.added(made_errors.moved(PERFECT, 0, WRIST, [0, 9000]), 1, TRUTH.joints[0], 0.1)
    (example,) = examples.of_errors(made_errors.find(better))["score"]
    assert example.caption == "OKS 0.94 with score 0.90 outranks OKS 1.00 with score 0.10"


def test_mpii_shows_the_largest_mean_errors_and_inversions():
    rng = np.random.default_rng(0)
    joints = rng.uniform(0, 500, (3, MPII.num_joints, 2))
    people = records.People(
        *np.arange(9).reshape(3, 3), np.zeros((3, 4)), joints, np.ones((3, MPII.num_joints)), np.ones(3)
    )
    heads = np.tile(np.array([[0.0, 0], [20, 0]]), (3, 1, 1))
    truth = mpii.Truth(joints + mpii.FIRST_PIXEL, np.zeros((3, MPII.num_joints)), heads)
    found = joints.copy()
    found[1, 0] += 12
    left, right = MPII.flip_pairs[0]
    found[2, left] = joints[2, right]
    shown = examples.of_heads(found, people, truth, MPII)
    assert [example.photo_id for example in shown["worst"]] == [people.photo_id[2], people.photo_id[1]]
    (inverted,) = shown["inversion"]
    assert np.flatnonzero(inverted.marked).tolist() == [left]
    assert (
        shown["worst"][1].caption == f"{12 * 2**0.5 / 12 / MPII.num_joints:.2f} heads off on average: right ankle"
    )


@pytest.fixture
def split(made_up_records):
    return records.open_split(made_up_records / "val2017")


def one(split, row, caption=""):
    people = split.people
    joints, visible = people.joints[[row]], people.visible[[row]] > 0
    frame, marked = joints[0][visible[0]], visible[0] & (np.arange(visible.shape[1]) == np.argmax(visible[0]))
    return examples.Example(int(people.photo_id[row]), joints, visible, joints, visible, frame, marked, caption)


CROP, STRIDE = (64, 68), 16  # of `look`; the stride is in pixels of the drawn heatmaps


def peak(people: records.People, row: int) -> int:
    return int(people.annotation_id[row] % 16)


def look(people: records.People):
    """Yields black crops and heatmaps with a peak in the column of each joint, the highest for the last one."""
    columns = np.arange(COCO.num_joints)
    for row in range(len(people)):
        heatmaps = np.zeros((16, 17, COCO.num_joints), np.float32)
        heatmaps[peak(people, row), columns, columns] = 0.5 + columns / 40
        yield np.zeros((*CROP, 3), np.uint8), heatmaps


def predictions_of(people: records.People) -> protocols.Predictions:
    return protocols.Predictions("gt_boxes", people, people.joints, people.visible)


def draw(shown, split):
    return gallery.draw(shown, split, predictions_of(split.people), look)


def decode(uri: str) -> np.ndarray:
    prefix, data = uri.split(",")
    assert prefix == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_pictures_show_truth_beside_prediction_with_rings(split):
    row = int(np.argmax(split.people.visible.sum(axis=1)))
    example = one(split, row, "a caption")
    drawn = draw({"miss": [example]}, split)
    ((caption, uri, _),) = drawn["miss"]
    assert caption == f"photo {example.photo_id}, a caption"
    picture = decode(uri)
    assert picture.shape == (gallery.SIDE, 2 * gallery.SIDE + 4, 3)
    near_ring = np.abs(picture.astype(int) - visualize.RING).max(axis=-1) < 60
    assert near_ring[:, : gallery.SIDE].sum() > 20 and near_ring[:, -gallery.SIDE :].sum() > 20
    nothing = {
        "marked": np.zeros_like(example.marked),
        "predicted": example.predicted[:0],
        "found": example.found[:0],
    }
    plain = dataclasses.replace(example, **nothing, has_prediction=False)
    (_, uri, _) = draw({"miss": [plain]}, split)["miss"][0]
    without = np.abs(decode(uri).astype(int) - visualize.RING).max(axis=-1) < 60
    assert without.sum() < near_ring.sum() / 4


def test_joints_that_were_not_found_are_not_drawn(split):
    row = int(np.argmax(split.people.visible.sum(axis=1)))
    example = one(split, row)
    lost = dataclasses.replace(example, found=example.found & ~example.marked)
    (_, uri, _), (_, of_lost, _) = (draw({"miss": [shown]}, split)["miss"][0] for shown in (example, lost))
    left, right = (
        np.abs(decode(uri).astype(int) - decode(of_lost)).max(axis=(0, 2))[half] > 100
        for half in (slice(gallery.SIDE), slice(-gallery.SIDE, None))
    )
    assert right.any() and not left.any()
    is_ring = np.abs(decode(of_lost)[:, -gallery.SIDE :].astype(int) - visualize.RING).max(axis=-1) < 60
    assert is_ring.sum() < 20


def test_pictures_stop_at_the_limit_the_worst_of_each_kind_first(split, monkeypatch):
    kinds = {kind: [one(split, row, f"{kind} {row}") for row in range(3)] for kind in ("miss", "swap")}
    everything = draw(kinds, split)
    assert [len(pictures) for pictures in everything.values()] == [3, 3]
    first = sum(len(pictures[0].people + pictures[0].heatmaps) for pictures in everything.values())
    monkeypatch.setattr(gallery, "MOST_BYTES", first)
    limited = draw(kinds, split)
    assert {kind: pictures[:1] for kind, pictures in everything.items()} == limited


def test_a_photo_whose_people_are_dropped_and_not_found_is_shown(split):
    nobody = split.people.select(np.zeros(len(split.people), bool))
    missed = dataclasses.replace(one(split, 0), has_prediction=False)
    shown = gallery.draw(
        {"false_negative": [missed]}, dataclasses.replace(split, people=nobody), predictions_of(nobody), look
    )
    assert shown["false_negative"]


def test_a_photo_with_detections_only_is_found(split):
    alone = split.people.select(np.arange(len(split.people)) == 0)
    others = dataclasses.replace(split, people=split.people.select(split.people.photo_id != alone.photo_id[0]))
    assert gallery.draw({"miss": [one(split, 0)]}, others, predictions_of(alone), look)["miss"]


def brightest(picture: np.ndarray) -> list[float]:
    """Returns x and y of the brightest place of a picture, in heatmap pixels."""
    total = cv2.GaussianBlur(picture.sum(axis=-1).astype(np.float32), (0, 0), 4)
    y, x = np.unravel_index(np.argmax(total), total.shape)
    return [x / STRIDE, y / STRIDE]


def test_heatmaps_are_those_of_the_prediction_and_of_the_joints_with_the_error(split):
    rows = np.flatnonzero(np.diff(split.people.photo_id) == 0)[[1, 0]] + 1  # not the first of their photos
    shown = [one(split, row) for row in rows]
    for row, example, picture in zip(rows, shown, draw({"miss": shown}, split)["miss"], strict=True):
        drawn, width = decode(picture.heatmaps), gallery.SIDE * CROP[1] // CROP[0]
        assert drawn.shape == (gallery.SIDE, 2 * width + 4, 3)
        assert brightest(drawn[:, :width]) == pytest.approx(
            [COCO.num_joints - 1, peak(split.people, row)], abs=0.5
        )
        marked = np.flatnonzero(example.marked)[0]
        assert brightest(drawn[:, -width:]) == pytest.approx([marked, peak(split.people, row)], abs=0.5)


def test_heatmaps_of_no_joint_with_the_error_are_those_of_all(split):
    example = dataclasses.replace(one(split, 0), marked=np.zeros(COCO.num_joints, bool))
    (picture,) = draw({"score": [example]}, split)["score"]
    assert decode(picture.heatmaps).shape == (gallery.SIDE, gallery.SIDE * CROP[1] // CROP[0], 3)


def test_people_who_were_not_found_have_no_heatmaps(split):
    lost = dataclasses.replace(one(split, 0), has_prediction=False)
    pictures = draw({"false_negative": [lost], "miss": [one(split, 1)]}, split)
    assert pictures["false_negative"][0].heatmaps == "" and pictures["miss"][0].heatmaps
