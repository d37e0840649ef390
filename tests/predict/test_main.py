import json
import pathlib
import subprocess
import sys
import types

import made_predictor as made
import pytest

from hrnet_jax.predict import __main__ as command


def predict(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
    call = [sys.executable, "-m", "hrnet_jax.predict", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, input=stdin)


def test_the_command_predicts_what_can_be_read(checkpoint, tmp_path):
    made.write_photo(tmp_path / "a.png", made.noise(0))
    (tmp_path / "b.jpg").write_text("I am a text")
    paths = f"{tmp_path}/a.png\n{tmp_path}/b.jpg\n{tmp_path}/nowhere.jpg\n"
    done = predict(
        "-", "--checkpoint", checkpoint, "--out", tmp_path / "out", "--write=pictures,json", stdin=paths
    )
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        f"error: {tmp_path}/b.jpg: not a photo of a known format",
        f"error: {tmp_path}/nowhere.jpg: there is no such file",
    ]
    assert "each photo is taken as one person" in done.stdout
    (photo,) = json.loads((tmp_path / "out" / "poses.json").read_text())["photos"]
    assert photo["source"] == f"{tmp_path}/a.png" and len(photo["people"]) == 1
    assert (tmp_path / "out" / "pictures" / "a.png.jpg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg", "--checkpoint=x.pth", "--out=out"], "nowhere.jpg does not exist"),
        (["tests", "--checkpoint=x.pth"], "--out is missing: see --help"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    done = predict(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1


def test_the_command_follows_people(checkpoint, tmp_path):
    for number in range(3):
        made.write_photo(tmp_path / "frames" / f"{number}.png", made.noise(0))
    options = ("--track", "--tracker=ours,box_score=0,pose_score=0", "--write=json,tracks", "--frame_rate=10")
    done = predict(tmp_path / "frames", "--checkpoint", checkpoint, "--out", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "poses.json").read_text())["photos"]
    assert [photo["time"] for photo in found] == [0, 0.1, 0.2]
    assert all("id" in person for photo in found for person in photo["people"])
    assert (tmp_path / "out" / "tracks" / "frames.html").is_file()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["tracker"] == "ours,box_score=0,pose_score=0"


class Given(dict):
    """Values of flags, as absl has them."""

    def __init__(self, **values):
        super().__init__()
        defaults = {"tracker": "ours", "offline": False, "smooth": "", "frame_rate": 30.0, "truth": None}
        for name, value in (defaults | {"track": True, "nms_threshold": None} | values).items():
            setattr(self, name, value)
            self[name] = types.SimpleNamespace(value=value, using_default_value=name not in values)


def test_flags_of_tracking_must_fit():
    assert command.track_options(Given(track=False)) is None
    assert command.track_options(Given(tracker="paper", truth="a")).truth == pathlib.Path("a")
    with pytest.raises(ValueError, match=r"--smooth \(=one_euro\) needs --track"):
        command.track_options(Given(track=False, smooth="one_euro"))
    with pytest.raises(ValueError, match=r"--tracker \(=best\): there are no settings 'best' .*: choose one of"):
        command.track_options(Given(tracker="best"))
    with pytest.raises(ValueError, match=r"--nms_threshold \(=0.5\): .* give it as --tracker=ours,pose_nms=0.5"):
        command.track_options(Given(nms_threshold=0.5))


def test_image_sizes_are_parsed():
    assert command.image_size("256x192") == (256, 192) and command.image_size(None) is None
    assert command.image_size("512") == (512, 512)
    with pytest.raises(ValueError, match="must be HEIGHTxWIDTH"):
        command.image_size("256x")
