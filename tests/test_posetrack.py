import copy
import json
import subprocess
import sys

import numpy as np
import pytest
from made_posetrack import content, content_2017, person, video, walk, write

from hrnet_jax import posetrack as program
from hrnet_jax.datasets import posetrack, posetrack18, posetrack_files
from hrnet_jax.evaluation import posetrack as evaluation
from hrnet_jax.evaluation.posetrack import TOTAL

FRAMES = [[person(0), person(1, 700)]] * 4


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "hrnet_jax.posetrack", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def folders(tmp_path):
    """Folders of ground truth and of results that equal it."""
    for name in ("truth", "results"):
        write(tmp_path / name, content(FRAMES))
    return tmp_path / "truth", tmp_path / "results"


def replace(folders, document: object, sequence: int = 1) -> list[str]:
    """Writes other results. Returns the notes."""
    write(folders[1], document, sequence)
    return program.read(*folders)[1]


def totals(folders) -> dict[str, float]:
    return {
        name: values[TOTAL] for name, values in evaluation.summarize(program.read(*folders)[0]).metrics.items()
    }


def test_the_program_prints_a_table_and_writes_all_numbers(folders, tmp_path):
    write(folders[0], content([[person(0)]], sequence=2), sequence=2)
    write(folders[1], content([[person(0)]], sequence=2), sequence=2)
    done = run("--truth", folders[0], "--results", folders[1], "--json", tmp_path / "all.json")
    assert done.returncode == 0, done.stderr
    assert "2 sequences, 5 frames with people" in done.stdout
    rows = {line.split()[0]: line.split()[1:9] for line in done.stdout.splitlines()[2:]}
    assert set(rows) == set(program.SHOWN) and rows["MOTA"] == rows["AP"] == rows["HOTA"] == ["100.0"] * 8
    assert "note: 000002_mpii_test has fewer than two frames with people" in done.stderr
    numbers = json.loads((tmp_path / "all.json").read_text())
    assert numbers["metrics"]["MOTA"][TOTAL] == 100 and numbers["counts"]["objects"]["nose"] == 6
    assert "MOTA" not in numbers["sequences"]["000002_mpii_test"]["metrics"]
    assert (
        numbers["sequences"]["000001_mpii_test"]["metrics"]["MOTA"]["Head"] == 100 and len(numbers["notes"]) == 1
    )


def test_of_many_notes_a_few_are_printed(folders, tmp_path, monkeypatch, capsys):
    for sequence in range(2, 15):
        for folder in folders:
            write(folder, content([[person(0)]], sequence), sequence)
    monkeypatch.setattr(sys, "argv", ["posetrack", "--truth", str(folders[0]), "--results", str(folders[1])])
    assert program.main() == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == program.MAX_NOTES + 1 and lines[-1].startswith("note: 5 more notes")


def test_a_metric_that_is_undefined_is_a_dash_and_null():
    found = evaluation.evaluate([video([[person(0)]])], [video([[person(0)]])])
    (line,) = [line for line in program.table(found) if line.startswith("MOTA")]
    assert line.split()[1:9] == ["-"] * 8
    undefined = evaluation.evaluate([video([[person(0, missing=[13])]] * 2)], [video([[person(0)]] * 2)])
    assert program.to_json([], undefined, [])["metrics"]["MOTA"]["nose"] is None


def test_a_mistake_is_one_line_and_the_exit_status_tells(folders, tmp_path):
    done = run("--truth", folders[0], "--results", folders[1], "--json", tmp_path / "nowhere" / "all.json")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and "all.json cannot be written" in done.stderr


def test_the_format_of_2017_gives_the_same_numbers(folders, tmp_path):
    truth, results = walk(np.random.default_rng(1))
    old, new = (tmp_path / "old", tmp_path / "old_results"), (tmp_path / "new", tmp_path / "new_results")
    for folder, frames in zip((*old, *new), (truth, results) * 2, strict=True):
        write(folder, (content_2017 if folder in old else content)(frames))
    known = totals(new)
    assert totals(old) == pytest.approx(known) and known["MOTA"] < 100
    (note,) = program.read(old[0], new[1])[1]
    assert "format of 2017 and the results in that of 2018" in note
    assert totals((old[0], new[1])) == pytest.approx(known)


def test_renumbered_frames_are_compared_by_position_and_told(folders):
    document = content(FRAMES)
    for entry in (*document["images"], *document["annotations"]):
        key = "id" if "file_name" in entry else "image_id"
        entry[key] -= 10**10
    (note,) = replace(folders, document)
    assert "4 frames of the results have other ids" in note
    assert totals(folders)["MOTA"] == 100
    document["annotations"][3]["image_id"] += 10**10
    with pytest.raises(
        ValueError, match=r"000001_mpii_test.json: annotations\[3\]: `image_id` .* is none of the 4"
    ):
        replace(folders, document)


def test_missing_frames_are_refused(folders):
    document = content(FRAMES[:3])
    with pytest.raises(ValueError, match="the results list 3 frames and the ground truth 4"):
        replace(folders, document)


def test_predictions_for_other_frames_are_told(folders):
    document = content(FRAMES)
    for row, image in enumerate(document["images"]):
        image["file_name"] = f"images/val/000001_mpii_test/{row + 8:06d}.jpg"
    (note,) = replace(folders, document)
    assert "4 frames of the results have other names" in note and "000008.jpg for 000000.jpg" in note


def test_results_without_scores_are_told(folders):
    document = content(FRAMES)
    for entry in document["annotations"]:
        entry["scores"] = [0.0] * len(entry["scores"])
    assert replace(folders, document) == []  # a score of zero is one
    for entry in document["annotations"]:
        del entry["scores"]
    (note,) = replace(folders, document)
    assert "have no scores" in note


def test_results_without_ground_truth_are_told(folders):
    (note,) = replace(folders, content(FRAMES, sequence=7), sequence=7)
    assert "1 files of results have no ground truth: ['000007_mpii_test.json']" in note


def change(path: str, value: object):
    """Returns a function that sets a value in a copy of a document; `path` is of keys and indices."""

    def changed(document: dict) -> dict:
        document = copy.deepcopy(document)
        *outer, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        inner = document
        for key in outer:
            inner = inner[key]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
        return document

    return changed


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("annotations.1.track_id", 0, "two people of frame .*000000.jpg have the `track_id` 0"),
        ("annotations.1.track_id", 10000, r"annotations\[1\]: `track_id` \(=10000\) must be at most 9999"),
        ("annotations.1.track_id", None, r"annotations\[1\] has no `track_id`"),
        ("annotations.1.track_id", "a", r"annotations\[1\]: `track_id` \(='a'\) must be an integer"),
        ("annotations.2.keypoints", [1, 2], r"annotations\[2\]: `keypoints` must be 51 finite numbers"),
        ("annotations.2.scores", [1, 2], r"annotations\[2\]: `scores` must be 17 finite numbers"),
        ("images.3.id", 10000010000, r"images\[3\] has the `id` 10000010000 of images\[0\] again"),
        ("images.3.file_name", None, r"images\[3\] has no `file_name`"),
        ("images.3.file_name", "images/val/000002_mpii_test/0.jpg", "has frames of 2 videos"),
        ("categories.0.keypoints.0", "snout", "lack nose: use PoseTrack's names"),
        ("categories", [], "`categories` must have one entry"),
        ("categories", None, "has no `categories`"),
        ("annotations", None, "has no `annotations`"),
        ("images", None, r"is no file of PoseTrack: .*\['annotations', 'categories'\]"),
        ("images", [], "annotations.* is none of the 0 `images`"),
    ],
)
def test_invalid_results_are_refused_by_name(folders, path, value, message):
    with pytest.raises(ValueError, match=message) as error:
        replace(folders, change(path, value)(content(FRAMES)))
    assert "000001_mpii_test.json" in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("annotations.1.bbox_head", None, "`track_id` 1 in .*000000.jpg of the ground truth has no head box"),
        ("annotations.1.bbox_head", [1, 2], r"annotations\[1\]: `bbox_head` must be 4 finite numbers"),
        ("images.2.ignore_regions_x", [[1, 2, 3]], "`ignore_regions_x` and `ignore_regions_y` have polygons of"),
    ],
)
def test_invalid_ground_truth_is_refused_by_name(folders, path, value, message):
    write(folders[0], change(path, value)(content(FRAMES)))
    with pytest.raises(ValueError, match=message):
        program.read(*folders)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("annolist.1.annorect.0.track_id", [], r"annorect\[0\]: `track_id` \(=\[\]\) must be a list of one"),
        ("annolist.1.annorect.0.x1", ["a"], r"annolist\[1\]: annorect\[0\]: `x1` must be a finite number"),
        ("annolist.1.annorect.0.annopoints.0.point.2.x", None, r"annorect\[0\]: point\[2\] has no `x`"),
        ("annolist.1.image", [], r"annolist\[1\]: `image`"),
        ("annolist.1.annorect.1.track_id", [0], "two people of frame .*00000002.jpg have the `track_id` 0"),
    ],
)
def test_invalid_files_of_2017_are_refused_by_name(folders, path, value, message):
    write(folders[0], content_2017(FRAMES))
    with pytest.raises(ValueError, match=message):
        replace(folders, change(path, value)(content_2017(FRAMES)))


def test_detections_and_damaged_files_are_refused(folders):
    with pytest.raises(ValueError, match=r"is no file of PoseTrack: .*annolist"):
        replace(folders, [{"image_id": 1, "bbox": [0, 0, 1, 1]}])
    (folders[1] / "000001_mpii_test.json").write_text('{"images": [')
    with pytest.raises(ValueError, match="is not valid JSON"):
        program.read(*folders)


def test_missing_files_and_folders_are_told(folders, tmp_path):
    (folders[1] / "000001_mpii_test.json").rename(folders[1] / "00001_mpii.json")
    with pytest.raises(FileNotFoundError, match=r"000001_mpii_test.json does not exist; .* holds 00001_mpii.json"):
        program.read(*folders)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no \.json files"):
        program.read(tmp_path / "empty", folders[1])
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        program.read(tmp_path / "nowhere", folders[1])
    with pytest.raises(NotADirectoryError, match="is a file: give the folder"):
        program.read(folders[0], folders[1] / "00001_mpii.json")


def test_a_joint_exists_unless_it_is_all_zero(tmp_path):
    document = content([[person(0)]])
    document["annotations"][0]["keypoints"][:9] = [5, 6, 0, 0, 0, 1, 0, 0, 0]
    found = posetrack_files.read(write(tmp_path, document))
    names = [posetrack.JOINTS.index(name) for name in ("nose", "head_bottom", "head_top")]
    assert found.exists[0, 0, names].tolist() == [True, True, False]


def test_a_person_of_2017_without_joints_is_nobody_but_lists_the_frame(tmp_path):
    document = content_2017([[person(0)], [person(0)], []])
    for nothing in ([], [{}], None):
        document["annolist"][0]["annorect"][0]["annopoints"] = nothing
        found = posetrack_files.read(write(tmp_path, document))
        assert found.listed.tolist() == [True, True, False] and found.present[:, 0].tolist() == [
            False,
            True,
            False,
        ]
    document["annolist"][0]["annorect"][0]["annopoints"] = [{"point": []}]
    assert posetrack_files.read(write(tmp_path, document)).present[0, 0]


def test_files_name_the_joints_as_the_benchmark():
    names = posetrack18.FILE_JOINTS
    assert names[:6] == ("nose", "head_bottom", "head_top", "left_ear", "right_ear", "left_shoulder")
    assert set(posetrack.JOINTS) | {"left_ear", "right_ear"} == set(names)


def test_written_results_are_read_back(tmp_path):
    rng = np.random.default_rng(0)
    joints = [rng.uniform(1, 500, (people, len(posetrack18.FILE_JOINTS), 2)) for people in (2, 0, 3)]
    scores = [rng.uniform(0.1, 1, of_frame.shape[:2]) for of_frame in joints]
    scores[0][1, 0] = 0
    images = content([[]] * 3)["images"]
    written = posetrack18.to_json(images, joints, scores, [[4, 2], [], [2, 4, 9]])
    found = posetrack_files.read(write(tmp_path, written))
    assert found.present.sum(axis=1).tolist() == [2, 0, 3] and found.track_ids[2].tolist() == [2, 4, 9]
    order = [posetrack18.FILE_JOINTS.index(name) for name in posetrack.JOINTS]
    np.testing.assert_array_equal(found.joints[2], joints[2][:, order])
    np.testing.assert_array_equal(found.scores[2], scores[2][:, order])
    assert found.exists[2].all() and not found.exists[0, 1, posetrack.JOINTS.index("nose")]
    assert list(found.image_ids) == [image["id"] for image in images]
