import json
import sys

import pytest

from hrnet_jax import console
from hrnet_jax.export import __main__ as command
from hrnet_jax.export import trained
from hrnet_jax.torch_interop import state_dict


def run(*arguments) -> int:
    """Runs the command and returns its exit status."""
    with pytest.raises(SystemExit) as ended:
        console.run(lambda: command.main([str(argument) for argument in arguments]))
    return int(ended.value.code or 0)


def test_the_command_writes_a_file_and_says_how_it_compares(weights, tmp_path, capsys):
    target = tmp_path / "x.safetensors"
    assert run(weights, target, "--image_size", "64x32", "--decoder", "dark", "--no_flip_test") == 0
    output = capsys.readouterr().out
    assert f"{weights} -> {target}" in output and "every bit is equal" in output and "assuming RGB" in output
    settings = trained.load(target).settings
    assert settings.image_size == (64, 32) and settings.decoder == "dark" and not settings.flip_test
    assert state_dict.read(target).metadata == {}
    assert json.loads(json.dumps(state_dict.read(target).description))["skeleton"]["name"] == "coco"


def test_a_network_is_found_in_the_working_directory(weights, tmp_path, monkeypatch):
    (tmp_path / "network_here.py").write_text("from hrnet_jax.models.hrnet import NETWORK\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    options = "--image_size", "64x64", "--network", "network_here:NETWORK"
    assert run(weights, tmp_path / "x.safetensors", *options) == 0
    assert trained.load("x.safetensors", network="network_here:NETWORK").network["name"] == "network_here:NETWORK"


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("gone.pth", [], "there is no checkpoint"),
        ("photo.jpg", [], "photo.jpg"),
        ("empty", [], "there is no checkpoint in"),
        ("tiny", [], "give --image_size 256x192"),
        ("tiny", ["--image_size", "64x50"], "must be multiples of 32"),
        ("tiny", ["--skeleton", "mpii"], "made for 17 joints, not 16"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(weights, tmp_path, capsys, source, options, message):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.iterdir())
    assert run(weights if source == "tiny" else tmp_path / source, tmp_path / "x.safetensors", *options) == 2
    output, errors = capsys.readouterr()
    assert errors.startswith("error: ") and errors.count("\n") == 1 and message in errors and output == ""
    assert sorted(tmp_path.iterdir()) == before


def test_a_wrong_size_is_refused_by_the_parser(weights, tmp_path, capsys):
    assert run(weights, tmp_path / "x.onnx", "--image_size", "big") == 2
    assert "'big' must be height x width" in capsys.readouterr().err
