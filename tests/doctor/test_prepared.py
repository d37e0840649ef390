import json
import shutil
import types

import made_damage
import numpy as np
from made_damage import SPLIT, Damage, annotations, edit_json, kinds, swap, truncate, write_coco, write_mpii

from hrnet_jax import prepare
from hrnet_jax.datasets import records
from hrnet_jax.datasets.made_up import dataset
from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.doctor import prepared
from hrnet_jax.skeletons import COCO


def shard(split):
    return next((split / "photos" / "1.0.0").glob("*array_record*"))


def flip_bytes_of_a_record(split, rng):
    content = bytearray(shard(split).read_bytes())
    for place in rng.integers(len(content) // 4, len(content) // 2, 20):
        content[place] ^= 0xFF
    shard(split).write_bytes(content)


def replace_records_by_others(split, rng):
    shutil.copy(shard(split.parent / "train2017"), shard(split))


def truncate_table(split, rng):
    truncate(split / str(rng.choice(["people.npz", "detections.npz"])), rng, 50)


def permute_joints(split, rng):
    table = dict(np.load(split / "people.npz"))
    rows = rng.permutation(len(table["box"]))
    np.savez_compressed(split / "people.npz", **(table | {"joints": table["joints"][rows]}))


def remove_people(split, rng):
    table = dict(np.load(split / "people.npz"))
    rows = np.sort(rng.choice(len(table["box"]), len(table["box"]) // 2, replace=False))
    np.savez_compressed(split / "people.npz", **{name: column[rows] for name, column in table.items()})


def truncate_annotations(split, rng):
    truncate(split / "annotations.json", rng)


def swap_sides(split, rng):
    def swap_everyone(content):
        for person in content["annotations"]:
            person["keypoints"] = swap(person["keypoints"], COCO.flip_pairs, 3)

    edit_json(split / "annotations.json", swap_everyone)


def remove_sigmas(split, rng):
    edit_json(split / "skeleton.json", lambda content: content.pop("sigmas"))


def flip_bit_of_a_pixel(split, rng):
    with (split / "decoded.rgb").open("r+b") as file:
        place = int(rng.integers((split / "decoded.rgb").stat().st_size))
        file.seek(place)
        (value,) = file.read(1)
        file.seek(place)
        file.write(bytes([value ^ 1 << int(rng.integers(8))]))


UNREADABLE = ("split_refused", "records_damaged")
DAMAGES = [
    Damage("record flipped", flip_bytes_of_a_record, "photos_damaged", UNREADABLE),
    Damage("records lost", lambda split, rng: shard(split).unlink(), "records_damaged", UNREADABLE),
    Damage("records cut", lambda split, rng: truncate(shard(split), rng), "photos_damaged", UNREADABLE),
    Damage("records of others", replace_records_by_others, "photos_damaged", UNREADABLE),
    Damage("table cut", truncate_table, "table_damaged", UNREADABLE),
    Damage("table of others", permute_joints, "tables_differ"),
    Damage("people lost", remove_people, "counts", UNREADABLE),
    Damage("annotations cut", truncate_annotations, "annotations_unreadable", UNREADABLE),
    Damage("annotations swapped", swap_sides, "sides_swapped", ("tables_differ",)),
    Damage("summary lost", lambda split, rng: (split / "summary.json").unlink(), "split_unfinished"),
    Damage("sigmas lost", remove_sigmas, "sigmas", UNREADABLE),
    Damage("pixel flipped", flip_bit_of_a_pixel, "pixels_damaged"),
    Damage("pixels cut", lambda split, rng: truncate(split / "decoded.rgb", rng), "pixels_damaged"),
]


@made_damage.cases(DAMAGES)
def test_finds_damaged_splits(prepared, tmp_path, damage, seed):
    shutil.copytree(prepared, tmp_path / "out")
    made_damage.check(damage.apply(tmp_path / "out" / SPLIT, seed), damage)


def test_prepared_people_are_sound(prepared, coco_data, capsys):
    for path in (prepared, prepared / SPLIT, coco_data):
        assert doctor.main([str(path)]) == 0
        assert kinds(path) == {}
    assert "boxes" in capsys.readouterr().out


def test_prepared_mpii_is_sound(mpii_five, tmp_path):
    prepare.prepare_mpii(mpii_five, tmp_path)
    assert kinds(tmp_path / "valid") == {}


def test_a_split_without_annotations_is_sound(made_up, tmp_path):
    content = annotations(made_up)
    root = write_coco(tmp_path / "root", made_up, content)
    images = {"images": content["images"], "categories": [{"id": 1, "name": "person"}]}
    (root / "annotations" / f"image_info_{SPLIT}.json").write_text(json.dumps(images))
    (root / "annotations" / f"person_keypoints_{SPLIT}.json").unlink()
    prepare.prepare_coco(root, tmp_path / "out", [SPLIT], made_up / dataset.DETECTIONS)
    assert kinds(tmp_path / "out") == {}


def test_photos_of_dropped_people_are_sound(mpii_five, tmp_path):
    rows = made_damage.mpii_rows(mpii_five)
    rows[0]["center"] = [-1, -1]
    root = write_mpii(tmp_path / "root", mpii_five, rows, "valid", "trainval")
    prepare.prepare_mpii(root, tmp_path / "out", ["valid", "trainval"])
    assert kinds(tmp_path / "out") == {}


def test_an_unexpected_error_is_a_finding(prepared, monkeypatch):
    monkeypatch.setattr("hrnet_jax.doctor.prepared._agree", lambda *_: 1 / 0)
    assert kinds(prepared / SPLIT) == {"not_examined": "error"}


def test_people_that_moved_by_a_pixel_differ_from_the_annotations():
    number, joints, seen = np.arange(3), np.full((3, 2, 2), 5.0), np.ones((3, 2))
    people = records.People(number, number, number, np.ones((3, 4)), joints.copy(), seen, np.ones(3))
    people.joints[1, 0, 0] += 1
    table = types.SimpleNamespace(annotation_id=number, photo_id=number, flags=2 * seen, joints=joints)
    found = prepared._agree(people, table)
    assert [(finding.kind, finding.examples) for finding in found] == [("tables_differ", (1,))]
