import json
import subprocess
import sys

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


def test_image_sizes_are_parsed():
    assert command.image_size("256x192") == (256, 192) and command.image_size(None) is None
    with pytest.raises(ValueError, match="must be HEIGHTxWIDTH"):
        command.image_size("256")
