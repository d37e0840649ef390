import pathlib

import made_weights
import pytest

from hrnet_jax.export import trained

SIZE = (64, 64)


@pytest.fixture(scope="package")
def weights(tmp_path_factory) -> pathlib.Path:
    """Weights of a tiny HRNet, in a file of another program."""
    return made_weights.file(tmp_path_factory.mktemp("weights") / "tiny.safetensors", made_weights.tensors())


@pytest.fixture(scope="package")
def network(weights) -> trained.Trained:
    """That network."""
    return trained.load(weights, image_size=SIZE)
