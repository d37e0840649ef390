"""HigherHRNet in PyTorch agrees with the authors' code. `test_torch_models` compares it with ours."""

import json

import numpy as np
import pytest

from hrnet_jax.compare import measured, problem

torch = pytest.importorskip("torch", reason="torch is not installed")
from hrnet_jax.models import torch_higher_hrnet  # noqa: E402

NETWORKS = {"w32": (17, 32, "w32_512"), "w48": (17, 48, "w48_640"), "w32_crowdpose": (14, 32, "w32_512_crowdpose")}
SHAPES = [
    *(("w32", "2x3x128x128"), ("w32_crowdpose", "1x3x64x96")),
    *(pytest.param(*other, marks=pytest.mark.long) for other in (("w32", "1x3x192x256"), ("w48", "1x3x128x64"))),
]


def summary(array: np.ndarray) -> np.ndarray:
    """Returns mean, standard deviation and samples of every channel."""
    flat = array.reshape(*array.shape[:2], -1)
    samples = flat[..., np.linspace(0, flat.shape[-1] - 1, 16).astype(int)]
    return np.concatenate([flat.mean(-1)[..., None], flat.std(-1)[..., None], samples], axis=-1)


def build(name: str) -> torch.nn.Module:
    joints, width, _ = NETWORKS[name]
    with torch.device("meta"):
        return torch_higher_hrnet.HigherHRNet(joints, width)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_order_and_shapes_are_those_of_the_release(shared, name):
    keys = json.loads((shared / f"conformance/higher_hrnet/keys_{NETWORKS[name][2]}.json").read_text())
    assert [(key, list(value.shape)) for key, value in build(name).state_dict().items()] == list(keys.items())


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_outputs_equal_the_reference(shared, name, shape):
    network = build(name).double().to_empty(device="cpu").eval()
    tensors = {
        key: torch.zeros(()) if x.ndim == 0 else torch.from_numpy(problem.draw_tensor(key, tuple(x.shape)))
        for key, x in network.state_dict().items()
    }
    network.load_state_dict(tensors)
    images = problem.draw_images(f"higher_hrnet_{name}_{shape}", tuple(map(int, shape.split("x"))))
    with torch.no_grad():
        outputs = [x.numpy() for x in network(torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), order="C")))]
    with np.load(shared / "conformance/higher_hrnet/net.npz") as numbers:
        expected = [numbers[f"{name}/{shape}/out{i}"] for i in range(2)]
    for output, numbers_of in zip(outputs, expected, strict=True):
        found = output if output.shape == numbers_of.shape else summary(output)
        assert measured.deviation(found, numbers_of) < 1e-9
