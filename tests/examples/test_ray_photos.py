"""Runs Ray on this machine. Its actors are processes of their own."""

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
pytest.importorskip("pyarrow", reason="Ray Data is not installed: pip install 'ray[data]'")

pytestmark = [
    pytest.mark.filterwarnings("ignore:os.fork\\(\\) was called:RuntimeWarning"),  # Ray starts its processes so
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),  # Ray sets its own old options
]


@pytest.fixture
def local_ray(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # otherwise Ray writes a token to the user's home
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**27, log_to_driver=False)
    yield
    ray.shutdown()


def test_lines_equal_the_poses_of_the_predictor(
    local_ray, photo_folder, pose_checkpoint, assert_expected, tmp_path, monkeypatch
):
    from examples import ray_photos

    monkeypatch.setattr(ray_photos, "BATCH_SIZE", 3)
    out = tmp_path / "out"
    ray_photos.main(["--photos", f"{photo_folder}", "--checkpoint", f"{pose_checkpoint}", "--out", f"{out}"])
    assert_expected((out / "poses.jsonl").read_text().splitlines())
