import json

import pytest
from made_damage import SPLIT, annotations, kinds, labelled, write_coco

from hrnet_jax.doctor import __main__ as doctor


def test_made_up_people_are_sound(made_up, capsys):
    assert doctor.main([str(made_up)]) == 0
    assert kinds(made_up) == {}
    assert capsys.readouterr().out.endswith("\nsound\n")


def test_writes_a_json_report(made_up, tmp_path):
    content = annotations(made_up)
    twice = labelled(content, 3)[:7]
    content["annotations"] += [person | {"id": 10**9 + number} for number, person in enumerate(twice)]
    root = write_coco(tmp_path / "root", made_up, content)
    assert doctor.main([str(root), "--json", str(tmp_path / "report.json")]) == doctor.FINDINGS
    report = json.loads((tmp_path / "report.json").read_text())
    (finding,) = report["findings"]
    assert not report["sound"] and report["counts"] == {"error": 0, "warning": 1, "note": 0}
    assert finding["kind"] == "people_twice" and finding["split"] == SPLIT and finding["count"] == 7
    assert finding["examples"] == [10**9 + number for number in range(5)]
    assert finding["file"].endswith(f"person_keypoints_{SPLIT}.json")


def test_refuses_unusable_arguments(tmp_path, made_up):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        doctor.main([str(tmp_path / "nowhere")])
    with pytest.raises(ValueError, match="is neither a data set"):
        doctor.main([str(tmp_path)])
    with pytest.raises(ValueError, match="must be a file"):
        doctor.main([str(made_up), "--detections", str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="neither a file nor one of"):
        doctor.main([str(made_up), "--skeleton", "horse"])


def test_refuses_a_report_path_that_cannot_be_written(made_up, tmp_path):
    for path in (tmp_path, tmp_path / "nowhere" / "report.json"):
        with pytest.raises(ValueError, match=r"`json` .* cannot be written"):
            doctor.main([str(made_up), "--json", str(path)])


def test_keeps_an_earlier_report_if_the_examination_fails(tmp_path):
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(FileNotFoundError):
        doctor.main([str(tmp_path / "gone"), "--json", str(tmp_path / "report.json")])
    assert (tmp_path / "report.json").read_text() == "{}"
