"""Variants of HRNet: the ablations of table 6 and the heads of figure 5, against the reference in float64."""

import functools
import json
import pathlib
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from made_weights import small_config

from hrnet_jax import configuration, heatmap, losses, models, optimizer, training
from hrnet_jax.compare import measured, problem
from hrnet_jax.evaluation import evaluate
from hrnet_jax.models import ablation, hrnet, layers, network, resolutions
from hrnet_jax.tasks import top_down
from hrnet_jax.torch_interop import loading, state_dict

DOUBLE = jnp.dtype("float64")
NETWORKS = {
    "final_only_w32_64x64": ablation.AblatedHRNet(17, variant=ablation.FINAL, dtype=DOUBLE),
    "across_w32_64x64": ablation.AblatedHRNet(17, variant=ablation.ACROSS, dtype=DOUBLE),
    "heads_w32_64x64": resolutions.MultiResolutionHRNet(17, dtype=DOUBLE),
}
ABLATIONS = list(NETWORKS)[:2]

COUNTS = [  # the table of the reference; the heads' operations and the further ablations are counted here
    (ablation.AblatedHRNet(17, variant=ablation.FINAL), 26_332_273, 6.765),
    (ablation.AblatedHRNet(17, variant=ablation.ACROSS), 26_506_481, 6.823),
    (hrnet.HRNet(17), 28_536_113, 7.120),
    (ablation.AblatedHRNet(17, 48, variant=ablation.FINAL), 58_644_929, 13.816),
    (ablation.AblatedHRNet(17, 48, variant=ablation.ACROSS), 59_036_033, 13.946),
    (resolutions.MultiResolutionHRNet(17), 29_313_764, None),
]


@pytest.mark.long
@pytest.mark.parametrize(("model", "parameters", "giga"), COUNTS)
def test_parameters_and_multiply_adds_are_those_of_the_table(model, parameters, giga):
    assert models.count_parameters(model, (256, 192)) == parameters
    if giga:
        assert round(models.count_multiply_adds(model, (256, 192)) / 1024**3, 3) == giga


def read(shared: pathlib.Path, tag: str) -> tuple[dict[str, np.ndarray], dict[str, list[int]]]:
    """Returns the reference's numbers, and the shapes of its tensors by name."""
    folder = shared / "conformance/ablation"
    with np.load(folder / f"net_{tag}.npz") as numbers:
        return dict(numbers), json.loads((folder / f"net_{tag}.keys.json").read_text())


@functools.cache
def setting(tag: str, people: int) -> tuple[dict, np.ndarray]:
    """Returns the reference's weights and images."""
    size = tuple(map(int, tag.rsplit("_", 1)[1].split("x")))
    variables = reference.seeded_variables(models.shapes(NETWORKS[tag], size), np.float64)
    return variables, problem.draw_images(tag, (people, 3, *size))


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("tag", NETWORKS)
def test_names_are_those_of_the_release_less_the_absent_fuse_layers(shared, tag):
    _, keys = read(shared, tag)
    shapes = {name: list(x.shape) for name, x in loading.to_pytorch(setting(tag, 2)[0]).items()}
    assert shapes == {name: shape for name, shape in keys.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("tag", ABLATIONS)
def test_heatmaps_equal_the_reference(shared, tag):
    numbers, _ = read(shared, tag)
    variables, image = setting(tag, 3)
    found = jax.jit(NETWORKS[tag].apply)(variables, image)
    assert measured.deviation(found, numbers["heatmaps"].transpose(0, 2, 3, 1)) < 1e-9


def test_heatmaps_of_every_head_equal_the_reference(shared):
    tag = "heads_w32_64x64"
    numbers, _ = read(shared, tag)
    variables, image = setting(tag, 2)
    model = NETWORKS[tag]
    first, kept = jax.jit(functools.partial(model.apply, mutable=["intermediates"]))(variables, image)
    found = dict(zip(("2x", "4x", "8x", "1x"), [*kept["intermediates"]["heatmaps"], first], strict=True))
    for name, heatmaps in found.items():
        expected = numbers[f"heatmaps/{name}"].transpose(0, 2, 3, 1)
        assert heatmaps.shape == expected.shape and measured.deviation(heatmaps, expected) < 1e-9, name


def assert_rows_equal(found: Mapping[str, np.ndarray], names: np.ndarray, rows: np.ndarray) -> None:
    """Compares norms and samples of tensors, relative to the norm where it is more than rounding noise."""
    expected = dict(zip(map(str, names), rows, strict=True))
    assert expected.keys() == found.keys()
    largest = rows[:, 0].max()
    for name, row in expected.items():
        ours = measured.sample(found[name], 8)
        difference = np.abs(np.array([ours.norm, *ours.samples]) - row[: 1 + len(ours.samples)]).max()
        assert difference < 1e-8 * max(row[0], 1e-6 * largest), name


@pytest.mark.long
@pytest.mark.parametrize("tag", ABLATIONS)
def test_losses_gradients_and_steps_equal_the_reference(shared, tag):
    numbers, _ = read(shared, tag)
    variables, image = setting(tag, 3)
    targets = problem.generator(f"targets/{tag}").uniform(size=numbers["heatmaps"].shape).transpose(0, 2, 3, 1)
    transformation = optimizer.make_transformation(configuration.default(), lambda _: 1e-3)

    @jax.jit
    def differentiate(params, stats):
        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            (heatmaps,), updated = layers.apply_in_training(NETWORKS[tag], variables, image)
            return jnp.square(heatmaps - targets).mean(), updated

        return jax.value_and_grad(loss, has_aux=True)(params)

    state, losses, states = training.init_state(variables, transformation), [], []
    for step in range(3):
        (value, stats), gradients = differentiate(state.params, state.batch_stats)
        losses.append(float(value))
        if step == 0:
            names, rows = numbers["train/grad_names"], numbers["train/grads"]
            assert_rows_equal(loading.to_pytorch({"params": gradients}), names, rows)
        state = training.update(state, gradients, stats, transformation)
        states.append({"params": state.params, "batch_stats": state.batch_stats})
    np.testing.assert_allclose(losses, numbers["train/losses"][: len(losses)], rtol=1e-8)
    assert_rows_equal(loading.to_pytorch(states[1]), numbers["train/after2_names"], numbers["train/after2"])


TINY = {"width": 4, "stem": 4, "units": (1, 2, 1), "blocks": 1}


def tensors(model) -> dict[str, np.ndarray]:
    """Returns a state dict, of zeros."""
    return loading.to_pytorch(jax.tree.map(lambda leaf: np.zeros(leaf.shape), models.shapes(model, (64, 64))))


@pytest.mark.parametrize("variant", ablation.VARIANTS)
def test_tensors_reveal_the_variant(variant):
    found = loading.infer(tensors(ablation.AblatedHRNet(5, variant=variant, **TINY)))
    sizes = TINY | {"units": [1, 2, 1]}
    if variant == ablation.PRODUCT:  # it has the tensors of HRNet
        assert found == {"name": "hrnet", **sizes}
    else:
        assert found == {"name": "hrnet_ablation", **sizes, "variant": variant}


def test_our_files_say_that_branches_are_multiplied(tmp_path):
    arrays = tensors(ablation.AblatedHRNet(5, variant=ablation.PRODUCT, **TINY))
    path, description = tmp_path / "product.safetensors", {"name": "hrnet_ablation", "variant": ablation.PRODUCT}
    state_dict.write(path, arrays, description | {"colors": "RGB"})
    assert loading.read(path).description == description | {"colors": "RGB"}
    other = tmp_path / "other.safetensors"
    state_dict.write(other, {name: x for name, x in arrays.items() if "conv1" not in name}, description)
    assert loading.read(other).description == {}


@pytest.mark.parametrize("heads", [(0, 1, 2, 3), (0,), (1, 3)])
def test_tensors_reveal_the_heads(heads):
    arrays = tensors(resolutions.MultiResolutionHRNet(5, heads=heads, **TINY))
    found = loading.infer(arrays)
    assert found == {"name": "hrnet_resolutions", **TINY, "units": [1, 2, 1], "heads": list(heads)}
    assert resolutions.NETWORK.head(arrays).shape[0] == 5


def test_heads_start_from_the_weights_of_an_image_classifier():
    trunk = {
        name: x for name, x in tensors(hrnet.HRNet(5, head_branches=4, **TINY)).items() if "final" not in name
    }
    classifier = {"final_layer.0.weight": np.zeros((9, 7, 1, 1)), "final_layer.0.bias": np.zeros(9)}
    classifier |= {f"final_layer.1.{name}": np.zeros(9) for name in ("weight", "bias", "running_mean")}
    weights = state_dict.Weights("imagenet.pth", trunk | classifier, {})
    model = resolutions.MultiResolutionHRNet(5, **TINY)
    description = {"name": "hrnet_resolutions", **TINY, "units": [1, 2, 1], "heads": [0, 1, 2, 3]}
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape), models.shapes(model, (64, 64)))
    initial = description | {"colors": "RGB", "joints": list("abcde")}
    loaded, report = loading.initialize(variables, weights, initial, allow_missing=resolutions.NETWORK.heads)
    assert {name.split(".")[0] for name in report.initialised} == {"final_layer"}
    assert set(report.extra.values()) == {network.CLASSIFIER}
    assert not any(leaf.any() for name, part in loaded["params"].items() if "final" not in name
                   for leaf in jax.tree.leaves(part))  # fmt: skip


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("hrnet_ablation", {"variant": "sum"}, r"`model.variant` \(='sum'\) must be one of final_exchange, "),
        ("hrnet_resolutions", {"heads": (1, 0)}, r"`model.heads` \(=\(1, 0\)\) must be some of 0, 1, 2 and 3"),
        ("hrnet_resolutions", {"heads": (4,)}, r"`model.heads` \(=\(4,\)\) must be some of"),
        ("hrnet_resolutions", {"heads": ()}, r"`model.heads` \(=\(\)\) must be some of"),
        ("hrnet_resolutions", {"units": (1, 4, 0)}, r"`model.units` \(=\(1, 4, 0\)\) must end with a unit"),
    ],
)
def test_fields_that_cannot_be_are_refused(model, changes, message):
    config = configuration.default(model)
    config.model.update(changes)
    with pytest.raises(ValueError, match=message):
        models.build(config)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_shrinking_is_pytorchs_bilinear_interpolation(torch, factor):
    x = np.random.default_rng(0).standard_normal((2, 16, 24, 3))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x.transpose(0, 3, 1, 2)), scale_factor=1 / factor, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(ablation.shrink(x, factor), expected.numpy().transpose(0, 2, 3, 1), rtol=1e-12)


def heads_config(**fields):
    """Returns a configuration with a single exchange unit, which the heads read."""
    return small_config((64, 32), "hrnet_resolutions", units=(0, 0, 1), **fields)


def test_each_head_learns_from_targets_of_its_resolution():
    """The loss is the sum over heads; the metric is of the finest."""
    config = heads_config()
    task = top_down.TopDown(config, models.build(config).clone(dtype=DOUBLE))
    random = np.random.default_rng(0)
    batch = {
        "image": random.integers(0, 256, (2, 64, 32, 3), np.uint8),
        "joints": random.uniform(0, 32, (2, 17, 2)),
        "visible": np.ones((2, 17)),
    }
    variables = reference.seeded_variables(task.shapes(), np.float64)

    @jax.jit
    def run(variables):
        image = layers.normalize(jnp.asarray(batch["image"]), "RGB", DOUBLE)
        found, _ = layers.apply_in_training(task.model, variables, image)
        return task.loss(variables["params"], variables["batch_stats"], batch), found

    (loss, (_, metrics)), found = run(variables)
    assert [heatmaps.shape[1:3] for heatmaps in found] == [(8, 4), (4, 2), (2, 1), (16, 8)]
    expected, labels = 0.0, [jnp.asarray(batch[name]) for name in ("joints", "visible")]
    for heatmaps in found:
        options = {"image_size": (64, 32), "heatmap_size": heatmaps.shape[1:3], "sigma": 2.0}
        targets, weights = heatmap.render(*labels, **options)
        expected += losses.mse(heatmaps, targets, weights).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-10)
    np.testing.assert_allclose(metrics["pck"], heatmap.pck(heatmaps, targets), rtol=1e-10)


def test_a_head_trained_alone_has_its_own_stride():
    config = heads_config(heads=(2,))
    model, labels = models.build(config), (jnp.zeros((3, 17, 2)), jnp.ones((3, 17)))
    targets, weights = top_down.make_target_fn(config)(*labels)
    assert targets.shape == (3, 4, 2, 17) and weights.shape == (3, 17)
    variables = models.shapes(model, (64, 32))
    found = jax.eval_shape(model.apply, variables, jax.ShapeDtypeStruct((3, 64, 32, 3), jnp.float32))
    assert found.shape == targets.shape
    assert {name for name in variables["params"] if "final" in name} == {"final_layer.2"}


def test_every_head_is_evaluated(made_up_records, monkeypatch):
    """Each predicts with the same weights, at its own stride."""
    config = heads_config()
    config.data.dir = str(made_up_records)
    seen = []

    def record(step, variables, split, config, place, *, head, progress):
        del variables, split, config, place, progress
        seen.append((head, step.predicting))
        return [head]

    monkeypatch.setattr(evaluate, "build_step", lambda model, config: model)
    monkeypatch.setattr(evaluate, "evaluate", record)
    evaluation = top_down.TopDown(config).evaluation(trained=True)
    assert evaluation.predict({}, dict, False) == ["", "2x", "4x", "8x"]
    assert seen == [("", 0), ("2x", 1), ("4x", 2), ("8x", 3)]


def test_the_head_that_predicts_returns_its_heatmaps():
    model = models.build(heads_config())
    variables = reference.seeded_variables(models.shapes(model, (64, 32)), np.float32)
    image = jnp.asarray(problem.draw_images("heads", (1, 3, 64, 32)), jnp.float32)

    @jax.jit
    def run(variables):
        kept = {"2x": 0, "4x": 1, "8x": 2}
        first, found = model.apply(variables, image, mutable=["intermediates"])
        others = {
            name: each.apply(variables, image) for name, each in resolutions.NETWORK.alternatives(model).items()
        }
        return {name: found["intermediates"]["heatmaps"][i] for name, i in kept.items()}, others, first

    expected, found, first = run(variables)
    assert first.shape == (1, 16, 8, 17) and found.keys() == expected.keys()
    for name, heatmaps in found.items():
        np.testing.assert_allclose(heatmaps, expected[name], rtol=1e-5, atol=1e-5)
