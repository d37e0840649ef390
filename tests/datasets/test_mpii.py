import contextlib
import json
import zlib

import made_mpii
import numpy as np
import pytest
import scipy.io

from hrnet_jax import geometry, pipeline, prepare
from hrnet_jax.datasets import matlab, mpii, records
from hrnet_jax.skeletons import MPII

# zlib.crc32 of the 256x256 RGB crops that the authors' MPIIDataset cuts out for the five real people.
AUTHORS_CROPS = [837440393, 550110262, 3004266352, 4257653879, 1860265028]


def load(tmp_path, content):
    path = tmp_path / "valid.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    rows = mpii.load(path, MPII)
    return rows.photos, *mpii.select_people(rows)


def five(shared):
    return json.loads((shared / "real" / "mpii_five" / "annot" / "valid.json").read_text())


@pytest.mark.parametrize("source", ["real", "made_up"])
def test_center_scale_and_joints_are_the_originals_formula(request, tmp_path, source):
    entries = made_mpii.people() if source == "made_up" else five(request.getfixturevalue("shared"))
    _, people, dropped = load(tmp_path, entries)
    for entry, box, joints, visible in zip(entries, people.box, people.joints, people.visible, strict=True):
        center, scale = geometry.box_to_center_scale(box, 1.0, np.float64)
        x, y = entry["center"]
        np.testing.assert_allclose(center, [x - 1, y + 15 * entry["scale"] - 1], rtol=1e-14)
        np.testing.assert_allclose(scale, [1.25 * entry["scale"]] * 2, rtol=1e-14)
        np.testing.assert_array_equal(joints, np.array(entry["joints"]) - 1)
        np.testing.assert_array_equal(visible, entry["joints_vis"])
    assert people.annotation_id.tolist() == [1, 2, 3, 4, 5]
    assert dropped == {}


def test_crops_are_the_originals_in_every_pixel(shared, tmp_path):
    prepare.prepare_mpii(shared / "real" / "mpii_five", tmp_path)
    split = records.open_split(tmp_path / "valid")
    batches = pipeline.eval_batches(split, split.people, image_size=(256, 256), batch_size=5, threads=0)
    with contextlib.closing(batches):
        (batch,) = batches
    assert [zlib.crc32(image.tobytes()) for image in batch["image"]] == AUTHORS_CROPS


def test_rows_keep_their_order_and_photos_are_numbered_by_first_appearance(tmp_path):
    photos, people, _ = load(tmp_path, made_mpii.people(5))
    assert people.annotation_id.tolist() == [1, 2, 3, 4, 5]
    assert people.photo_id.tolist() == [1, 1, 2, 2, 3]
    assert [photos[number].file_name for number in (1, 2, 3)] == [
        "000000009.jpg",
        "000000008.jpg",
        "000000007.jpg",
    ]
    assert people.visible[:, :2].tolist() == [[0, 1]] * 5
    assert people.score.tolist() == [1] * 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"center": [-1.0, -1.0]}, "without centre"),
        ({"scale": -1.0}, "without scale"),
        ({"scale": 0}, "without scale"),
    ],
)
def test_people_who_cannot_be_cut_out_are_dropped_and_the_others_keep_their_rows(tmp_path, changes, reason):
    entries = made_mpii.people(3)
    entries[1] |= changes
    _, people, dropped = load(tmp_path, entries)
    assert people.annotation_id.tolist() == [1, 3]
    assert dropped == {reason: 1}


def test_people_without_labelled_joints_stay_as_in_the_original(tmp_path):
    entries = made_mpii.people(2)
    entries[0]["joints_vis"] = [0] * MPII.num_joints
    assert load(tmp_path, entries)[1].visible.any(axis=1).tolist() == [False, True]


def test_a_test_split_has_no_joints(tmp_path):
    entries = [{name: entry[name] for name in ("image", "center", "scale")} for entry in made_mpii.people(3)]
    _, people, _ = load(tmp_path, entries)
    assert not people.joints.any() and not people.visible.any()
    assert people.joints.shape == (3, MPII.num_joints, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": [[1, 2]] * 15}, r"row 2: `joints` must be 16, but there are 15"),
        (
            {"joints": [[1, 2]] * 15 + [[1]]},
            r"row 2: `joints`\[15\] must be 2 finite numbers.*, but is 1: \[1\]",
        ),
        ({"joints": [[1, 2]] * 15 + [[1, 1e10]]}, r"row 2: `joints`\[15\] must be 2 finite numbers"),
        ({"joints_vis": [1] * 17}, r"row 2: `joints_vis` must be 16 finite numbers.*, but is 17"),
        ({"center": [1, -1e10]}, r"row 2: `center` must be 2 finite numbers"),
        ({"center": None}, r"row 2: `center` must be 2 finite numbers.*, but is None"),
        ({"scale": "big"}, r"row 2: `scale` must be a finite number"),
        ({"image": "../../etc/passwd.jpg"}, r"row 2: `image` \(='../../etc/passwd.jpg'\) must be a path inside"),
        ({"image": "/etc/passwd"}, r"row 2: `image` \(='/etc/passwd'\) must be a path inside"),
        ({"image": ""}, r"row 2: `image` \(=''\) must be a path inside"),
        ({"image": 3}, r"row 2: `image` \(=3\) must be a string, not int"),
    ],
)
def test_errors_name_file_row_and_value(tmp_path, changes, message):
    entries = made_mpii.people(3)
    entries[1] |= changes
    with pytest.raises(ValueError, match=rf"valid.json: {message}"):
        load(tmp_path, entries)


def test_joints_are_in_all_rows_or_in_none(tmp_path):
    entries = made_mpii.people(3)
    del entries[1]["joints"]
    with pytest.raises(
        ValueError, match=r"row 2 has no `joints`; its fields are image, center, scale, joints_vis"
    ):
        load(tmp_path, entries)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must hold a list of people"),
        ({"a": 1}, "must hold a list"),
        ("[{", "is not valid JSON"),
        ([3], "row 1 must be an object"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, content)


def test_joint_names_of_the_truth_are_mpiis():
    parts = {"ank": "ankle", "kne": "knee", "hip": "hip", "wri": "wrist", "elb": "elbow", "sho": "shoulder"}
    sided = {f"{side[0]}{short}": f"{side}_{part}" for side in ("left", "right") for short, part in parts.items()}
    expected = {**sided, "pelv": "pelvis", "thor": "thorax", "neck": "upper_neck", "head": "head_top"}
    assert expected == mpii.JOINT_NAMES


def test_truth_is_put_into_the_skeletons_order_by_the_files_names(tmp_path):
    entries, order = made_mpii.people(4), np.roll(np.arange(MPII.num_joints), 5)
    fields = made_mpii.truth(entries)
    shuffled = {
        "dataset_joints": fields["dataset_joints"][:, order],
        "jnt_missing": fields["jnt_missing"][order],
        "pos_gt_src": fields["pos_gt_src"][order],
    }
    (tmp_path / "annot").mkdir()
    truth = mpii.read_truth(made_mpii.write_truth(tmp_path, entries, **shuffled), MPII)
    np.testing.assert_array_equal(truth.joints, [entry["joints"] for entry in entries])
    np.testing.assert_array_equal(truth.missing, [[1] + [0] * 15] * 4)
    np.testing.assert_array_equal(truth.head_boxes, [[[0, 0], [10, 10]]] * 4)
    mpii.save_truth(truth, tmp_path / "pckh.npz")
    np.testing.assert_array_equal(mpii.load_truth(tmp_path / "pckh.npz").joints, truth.joints)
    assert len(truth) == 4


def test_truth_of_one_person_may_lack_the_last_axis(tmp_path):
    entries = made_mpii.people(1)
    fields = {name: array[..., 0] for name, array in made_mpii.truth(entries).items() if array.ndim == 3}
    (tmp_path / "annot").mkdir()
    truth = mpii.read_truth(made_mpii.write_truth(tmp_path, entries, **fields), MPII)
    np.testing.assert_array_equal(truth.joints, [entries[0]["joints"]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"headboxes_src": None},
            r"has no `headboxes_src`; of .* it holds dataset_joints, pos_gt_src, jnt_missing",
        ),
        ({"pos_gt_src": np.zeros((15, 2, 5))}, r"`pos_gt_src` must be numbers of shape \(16, 2\) \+ \(people,\)"),
        ({"jnt_missing": np.zeros((16, 4))}, r"different numbers of people: .*'jnt_missing': 4"),
        ({"dataset_joints": np.array([["head"] * 16], object)}, r"`dataset_joints` \(head, .* must be MPII's 16"),
        ({"dataset_joints": np.array([["head"] * 3], object)}, r"`dataset_joints` \(head, head, head\) must be"),
    ],
)
def test_errors_name_invalid_truth(tmp_path, changes, message):
    (tmp_path / "annot").mkdir()
    with pytest.raises(ValueError, match=rf"gt_valid.mat.*{message}"):
        mpii.read_truth(made_mpii.write_truth(tmp_path, **changes), MPII)


def test_unused_arrays_are_not_unpacked(tmp_path):
    path, random = tmp_path / "a.mat", np.random.default_rng(0)
    scipy.io.savemat(path, {"wanted": np.ones(3), "other": random.random(1000)}, do_compression=True)
    path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    assert matlab.read(path, ["wanted"])["wanted"].tolist() == [[1, 1, 1]]
    with pytest.raises(ValueError, match=r"a\.mat cannot be read as a MATLAB file .*; download it again"):
        matlab.read(path, ["other"])


def test_a_file_that_takes_more_memory_than_allowed_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"small": np.ones(3), "large": np.zeros(5 * 10**8, np.uint8)}, do_compression=True)
    monkeypatch.setattr(matlab, "MEMORY", 7 * 10**8)
    assert matlab.read(path, ["small"])["small"].tolist() == [[1, 1, 1]]
    with pytest.raises(ValueError, match=r"a\.mat cannot be read as a MATLAB file .*; download it again"):
        matlab.read(path, ["large"])


@pytest.mark.parametrize(
    "content", [b"", b"MATLAB", b"\x89HDF" * 100, b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"]
)
def test_other_files_than_matlabs_are_refused(tmp_path, content):
    path = tmp_path / "gt_valid.mat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"gt_valid.mat cannot be read as a MATLAB file"):
        mpii.read_truth(path, MPII)
    with pytest.raises(FileNotFoundError, match=r"gt_test.mat does not exist"):
        mpii.read_truth(tmp_path / "gt_test.mat", MPII)


def test_errors_name_damaged_truth_of_a_prepared_split(tmp_path):
    (tmp_path / "pckh.npz").write_bytes(b"PK\3\4")
    with pytest.raises(ValueError, match=r"pckh.npz is damaged"):
        mpii.load_truth(tmp_path / "pckh.npz")
