"""Photos with a camera's orientation mark, annotated as shown or as stored."""

import dataclasses
import io
import itertools
import json
import pathlib

import made_damage
import made_readings
import numpy as np
import pytest
from PIL import Image

from hrnet_jax import prepare
from hrnet_jax.datasets import coco, records
from hrnet_jax.datasets.odd_photos import MARK, QUARTER_TURN
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.doctor import splits
from hrnet_jax.doctor.findings import Examination
from hrnet_jax.evaluation import caveats
from hrnet_jax.skeletons import COCO

# EXIF 2.3, 4.6.4: where a point (x, y) of the photo as shown, of the size (w, h), is on the photo as stored.
AS_STORED = {
    1: lambda x, y, w, h: (x, y),
    2: lambda x, y, w, h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (y, w - x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (h - y, x),
}
TURNING = [3, 4, 5, 6, 7, 8]


def as_stored(people, size, mark):
    """Maps people on photos as shown, of sizes [N, 2], to those as stored, with sides as annotators see them."""

    def place(points, size):
        return np.stack(AS_STORED[mark](points[..., 0], points[..., 1], size[..., 0], size[..., 1]), axis=-1)

    ends = place(people.box[:, :2], size), place(people.box[:, :2] + people.box[:, 2:], size)
    low = np.minimum(*ends)
    joints = np.where(people.labelled[..., None], place(people.joints, size[:, None]), people.joints)
    mirrored = mark in (2, 4, 5, 7)
    order = COCO.flip_order if mirrored else slice(None)
    box = np.concatenate([low, np.maximum(*ends) - low], axis=1)
    return dataclasses.replace(people, box=box, joints=joints[:, order], flags=people.flags[:, order])


def made(root):
    return made_readings.table(root / "annotations" / f"person_keypoints_{made_damage.SPLIT}.json")


def examine(people, size, *marks, annotated, sized, share=1.0):
    """Gives a share of photos, of sizes [N, 2] as shown, these marks in turn. Returns findings and that number."""
    ids = np.unique(people.photo_id).tolist()
    mark_of = dict(zip(ids[: max(1, round(share * len(ids)))], itertools.cycle(marks), strict=False))
    mark = np.array([mark_of.get(number, 1) for number in people.photo_id.tolist()])
    for each in marks if annotated == "stored" else ():
        people = replace(people, as_stored(people, size, each), mark == each)
    photos = {}
    for number, (width, height) in zip(people.photo_id.tolist(), size.astype(int).tolist(), strict=True):
        of_photo = mark_of.get(number, 1)
        is_as_shown = of_photo >= QUARTER_TURN and sized == "shown"
        sides = (height, width) if of_photo >= QUARTER_TURN and not is_as_shown else (width, height)
        photos[number] = Photo(number, f"{number}.jpg", *sides, mark=of_photo, is_as_shown=is_as_shown)
    return findings(people, photos), len(mark_of)


def replace(people, others, rows):
    """Takes the rows [N] bool from others."""
    columns = {name: getattr(people, name).copy() for name in ("box", "joints", "flags")}
    for name, column in columns.items():
        column[rows] = getattr(others, name)[rows]
    return dataclasses.replace(people, **columns)


def findings(people, photos):
    part = Examination("val")
    splits.examine_annotations(part, pathlib.Path("a.json"), people, COCO, photos, squares=False)
    return part.findings


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("mark", TURNING)
def test_people_tell_how_photos_with_a_mark_were_annotated(made_up, mark, share):
    people, size = made(made_up)
    for annotated, sized, severity, said in [
        ("shown", "stored", "error", "people fit them only as shown, but they are read as stored"),
        ("shown", "shown", "error", "width and height as shown, but are read as stored"),
        ("stored", "stored", "note", "people fit the photos as stored"),
        ("stored", "shown", "error", "people fit them only as stored, but width and height are those as shown"),
    ]:
        if sized == "shown" and mark < QUARTER_TURN:
            continue  # these have one size
        (finding,), count = examine(people, size, mark, annotated=annotated, sized=sized, share=share)
        assert (finding.kind, finding.severity, finding.count) == ("photos_turned", severity, count)
        assert said in finding.what
        assert ("exiftran -ai" in finding.remedy) == (annotated == "shown")
        assert ("exchange width and height of these photos" in finding.remedy) == (
            (annotated, sized) == ("stored", "shown")
        )


@pytest.mark.parametrize("annotated", ["shown", "stored"])
def test_mirrored_people_do_not_tell(made_up, annotated):
    """Someone mirrored looks like anyone else, if sides are named as they are seen."""
    (finding,), _ = examine(*made(made_up), 2, annotated=annotated, sized="stored")
    assert (finding.kind, finding.severity) == ("photos_turned", "warning")
    assert "do not tell" in finding.what and "if photos were annotated as shown" in finding.remedy


def test_sides_of_the_person_tell_in_a_mirrored_photo(made_up):
    """Coordinates were mapped to the photo as stored by a program, which keeps the names of joints."""
    people, size = made(made_up)
    mirrored = as_stored(people, size, 2)
    mapped = dataclasses.replace(
        mirrored, joints=mirrored.joints[:, COCO.flip_order], flags=mirrored.flags[:, COCO.flip_order]
    )
    (about_marks, sides), _ = examine(mapped, size, 2, annotated="shown", sized="stored")
    assert about_marks.severity == "note" and "as stored" in about_marks.what
    assert sides.kind == "sides_swapped"  # of the picture that a network sees


@pytest.mark.parametrize("annotated", ["shown", "stored"])
def test_one_person_who_may_stand_on_his_head_does_not_tell(made_up, annotated):
    people, size = made(made_up)
    one = np.flatnonzero(people.labelled.all(axis=1))[:1]
    (finding,), _ = examine(people.select(one), size[one], 3, annotated=annotated, sized="stored")
    assert finding.severity == "warning" and "do not tell" in finding.what


@pytest.mark.parametrize(("annotated", "severity"), [("shown", "error"), ("stored", "note")])
def test_photos_of_a_telephone_have_several_marks(made_up, annotated, severity):
    (finding,), count = examine(*made(made_up), 1, 3, 6, 8, annotated=annotated, sized="stored")
    assert (finding.severity, finding.count) == (severity, count - count // 4)


def test_two_programs_annotated_photos_in_two_ways(made_up):
    people, size = made(made_up)
    second = people.photo_id > np.median(people.photo_id)
    sides = {n: (int(w), int(h)) for n, (w, h) in zip(people.photo_id.tolist(), size, strict=True)}
    photos = {number: Photo(number, f"{number}.jpg", *sides[number], mark=3) for number in sides}
    found = findings(replace(people, as_stored(people, size, 3), second), photos)
    as_shown, stored = sorted(found, key=lambda finding: finding.severity)
    assert (as_shown.severity, stored.severity) == ("error", "note")
    assert {int(name.removesuffix(".jpg")) for name in as_shown.examples} <= {*people.photo_id[~second].tolist()}
    assert 0.8 * len(photos) < as_shown.count + stored.count <= len(photos)


def test_a_mark_does_no_harm_on_photos_without_people(made_up):
    people, _ = made(made_up)
    empty = Photo(10**6, "empty.jpg", 40, 30, mark=6)
    assert findings(people, {empty.id: empty}) == []
    (finding,) = findings(people.select(people.photo_id < 0), {empty.id: empty})  # those of a test server
    assert finding.severity == "warning"
    (finding,) = findings(people, {empty.id: dataclasses.replace(empty, is_as_shown=True)})  # refused by `prepare`
    assert finding.severity == "error"


def write(root, made_up, mark, *, annotated, sized):
    """Writes a data set whose photos have a mark, with pixels as stored."""
    file = f"annotations/person_keypoints_{made_damage.SPLIT}.json"
    content = json.loads((made_up / file).read_text())
    folder = root / "images" / made_damage.SPLIT
    folder.mkdir(parents=True)
    content["images"] = content["images"][:6]
    size = {image["id"]: np.array([[image["width"], image["height"]]], float) for image in content["images"]}
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in size]
    for image in content["images"]:
        shown = Image.open(made_up / "images" / made_damage.SPLIT / image["file_name"])
        stored = shown.transpose({3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[mark])
        exif = stored.getexif()
        exif[MARK] = mark
        encoded = io.BytesIO()
        stored.save(encoded, "JPEG", exif=exif)
        (folder / image["file_name"]).write_bytes(encoded.getvalue())
        if sized == "stored":
            image["width"], image["height"] = stored.size
    for entry in content["annotations"] if annotated == "stored" else ():
        mapped = as_stored(coco.table([entry], COCO), size[entry["image_id"]], mark)
        entry["bbox"] = mapped.box[0].tolist()
        entry["keypoints"] = np.concatenate([mapped.joints[0], mapped.flags[0, :, None]], axis=1).ravel().tolist()
    (root / "annotations").mkdir()
    (root / file).write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    ("mark", "annotated", "sized", "expected", "photos"),
    [
        (3, "shown", "stored", {"photos_turned": "error"}, 6),
        (3, "stored", "stored", {"photos_turned": "note"}, 6),
        (6, "shown", "stored", {"photos_turned": "error"}, 6),
        (6, "shown", "shown", {"photos_turned": "error"}, 0),
    ],
)
def test_doctor_prepare_and_evaluation_agree(made_up, tmp_path, mark, annotated, sized, expected, photos, capsys):
    root, out = write(tmp_path / "root", made_up, mark, annotated=annotated, sized=sized), tmp_path / "out"
    assert made_damage.kinds(root) == expected
    if not photos:
        with pytest.raises(ValueError, match=r"none of 6 photos could be read.*exiftran -ai"):
            prepare.prepare_coco(root, out)
        return
    summary = prepare.prepare_coco(root, out)[made_damage.SPLIT]
    findings = [(each["kind"], each["severity"]) for each in summary["findings"] if each["severity"] != "note"]
    assert findings == [pair for pair in expected.items() if pair[1] != "note"]
    said = caveats.of_split(records.open_split(out / made_damage.SPLIT, with_pixels=False))
    assert [("only as shown" in text) for text in said] == [True] * len(findings)
    assert made_damage.kinds(out / made_damage.SPLIT) == expected
