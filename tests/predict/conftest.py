"""Photos and a checkpoint for the tests of prediction."""

import pathlib

import made_predictor
import made_weights
import pytest


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """Nine photos in two folders, with 0 to 5 people each as `several` finds them."""
    for number in range(9):
        photo = made_predictor.noise(number)
        photo[0, 0] = number
        made_predictor.write_photo(tmp_path / "photos" / ("a" if number < 5 else "b") / f"{number}.png", photo)
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> pathlib.Path:
    """A tiny HRNet in a file named as the authors name theirs."""
    path = tmp_path_factory.mktemp("weights") / "pose_hrnet_64x32.safetensors"
    return made_weights.file(path, made_weights.tensors())
