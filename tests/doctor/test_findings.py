import json

import pytest
from made_damage import annotations, boxes, findings, kinds, mpii_rows, write_coco, write_mpii

from hrnet_jax.doctor import __main__ as doctor


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_names_the_place_of_numbers_that_are_not_finite(made_up, tmp_path, number):
    root = write_coco(tmp_path / "it", made_up, annotations(made_up) | {"info": {"unused": "@"}})
    path = next(root.glob("annotations/*"))
    path.write_text(path.read_text().replace('"@"', number))
    _, (part,) = doctor.examine(root)
    (finding,) = part.findings
    assert finding.kind == "numbers_not_finite" and "it['info']['unused'] is " in finding.examples[0]
    assert "photos" in part.facts and "people" in part.facts


def test_numbers_of_mpii_and_of_detectors_must_be_finite(mpii_five, made_up, tmp_path):
    rows = [row | {"note": float("nan")} for row in mpii_rows(mpii_five)]
    assert kinds(write_mpii(tmp_path / "mpii", mpii_five, rows)) == {"numbers_not_finite": "error"}
    root = write_coco(tmp_path / "coco", made_up, annotations(made_up))
    detections = [box | {"note": float("inf")} for box in boxes(made_up)]
    (tmp_path / "boxes.json").write_text(json.dumps(detections))
    (finding,) = findings(root, detections=tmp_path / "boxes.json")
    assert finding.kind == "numbers_not_finite"


@pytest.mark.parametrize("function", ["coco_files.read", "people.twice", "sides.examine", "colours.examine"])
def test_an_unexpected_error_is_a_finding(made_up, monkeypatch, function):
    def fail(*_, **__):
        raise KeyError("unexpected")

    monkeypatch.setattr(f"hrnet_jax.doctor.{function}", fail)
    assert kinds(made_up) == {"not_examined": "error"}


def test_names_in_files_cannot_control_the_terminal(made_up, tmp_path, capsys):
    for row, name in enumerate(["\x1b[2J\nsound\n", "\x9b2J\u202e", "\ud800", "x" * 2_000_000]):
        content = annotations(made_up) | {"categories": [{"id": 1, "name": name}]}
        assert doctor.main([str(write_coco(tmp_path / str(row), made_up, content))]) == doctor.FINDINGS
        printed = capsys.readouterr().out
        assert len(printed) < 5000 and printed.replace("\n", "").isprintable() and "\nsound" not in printed
