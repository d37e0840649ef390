import dataclasses
import json

import numpy as np
import pytest

from hrnet_jax import skeletons

PUBLISHED_SIGMAS = {  # of the COCO keypoint challenge
    **{"nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062},
    **{"hip": 0.107, "knee": 0.087, "ankle": 0.089},
}


def part(joint: str) -> str:
    return joint.removeprefix("left_").removeprefix("right_")


def test_cocos_joints_sigmas_and_limbs_are_the_published_ones():
    """COCO's annotation files list limbs by numbers counted from 1."""
    coco = skeletons.COCO
    assert coco.joints == (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
        "left_knee", "right_knee", "left_ankle", "right_ankle",
    )  # fmt: skip
    assert coco.sigmas == tuple(PUBLISHED_SIGMAS[part(joint)] for joint in coco.joints)
    limbs = [
        [16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9],
        [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7],
    ]  # fmt: skip
    assert {frozenset(limb) for limb in coco.limbs} == {frozenset((a - 1, b - 1)) for a, b in limbs}


def test_coco_is_coco():
    coco = skeletons.load("coco")
    assert coco.num_joints == 17
    assert coco.flip_pairs == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
    assert coco.upper_body == tuple(range(11))
    assert sum(coco.sigmas) == pytest.approx(1.138)
    assert len(coco.limbs) == 19


def test_mpii_is_mpii():
    mpii = skeletons.load("mpii")
    assert mpii.num_joints == 16
    assert (mpii.joints[0], mpii.joints[6:10], mpii.joints[15]) == (
        "right_ankle", ("pelvis", "thorax", "upper_neck", "head_top"), "left_wrist",
    )  # fmt: skip
    pairs = [[0, 5], [1, 4], [2, 3], [10, 15], [11, 14], [12, 13]]
    assert sorted(map(sorted, mpii.flip_pairs)) == pairs
    assert sorted(mpii.upper_body) == list(range(7, 16))
    assert {joint for limb in mpii.limbs for joint in limb} == set(range(16)) and len(mpii.limbs) == 15
    stands_for = {"pelvis": "hip", "thorax": "shoulder", "upper_neck": "ear", "head_top": "ear"}
    parts = [stands_for.get(joint, part(joint)) for joint in mpii.joints]
    assert mpii.sigmas == tuple(PUBLISHED_SIGMAS[name] for name in parts)
    assert all(mpii.joints[left].startswith("left_") for left, _ in mpii.flip_pairs)


def test_weights_of_joints_are_named_or_given():
    coco = skeletons.COCO
    np.testing.assert_array_equal(coco.weights_of_joints(()), np.ones(17))
    original = [1, 1, 1, 1, 1, 1, 1, 1.2, 1.2, 1.5, 1.5, 1, 1, 1.2, 1.2, 1.5, 1.5]
    np.testing.assert_array_equal(coco.weights_of_joints(["original"]), original)
    mpii = [1.5, 1.2, 1, 1, 1.2, 1.5, 1, 1, 1, 1, 1.5, 1.2, 1, 1, 1.2, 1.5]
    np.testing.assert_array_equal(skeletons.MPII.weights_of_joints(("original",)), mpii)
    np.testing.assert_array_equal(coco.weights_of_joints(range(17)), np.arange(17))


@pytest.mark.parametrize(
    "given", [("authors",), (1.0, 2.0), (-1.0,) * 17, (float("nan"),) * 17, ("original", 1.0)]
)
def test_other_weights_of_joints_are_refused(given):
    with pytest.raises(ValueError, match="`joint_weights`"):
        skeletons.COCO.weights_of_joints(given)


def test_mirroring_twice_changes_nothing():
    order = skeletons.COCO.flip_order
    np.testing.assert_array_equal(order[order], np.arange(17))
    names = np.array(skeletons.COCO.joints)
    assert names[order][5] == "right_shoulder" and names[order][0] == "nose"


def test_a_skeleton_file_is_read_and_written(tmp_path):
    path = tmp_path / "dog.json"
    fields = {
        "name": "dog",
        "joints": ["nose", "left_ear", "right_ear"],
        "flip_pairs": [["left_ear", "right_ear"]],
        "limbs": [["nose", "left_ear"], ["nose", "right_ear"]],
        "sigmas": [0.03, 0.04, 0.04],
        "upper_body": ["nose"],
        "joint_weights": {"ears": [1.0, 2.0, 2.0]},
    }
    path.write_text(json.dumps(fields))
    dog = skeletons.load(path)
    assert dog.num_joints == 3 and dog.limbs == ((0, 1), (0, 2))
    skeletons.save(dog, tmp_path / "again.json")
    again = skeletons.load(tmp_path / "again.json")
    assert again == dog and again.joint_weights == {"ears": (1.0, 2.0, 2.0)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigmas": [0.1]}, "must be 17 numbers of at least 0.0001"),
        ({"sigmas": [0.1] * 16 + [1e-300]}, "must be 17 numbers of at least 0.0001"),
        ({"limbs": [["nose", "tail"]]}, "'tail' is not among its joints"),
        ({"flip_pairs": [["nose", "left_eye"], ["nose", "right_eye"]]}, "a joint is in two of the `flip_pairs`"),
        ({"joints": ["nose", "nose"], "joint_weights": {}}, "is not among its joints"),
        ({"colour": "red"}, "needs the fields name, joints"),
        ({"joint_weights": {"some": [1.0]}}, "`joint_weights` must be 17 finite numbers"),
    ],
)
def test_errors_name_contradictions(tmp_path, change, message):
    path = tmp_path / "skeleton.json"
    skeletons.save(skeletons.COCO, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        skeletons.load(path)


def test_errors_name_missing_and_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`skeleton` \(='centaur'\) is neither .* one of: coco, mpii"):
        skeletons.load("centaur")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json is not valid JSON"):
        skeletons.load(tmp_path / "broken.json")


def test_joint_names_must_be_distinct():
    with pytest.raises(ValueError, match="must be distinct"):
        dataclasses.replace(skeletons.COCO, joints=("nose",) * 17)


def test_joint_indices_must_exist():
    with pytest.raises(ValueError, match="between 0 and 16"):
        dataclasses.replace(skeletons.COCO, upper_body=(17,))
