import json
import pickle

import made_coco
import numpy as np
import pytest

from hrnet_jax import prepare
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets import records, write_photos
from hrnet_jax.skeletons import COCO


@pytest.fixture
def split(tmp_path):
    """A prepared split of three photos, a person and a detection on each."""
    root = made_coco.write(tmp_path / "root")
    boxes = made_coco.boxes(tmp_path, [made_coco.box(20), made_coco.box(10), made_coco.box(30)])
    prepare.prepare_coco(root, tmp_path / "out", detections=boxes)
    return tmp_path / "out" / "val2017"


def decoded_photo(number: int) -> np.ndarray:
    return photo_records.decode(made_coco.photo(number), photo_id=number)


def test_photos_are_the_files_bytes_in_ascending_order(split):
    found = records.open_split(split).photos
    assert len(found) == 3
    assert [found[row]["photo_id"] for row in range(3)] == [10, 20, 30]
    assert found[1]["image"] == made_coco.photo(20)
    assert found[1]["file_name"] == b"000000000020.jpg"
    assert (found[1]["width"], found[1]["height"]) == (made_coco.WIDTH, made_coco.HEIGHT)


def test_people_point_at_their_photos(split):
    opened = records.open_split(split)
    assert opened.people.photo_id.tolist() == [30, 10, 20]
    assert opened.people.photo_index.tolist() == [2, 0, 1]
    assert opened.detections is not None
    assert opened.detections.photo_index.tolist() == [1, 0, 2]
    assert opened.skeleton == COCO
    assert opened.name == "val2017"


def test_real_photos_and_people(coco_data, shared):
    opened = records.open_split(coco_data / "val2017")
    assert opened.detections is not None
    assert (len(opened.photos), len(opened.people), len(opened.detections)) == (4, 12, 118)
    record = opened.photos[int(opened.people.photo_index[1])]
    file = shared / "real" / "coco_four" / "images" / "val2017" / record["file_name"].decode()
    assert record["photo_id"] == opened.people.photo_id[1]
    assert record["image"] == file.read_bytes()


def test_a_person_comes_with_the_photo(split):
    opened = records.open_split(split)
    source = records.PersonSource(opened.photos, opened.people)
    assert len(source) == 3
    person = source[0]
    np.testing.assert_array_equal(person["photo"], decoded_photo(30))
    assert person["index"] == 0
    assert person["joints"].shape == (COCO.num_joints, 2)
    assert person["visible"].shape == (COCO.num_joints,)
    np.testing.assert_array_equal(person["box"], opened.people.box[0])


def test_sources_can_be_pickled(split):
    opened = records.open_split(split)
    source = pickle.loads(pickle.dumps(records.PersonSource(opened.photos, opened.people)))
    np.testing.assert_array_equal(source[2]["photo"], decoded_photo(20))


def test_many_shards_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(write_photos, "SHARD_BYTES", 3 * len(made_coco.photo(1)))
    ids = list(range(1, 12))
    prepare.prepare_coco(made_coco.write(tmp_path / "root", made_coco.content(ids[::-1])), tmp_path / "out")
    assert len(list((tmp_path / "out/val2017/photos/1.0.0").glob("*array_record*"))) > 2
    found = records.open_split(tmp_path / "out" / "val2017").photos
    assert [found[row]["photo_id"] for row in range(len(found))] == ids


def test_photos_that_fail_may_leave_a_shard_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(write_photos, "SHARD_BYTES", 3 * len(made_coco.photo(1)))
    ids = list(range(1, 12))
    root = made_coco.write(tmp_path / "root", made_coco.content(ids))
    for number in ids[4:]:
        (root / f"images/val2017/{number:012d}.jpg").write_bytes(b"0" * len(made_coco.photo(1)))
    summary = prepare.prepare_coco(root, tmp_path / "out")["val2017"]
    found = records.open_split(tmp_path / "out" / "val2017").photos
    assert summary["photos_unreadable"]["count"] == 7
    assert [found[row]["photo_id"] for row in range(len(found))] == ids[:4]


def test_the_error_for_a_missing_directory_names_the_command(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"val2017 does not exist: .*hrnet_jax.prepare coco .*--splits val2017"
    ):
        records.open_split(tmp_path / "val2017")


def test_the_error_for_a_directory_of_splits_names_them(split):
    with pytest.raises(ValueError, match=r"not a prepared split .*did you mean .*val2017\?"):
        records.open_split(split.parent)


@pytest.mark.parametrize("name", ["people.npz", "detections.npz", "annotations.json", "skeleton.json"])
def test_incomplete_split_is_refused(split, name):
    (split / name).unlink()
    with pytest.raises(ValueError, match=rf"is incomplete, {name} is missing: prepare it again"):
        records.open_split(split)


def test_errors_name_missing_records(split):
    next((split / "photos" / "1.0.0").glob("*array_record*")).unlink()
    with pytest.raises(FileNotFoundError, match=r"array_record-00000-of-00001 is missing"):
        records.open_split(split)


def test_errors_name_damaged_people(split):
    (split / "people.npz").write_bytes((split / "people.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"people.npz is damaged"):
        records.open_split(split)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", r"summary.json is damaged"), ("[]", r"summary.json is damaged"), ('{"format": 0}', r"`format` \(=0\)")],
)
def test_summary_of_another_kind_is_refused(split, text, message):
    (split / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        records.open_split(split)


def test_ground_truth_is_what_pycocotools_takes(split, capsys):
    from pycocotools.coco import COCO as CocoApi

    opened = records.open_split(split)
    truth = CocoApi(str(opened.annotations))
    assert sorted(truth.getImgIds()) == [10, 20, 30]
    assert sorted(truth.getAnnIds()) == [11, 21, 31]
    assert json.loads(opened.annotations.read_text())["info"] == {}


def rewritten(path, change):
    """Changes a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_no_module_that_the_records_name_is_imported(split, monkeypatch):
    notes = split / "photos" / "1.0.0"
    (split.parent / "malicious.py").write_text("open(__file__ + '.ran', 'w').close()")
    monkeypatch.syspath_prepend(split.parent)
    for name in ("file_name", "photo_id"):
        rewritten(
            notes / "features.json",
            lambda c, name=name: c["featuresDict"]["features"][name].update(pythonClassName="malicious.Text"),
        )
    rewritten(notes / "dataset_info.json", lambda content: content.update(moduleName="malicious"))
    rewritten(
        notes / "dataset_info.json",
        lambda content: content["splits"][0].update(filepathTemplate="/etc/{DATASET}-{SHARD_X_OF_Y}"),
    )
    assert records.open_split(split).photos[0]["image"] == made_coco.photo(10)
    assert not (split.parent / "malicious.py.ran").exists()


def flip_a_photo(content):
    content[content.index(made_coco.photo(20)[-60:])] ^= 4


def cut(place):
    def damage(content):
        del content[place:]

    return damage


@pytest.mark.parametrize("damage", [flip_a_photo, *map(cut, (0, 70, 5_000, 65_600, -1))])
def test_errors_name_damaged_records_and_the_remedy(split, damage):
    file = next((split / "photos" / "1.0.0").glob("*array_record*"))
    content = bytearray(file.read_bytes())
    damage(content)
    file.write_bytes(content)
    opened = records.open_split(split)
    source = records.PersonSource(opened.photos, opened.people)
    with pytest.raises(ValueError, match=rf"record \d of {file} cannot be read \(.*prepare the split again, with"):
        [source[row] for row in range(3)]


def test_records_of_other_photos_are_refused(split, tmp_path):
    other = made_coco.write(tmp_path / "other", made_coco.content([11, 22, 33]))  # as many
    prepare.prepare_coco(other, tmp_path / "more")
    file = next((split / "photos" / "1.0.0").glob("*array_record*"))
    file.write_bytes(next((tmp_path / "more/val2017/photos/1.0.0").glob("*array_record*")).read_bytes())
    opened = records.open_split(split)
    with pytest.raises(ValueError, match=r"record 2 is of photo 33, not 30: .*prepare the split again"):
        records.PersonSource(opened.photos, opened.people)[0]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (["2"], r"people.npz refers to more than 2 photos: prepare"),
        (["9" * 18], r"val2017 holds 9+ photos, not 3: prepare"),
        (["-1"], r"dataset_info.json is damaged \(`shardLengths`"),
        ([3], r"dataset_info.json is damaged .*must be a list of names"),
        ([], r"dataset_info.json is damaged"),
    ],
)
def test_wrong_numbers_of_records_are_refused(split, lengths, message):
    path = split / "photos" / "1.0.0" / "dataset_info.json"
    rewritten(path, lambda content: content["splits"][0].update(shardLengths=lengths))
    with pytest.raises(ValueError, match=message):
        records.open_split(split)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("photo_index", 3, r"people.npz refers to more than 3 photos"),
        ("photo_index", -1, r"people.npz refers to more than 3 photos"),
        ("box", np.nan, r"people.npz is damaged \(a number is not finite\)"),
        ("joints", np.inf, r"people.npz is damaged \(a number is not finite\)"),
    ],
)
def test_tables_with_impossible_values_are_refused(split, name, value, message):
    with np.load(split / "people.npz") as file:
        columns = dict(file)
    columns[name].flat[0] = value
    np.savez(split / "people.npz", **columns)
    with pytest.raises(ValueError, match=message):
        records.open_split(split)


@pytest.mark.parametrize("name", ["sources", "detections", "photos", "people_dropped", "photos_unreadable"])
@pytest.mark.parametrize("value", [None, [1], "x", {"x": []}])
def test_an_incomplete_summary_is_refused(split, name, value):
    if (name, value) == ("detections", None):
        return
    rewritten(split / "summary.json", lambda content: content.update({name: value}))
    with pytest.raises(ValueError, match=r"summary.json is damaged \(.*\): prepare the split again with"):
        records.open_split(split)
