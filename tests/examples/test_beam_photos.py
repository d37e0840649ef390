"""Runs Beam in this process. DirectRunner would try to download a runner first."""

import pytest

pytest.importorskip("apache_beam", reason="Apache Beam is not installed: pip install apache-beam")


def test_lines_equal_the_poses_of_the_predictor(
    photo_folder, pose_checkpoint, assert_expected, tmp_path, monkeypatch
):
    from examples import beam_photos

    monkeypatch.setattr(beam_photos, "BATCH_SIZE", 3)
    out = tmp_path / "out"
    arguments = ["--photos", f"{photo_folder}", "--checkpoint", f"{pose_checkpoint}", "--out", f"{out}"]
    beam_photos.main([*arguments, "--runner=FnApiRunner"])
    assert_expected(line for path in out.glob("poses-*.jsonl") for line in path.read_text().splitlines())
