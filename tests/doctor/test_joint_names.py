from hrnet_jax.doctor import joint_names
from hrnet_jax.skeletons import Skeleton

SIDES = {
    "left_eye": "right_eye",
    "LEFT_EYE": "RIGHT_EYE",
    "LeftEye": "RightEye",
    "foot_left_1": "foot_right_1",
    "L_Eye": "R_Eye",
    "lEye": "rEye",
    "eye.L": "eye.R",
    "eyeL": "eyeR",
    "Lelbow": "Relbow",
    "lhip": "rhip",
    "left_foot_right_toe": "right_foot_left_toe",
}
NO_SIDE = ("collar", "lip", "L5", "upright", "bright_spot", "cleft", "rib")


def test_finds_the_mirror_joint_in_any_spelling():
    both = SIDES | {other: one for one, other in SIDES.items()}
    assert {name: joint_names.mirror_name(name, both) for name in both} == both


def test_a_name_without_a_side_is_its_own_mirror():
    assert [joint_names.mirror_name(name, NO_SIDE) for name in NO_SIDE] == list(NO_SIDE)


def test_names_are_respelled_as_in_coco():
    names = (*NO_SIDE, "kneeL", "kneeR", "R.Hip", "L.Hip")
    skeleton = Skeleton("some", names, flip_pairs=(), sigmas=(0.05,) * 11, limbs=(), upper_body=())
    assert joint_names.coco_style(skeleton)[7:] == ("left_knee", "right_knee", "right_hip", "left_hip")
    assert joint_names.coco_style(skeleton)[:7] == tuple(name.lower() for name in NO_SIDE)
