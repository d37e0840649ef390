"""The tables of published skeletons; `test_skeletons.py` has those of COCO and MPII."""

import pytest

from hrnet_jax import skeletons
from hrnet_jax.datasets import posetrack18
from hrnet_jax.doctor import skeleton_files
from hrnet_jax.skeleton_tables import TABLES, WHOLEBODY_PARTS, part_of

COUNTS = {
    "coco": 17, "mpii": 16, "crowdpose": 14, "aic": 14, "halpe26": 26, "coco_wholebody": 133, "jhmdb": 15,
    "lsp": 14, "ap10k": 17, "posetrack": 17,
}  # fmt: skip


def test_all_tables_have_their_joints_and_nothing_odd():
    found = {name: skeletons.load(name) for name in TABLES}
    assert {name: skeleton.num_joints for name, skeleton in found.items()} == COUNTS
    for name, skeleton in found.items():
        assert skeleton.name == name and not skeleton_files.examine(skeleton)
        sided = {joint for joint in skeleton.joints if joint.startswith(("left_", "right_"))}
        mirrored = {skeleton.joints[k] for pair in skeleton.flip_pairs for k in pair}
        assert sided == {joint for joint in mirrored if not joint.startswith("face_")}


@pytest.mark.parametrize("name", sorted({*TABLES} - {"coco_wholebody"}))
def test_limbs_connect_all_joints(name):
    skeleton = skeletons.load(name)
    reached, before = {0}, set()
    while reached != before:
        before = set(reached)
        reached |= {joint for limb in skeleton.limbs if reached & set(limb) for joint in limb}
    assert reached == set(range(skeleton.num_joints))


def test_mirrored_limbs_are_limbs():
    for name in TABLES:
        skeleton = skeletons.load(name)
        limbs = {frozenset(limb) for limb in skeleton.limbs}
        assert {frozenset(skeleton.flip_order[list(limb)].tolist()) for limb in skeleton.limbs} == limbs, name


def test_joints_of_one_name_have_cocos_sigmas_where_these_are_taken():
    coco = dict(zip(map(part_of, skeletons.COCO.joints), skeletons.COCO.sigmas, strict=True))
    for name in ("crowdpose", "halpe26", "coco_wholebody", "jhmdb", "lsp", "posetrack"):
        skeleton = skeletons.load(name)
        pairs = zip(skeleton.joints, skeleton.sigmas, strict=True)
        assert all(coco.get(part_of(joint), sigma) == sigma for joint, sigma in pairs if joint != "hip"), name
    assert skeletons.load("halpe26").sigmas[-6:] == (0.079,) * 6
    assert dict(zip(skeletons.load("crowdpose").joints, skeletons.load("crowdpose").sigmas, strict=True))[
        "head_top"
    ] == pytest.approx(0.079)


def test_whole_bodies_have_the_authors_parts_and_mirror_faces():
    skeleton = skeletons.load("coco_wholebody")
    assert {part: len(joints) for part, joints in WHOLEBODY_PARTS.items()} == {
        "body": 17, "foot": 6, "face": 68, "lefthand": 21, "righthand": 21
    }  # fmt: skip
    assert skeleton.joints[:17] == skeletons.COCO.joints and skeleton.sigmas[:17] == skeletons.COCO.sigmas
    mirrored = {skeleton.joints[a]: skeleton.joints[b] for a, b in enumerate(skeleton.flip_order.tolist())}
    expected = {0: 16, 7: 9, 17: 26, 21: 22, 31: 35, 36: 45, 39: 42, 40: 47, 41: 46, 48: 54, 60: 64, 65: 67}
    assert all(mirrored[f"face_{a}"] == f"face_{b}" for a, b in expected.items())
    assert [k for k in range(68) if mirrored[f"face_{k}"] == f"face_{k}"] == [
        8,
        27,
        28,
        29,
        30,
        33,
        51,
        57,
        62,
        66,
    ]
    assert mirrored["left_hand_root"] == "right_hand_root"
    # Sums of the authors' sigmas, by part
    parts = [skeleton.sigmas[skeleton.joints.index(j[0]) :][: len(j)] for j in WHOLEBODY_PARTS.values()]
    assert [round(sum(part), 3) for part in parts] == [1.138, 0.48, 1.137, 0.553, 0.553]


def test_posetracks_joints_are_in_cocos_places_with_the_head_for_the_eyes():
    skeleton = skeletons.load("posetrack")
    assert skeleton.joints == posetrack18.FILE_JOINTS and skeleton.joints[1:3] == ("head_bottom", "head_top")
    assert skeleton.joints[3:] == skeletons.COCO.joints[3:]
    assert skeleton.flip_pairs == skeletons.COCO.flip_pairs[1:]
    assert skeleton.flip_order[:3].tolist() == [0, 1, 2]
    assert skeleton.sigmas[1:3] == (0.079, 0.079)
