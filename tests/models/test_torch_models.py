import functools
import importlib
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from flax import traverse_util
from made_weights import small_config

from configs import default
from hrnet_jax import heatmap, models

torch = pytest.importorskip("torch", reason="torch is not installed")
from hrnet_jax.models import torch_models  # noqa: E402

NETWORKS = {
    "hrnet_w32": functools.partial(torch_models.HRNet, 17, width=32),
    "hrnet_w48": functools.partial(torch_models.HRNet, 17, width=48),
    "resnet50": functools.partial(torch_models.SimpleBaseline, 17, depth=50),
    "resnet152": functools.partial(torch_models.SimpleBaseline, 17, depth=152),
}
SMALL = {"width": 8, "units": (1, 2, 2)}


@pytest.fixture
def narrow(request):
    """Makes a CPN shallow; the configuration of other networks does."""
    if request.node.callspec.params["name"] == "cpn":
        request.getfixturevalue("shallow_resnet")


def seed_weights(network: torch.nn.Module) -> torch.nn.Module:
    """Loads the reference's weights into a network and returns it."""
    tensors = {
        name: torch.zeros(()) if name.endswith("num_batches_tracked")
        else torch.from_numpy(np.array(reference.seeded_tensor(name, tuple(value.shape))))
        for name, value in network.state_dict().items()
    }  # fmt: skip
    network.load_state_dict(tensors, strict=True)
    return network


def seeded(name: str) -> torch.nn.Module:
    """Returns a published network in float64 with the reference's weights."""
    with torch.device("meta"):
        network = NETWORKS[name]()
    return seed_weights(network.double().to_empty(device="cpu"))


def seeded_images(name: str) -> torch.Tensor:
    return torch.from_numpy(reference.seeded_images(f"{name}_256x192").transpose(0, 3, 1, 2).copy())


def small_images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, 64, 96))


def outputs(network: torch.nn.Module, images: torch.Tensor, names=None) -> dict:
    """Returns the outputs of all modules, or of those named, by name."""
    found, hooks = {}, []
    for name, module in network.named_modules():
        if names is None or name in names:
            hook = lambda _, __, output, name=name: found.update({name: output})  # noqa: E731
            hooks.append(module.register_forward_hook(hook))
    network(images)
    for hook in hooks:
        hook.remove()
    return found


def samples(tensor: torch.Tensor, count: int) -> np.ndarray:
    flat = tensor.detach().double().numpy().reshape(-1)
    return flat[np.linspace(0, flat.size - 1, count).astype(int)]


def assert_near(ours, expected, tolerance: float) -> None:
    """Asserts closeness relative to the largest value."""
    ours, expected = np.asarray(ours), np.asarray(expected)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_names_order_and_shapes_are_those_of_the_release(shared, name):
    keys = json.loads((shared / f"conformance/net_{name}_256x192.keys.json").read_text())
    with torch.device("meta"):
        tensors = NETWORKS[name]().state_dict()
    assert [(key, list(value.shape)) for key, value in tensors.items()] == list(keys.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_heatmaps_and_stages_in_float64(shared, name):
    expected = np.load(shared / f"conformance/net_{name}_256x192.npz")
    taps = [key.removeprefix("tap/") for key in expected.files if key.startswith("tap/")]
    names = {tap.rsplit(".", 1)[0] for tap in taps}
    network = seeded(name).eval()
    with torch.no_grad():
        found = outputs(network, seeded_images(name), {*names, "final_layer"})
    assert_near(found["final_layer"], expected["heatmaps"], 1e-12)
    for tap in taps:
        child, number = tap.rsplit(".", 1)
        output = found[child] if isinstance(found[child], list) else [found[child]]
        # as in the reference, numpy's deviation: torch's own differs by a part in 10^12
        array = output[int(number)].numpy()
        summary = [array.mean(), array.std(), *samples(output[int(number)], 16)]
        assert_near(summary, expected[f"tap/{tap}"], 1e-12)


def rows(tensors, names) -> np.ndarray:
    """Returns L2 norm and up to eight samples of each named tensor."""
    table = np.zeros((len(names), 9))
    for row, name in zip(table, names, strict=True):
        values = samples(tensors[name], min(8, tensors[name].numel()))
        row[0], row[1 : 1 + len(values)] = torch.linalg.vector_norm(tensors[name].detach().double()), values
    return table


def assert_rows_near(ours: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Asserts closeness of each tensor relative to its norm."""
    assert (np.abs(ours - expected).max(1) <= tolerance * expected[:, 0]).all()


def reference_targets(expected) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the target heatmaps and weights of the reference's training."""
    joints, visible = (jnp.asarray(expected[f"train/{key}"], jnp.float32) for key in ("joints", "vis"))
    drawn = heatmap.render(joints, visible, image_size=(256, 192), heatmap_size=(64, 48), sigma=2.0)
    target, weight = (torch.from_numpy(np.array(array, np.float64)) for array in drawn)
    return target.permute(0, 3, 1, 2), weight[..., None, None]


@pytest.mark.parametrize("name", ["hrnet_w32", "resnet50"])
def test_training_in_float64(shared, name):
    expected = np.load(shared / f"conformance/net_{name}_256x192.npz")
    target, weight = reference_targets(expected)
    network, images = seeded(name).train(), seeded_images(name)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    for step in range(3):
        loss = 0.5 * ((network(images) - target) * weight).square().mean()
        assert_near(loss.item(), expected["train/losses"][step], 1e-9)
        if step == 2:
            break
        adam.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {key: value.grad for key, value in network.named_parameters()}
            names = expected["train/grad_names"]
            assert set(gradients) == set(names)
            assert_rows_near(rows(gradients, names), expected["train/grads"], 1e-8)
        adam.step()
        if step == 1:
            names = expected["train/after2_names"]
            assert_rows_near(rows(network.state_dict(), names), expected["train/after2"], 1e-8)


OTHERS = [  # variants other than the default of their network
    ("hrnet_ablation", {"variant": "across_stages"}),
    ("hrnet_ablation", {"variant": "four_branches"}),
    ("hrnet_ablation", {"variant": "bilinear"}),
    ("hrnet_ablation", {"variant": "product"}),
    ("hrnet_resolutions", {"heads": (1, 3)}),
    ("higher_hrnet", {"deconvolutions": 0}),
    ("higher_hrnet", {"deconvolutions": 2}),
]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        *((name, {}) for name in models.NETWORKS),
        *(pytest.param(*other, marks=pytest.mark.long) for other in OTHERS),
    ],
    ids=str,
)
@pytest.mark.parametrize("train", [False, True])
def test_every_module_returns_the_same_as_in_flax(name, fields, train):
    config, images = small_config((64, 96), name, **SMALL, **fields), small_images()
    config.model.norm_group_size = 0
    network = seed_weights(models.build_torch(config).double()).train(train)
    with jax.enable_x64(True):
        model = models.build(config).clone(dtype=jnp.float64)
        variables = reference.seeded_variables(models.shapes(model, (64, 96)))
        apply = functools.partial(model.apply, train=train, mutable=True, capture_intermediates=True)
        _, updated = jax.jit(apply)(variables, images.transpose(0, 2, 3, 1))
    intermediates = updated.pop("intermediates")
    intermediates.pop("heatmaps", None)  # what `layers.keep_heatmaps` keeps, outputs of modules, too
    ours = traverse_util.flatten_dict(intermediates)
    expected = outputs(network, torch.from_numpy(images))
    for (*path, _), (output,) in ours.items():
        for our, torchs in zip(as_list(output), as_list(expected[".".join(path)]), strict=True):
            assert_near(np.asarray(our).transpose(0, 3, 1, 2), torchs.detach().numpy(), 1e-9)

    state = network.state_dict()
    for path, value in traverse_util.flatten_dict(updated["batch_stats"]).items():
        assert_near(value, state[".".join(path)].numpy(), 1e-9)


def finest(output) -> torch.Tensor:
    """Returns the output of a network, of its finest head if it has several."""
    return as_list(output)[-1]


def as_list(output) -> list:
    return [x for part in output for x in as_list(part)] if isinstance(output, list | tuple) else [output]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", models.NETWORKS)
def test_other_layouts_and_precisions_and_the_compiler(name):
    network = seed_weights(models.build_torch(small_config((64, 96), name, **SMALL))).eval()
    images = torch.from_numpy(small_images()).float()
    with torch.no_grad():
        plain = finest(network(images))
        compiled = finest(torch.compile(network, backend="eager", fullgraph=True)(images))
        last = finest(network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last)))
        half = finest(network.bfloat16()(images.bfloat16()))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert half.dtype == torch.bfloat16
    assert_near(compiled, plain, 1e-6)
    assert_near(last, plain, 1e-5)
    assert_near(half.float(), plain, 5e-2)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", models.NETWORKS)
def test_hooked_outputs_are_not_changed_in_place(name):
    network = seed_weights(models.build_torch(small_config((64, 96), name, **SMALL))).eval()
    kept, copies = {}, {}

    def keep(module, _, output):
        kept[module] = as_list(output)
        copies[module] = [x.detach().clone() for x in kept[module]]

    for module in network.modules():
        module.register_forward_hook(keep)
    network(torch.from_numpy(small_images()).float())
    for module, arrays in kept.items():
        assert all(torch.equal(x, copy) for x, copy in zip(arrays, copies[module], strict=True))


def test_weights_start_as_the_originals():
    torch.manual_seed(0)
    for name in models.NETWORKS:
        for key, value in models.build_torch(small_config((64, 96), name, **SMALL)).state_dict().items():
            if value.ndim == 4:
                bound = 5 / value.numel() ** 0.5  # five standard errors, or more
                assert abs(value.std() / 0.001 - 1) < bound and abs(value.mean()) < 0.001 * bound, key
            else:
                assert (value == (1 if key.endswith(("running_var", "weight")) else 0)).all(), key


def test_build_follows_the_configuration():
    config = small_config((64, 96), **SMALL)
    assert config.model.units == (1, 2, 2)
    with torch.device("meta"):
        network = models.build_torch(config)
        config.model = default.get_config("simple_baseline").model
        config.model.depth = 101
        resnet = models.build_torch(config)
    assert [len(stage) for stage in (network.stage2, network.stage3, network.stage4)] == [1, 2, 2]
    assert (network.conv1.out_channels, network.final_layer.in_channels) == (4, 8)
    assert len(resnet.layer3) == 23
    config.model.depth = 34
    with pytest.raises(ValueError, match=r"`model.depth` \(=34\) must be one of 50, 101, 152"):
        models.build_torch(config)
    config.model.name = "vit"
    with pytest.raises(ValueError, match=r"'vit'.*hrnet, simple_baseline, hourglass, cpn"):
        models.build_torch(config)


def test_without_torch_the_error_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "hrnet_jax.models.torch_models")
    with pytest.raises(ImportError, match="pip install torch"):
        importlib.import_module("hrnet_jax.models.torch_models")
