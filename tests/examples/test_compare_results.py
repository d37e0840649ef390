import copy
import json

import pytest

from examples import compare_results


@pytest.fixture
def results() -> list[dict]:
    """Two people on one photo and one on another, of two joints each. The last one's second joint is missing."""
    people = [(7, [10.0, 20.0, 0.5, 30.0, 40.0, 0.6], 0.55), (7, [1.0, 2.0, 0.3, 3.0, 4.0, 0.2], 0.25)]
    people.append((9, [5.0, 6.0, 0.9, -80.0, -80.0, 0.0], 0.45))
    names = ("image_id", "keypoints", "score")
    return [dict(zip(names, person, strict=True)) for person in people]


def changed(results: list[dict], person: int, joint: int, value: float) -> list[dict]:
    results = copy.deepcopy(results)
    results[person]["keypoints"][joint] = value
    return results


def test_equal_files_do_not_differ(results):
    compared = compare_results.compare(results, results)
    assert [(each.photo, *each.counts) for each in compared] == [(7, 2, 2), (9, 1, 1)]
    assert all(each[2:] == (0, 0, 0) for each in compared)


def test_distances_are_the_largest(results):
    first, second = compare_results.compare(results, changed(changed(results, 0, 3, 30.5), 1, 2, 0.4))
    assert first[2:] == pytest.approx((0.5, 0.1, 0)) and second[2:] == (0, 0, 0)
    moved = [person | {"score": person["score"] + 0.25} for person in results]
    assert [each.scores for each in compare_results.compare(results, moved)] == pytest.approx([0.25, 0.25])


def test_the_place_of_missing_joints_does_not_count(results):
    _, photo = compare_results.compare(results, changed(results, 2, 3, 100.0))
    assert photo[2:] == (0, 0, 0)


def test_other_people_are_told(results):
    lines = compare_results.summary(compare_results.compare(results, results[1:]), 0.05, 1e-4)
    assert lines[0].startswith("1 of 2 photos have the same people, 1 in all")
    assert lines[1:] == [
        "1 photos differ by more than 0.05 pixels or 0.0001 in scores:",
        "  photo 7: 2 and 1 people, joints nan pixels, scores nan",
    ]
    (first, _) = compare_results.compare(results, changed(results, 1, 2, 0.0))  # one finds a joint more
    assert first.joints != first.joints


def test_files_are_compared(results, tmp_path, capsys):
    for name, content in {"a": results, "b": changed(results, 0, 0, 10.01)}.items():
        (tmp_path / name).write_text(json.dumps(content))
    compare_results.main([str(tmp_path / "a"), str(tmp_path / "b")])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("2 of 2 photos have the same people, 3 in all: joints differ by up to 0.01 pixels")
    compare_results.main([str(tmp_path / "a"), str(tmp_path / "b"), "--pixels", "0.001"])
    assert "photo 7: 2 and 2 people, joints 0.01 pixels" in capsys.readouterr().out
