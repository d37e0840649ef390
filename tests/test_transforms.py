"""Every public function of the numeric spine goes through `jit`, `vmap` and `grad`, in float64.

A new public function fails `test_every_public_function_has_its_row` until it has a row in `CASES` or, if it works
on the host, its reason in `HOST`.
"""

import ast
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax import test_util

from hrnet_jax import (
    codecs,
    cpn_codec,
    geometry,
    heatmap,
    inference,
    losses,
    optimizer,
    sharding,
    training,
    udp,
    views,
)
from hrnet_jax.compare import problem
from hrnet_jax.models import ablation, batch_norm, cpn, higher_hrnet, hourglass, hrnet, layers, simple_baseline

ROOT = pathlib.Path(__file__).resolve().parents[1]

HOST = {
    "computes crops as the original does, with OpenCV and Python's floats": [
        "geometry.box_to_center_scale",
        "geometry.padded_scale",
        "geometry.photo_to_crop",
        "geometry.inverse_photo_to_crop",
        "geometry.invert",
        "geometry.mirror",
        "geometry.compose",
        "geometry.clip_box",
        "geometry.warp",
        "geometry.crop",
        "geometry.crop_to_photo",
        "geometry.extract",
        "udp.stride",
        "views.make",
        "views.to_view",
    ],
    "draws or applies the augmentation of one person in a loader thread": [
        "augment.sample",
        "augment.half_joints",
        "augment.apply",
        "augment.flip",
    ],
    "checks an argument or a type": [
        "heatmap.find_decoder",
        "codecs.find",
        "models.layers.check_image_size",
        "models.check_task",
        "models.batch_norm.at_least_float32",
    ],
    "builds, describes or counts a network": [
        "models.find",
        "models.build",
        "models.build_torch",
        "models.create",
        "models.count_heatmaps",
        "models.architecture",
        "models.describe",
        "models.title",
        "models.summary",
        "models.shapes",
        "models.multiple",
        "models.strides",
        "models.network.count_parts",
        "models.simple_baseline.check_depth",
        "models.simple_baseline.infer",
        "models.cpn.make_targets",
        "models.count_parameters",
        "models.count_multiply_adds",
        "models.count_outputs",
        "training.kept_bytes",
    ],
    "draws initial weights with numpy": ["training.init_variables"],
    "reads a configuration": ["optimizer.build", "optimizer.make_transformation"],
    "compiles a step": ["training.lower_step", "training.lower_gradients"],
    "keeps an array of a module": ["models.layers.keep_heatmaps"],
    "applies layers within a network": ["models.simple_baseline.resnet"],
    "computes constants of a compiled function": ["cpn_codec.kernel", "cpn_codec.blur_matrix"],
    "selects arrays": ["models.layers.for_each", "models.layers.of_prediction"],
    "loops over batches of a table": ["inference.predict"],
}
"""Functions that no transformation applies to, by reason."""

HOST_MODULES = {
    "skeletons": "names and tables",
    "pipeline": "reads photos and forms batches",
    "sharding": "places arrays on devices",
    "checkpoint": "writes and reads files",
    "visualize": "draws with OpenCV",
    "models.torch_models": "PyTorch",
    "models.torch_variants": "PyTorch",
    "models.torch_higher_hrnet": "PyTorch",
    "models.hourglass_names": "names of tensors",
}
"""Modules of the spine without numerics for the device."""

MODULES = {
    name: f"hrnet_jax/{name.replace('.', '/')}.py"
    for name in (
        *("geometry", "augment", "cpn_codec", "heatmap", "losses", "udp", "codecs", "views"),
        *("optimizer", "training", "inference"),
        *("models.layers", "models.batch_norm", "models.hrnet", "models.simple_baseline", "models.hourglass"),
        *("models.ablation", "models.resolutions", "models.network", "models.cpn"),
        "models.higher_hrnet",
    )
} | {"models": "hrnet_jax/models/__init__.py"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A function of trees of arrays, with its other arguments bound.

    `smooth` are the positions of the inputs by which it has derivatives. A `large` function, a whole network, is
    differentiated only backwards, to save time.
    """

    call: Callable
    inputs: tuple[Any, ...]
    smooth: tuple[int, ...] = (0,)
    large: bool = False


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def blobs(seed: int = 0) -> np.ndarray:
    """Heatmaps ``[2, 12, 10, 3]`` with one peak each, and noise."""
    rng = np.random.default_rng(seed)
    middle, pixels = rng.uniform(3, 7, (2, 1, 1, 3, 2)), np.stack(np.mgrid[:12, :10], -1)[None, :, :, None]
    return np.exp(-np.square(pixels - middle).sum(-1) / 4.5) + rng.uniform(0.05, 0.1, (2, 12, 10, 3))


TURNED = views.make((1.0, 0.9), (0.0,))


def udp_targets(function: Callable) -> Case:
    options = {"image_size": (48, 40), "heatmap_size": (12, 10), "sigma": 1.5}
    joints = np.random.default_rng(0).uniform(5, 35, (2, 3, 2))
    return Case(functools.partial(function, **options), (joints, np.ones((2, 3))))


def render(unbiased: bool) -> Case:
    options = {"image_size": (48, 40), "heatmap_size": (12, 10), "sigma": 1.5, "unbiased": unbiased}
    joints = np.random.default_rng(0).uniform(5, 35, (2, 3, 2))
    return Case(functools.partial(heatmap.render, **options), (joints, np.ones((2, 3))))


def compared(function: Callable) -> Case:
    heatmaps, targets, weights = draw(2, 4, 3, 12), draw(2, 4, 3, 12, seed=1), np.ones((2, 12))
    return Case(function, (heatmaps, targets, weights), smooth=(0, 1, 2))


def module(
    network: nn.Module,
    *shape: int,
    train: bool | None = None,
    argument: Callable = lambda x: x,
    large: bool = False,
) -> Case:
    """A network as a function of its variables and its input."""
    mode = () if train is None else (train,)
    image = jax.ShapeDtypeStruct(shape, jnp.float64)
    variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), argument(x), *mode), image)
    mutable = ["batch_stats"] if train else False

    def call(variables: Any, x: jax.Array) -> Any:
        return network.apply(variables, argument(x), *mode, mutable=mutable)

    return Case(call, (problem.draw_variables(variables), draw(*shape)), smooth=(0, 1), large=large)


def in_training(model: nn.Module, *shape: int) -> Case:
    """All heatmaps of a network in training, and its next statistics."""
    case = module(model, *shape, train=True, large=True)
    return dataclasses.replace(case, call=functools.partial(layers.apply_in_training, model))


class Pooled(nn.Module):
    """A network whose heatmaps are the colours over 4x4 pixels, weighted."""

    colors: str = "BGR"
    dtype: jnp.dtype = jnp.dtype("float64")

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
        weight = self.param("weight", nn.initializers.ones, (1, 1, 1, 1, 1, 3), jnp.float32)
        batch, height, width, colors = image.shape
        return (image.reshape(batch, height // 4, 4, width // 4, 4, colors) * weight).mean((2, 4))


def prediction(function: Callable, *more: np.ndarray, **options: Any) -> Case:
    image = np.random.default_rng(0).uniform(0, 255, (2, 16, 24, 3))
    call = functools.partial(function, Pooled(), flip_order=np.array([0, 2, 1]), shift=0.75, **options)
    return Case(call, ({"params": {"weight": draw(1, 1, 1, 1, 1, 3)}}, image, *more), smooth=(0, 1))


def compiled_prediction() -> Case:
    case = prediction(inference.predict_step, CROPS, decoder="argmax")
    options = {"flip_order": np.array([0, 2, 1]), "shift": 0.75, "decoder": "argmax"}
    return dataclasses.replace(case, call=inference.compile_step(Pooled(), **options), smooth=(2,))


CROPS = np.array([[[0.5, 0.1, 3.0], [-0.1, 0.5, -2.0]], [[2.0, 0.0, 1.0], [0.0, 2.0, 5.0]]])

BATCH = {"x": draw(4, 3), "y": draw(4, 2)}
PARAMS = {"w": draw(3, 2, seed=1)}


def toy_loss(params: Any, batch_stats: Any, batch: training.Batch) -> Any:
    """A loss with the parts of a network's: weights, statistics and metrics."""
    residual = jnp.tanh(batch["x"] @ params["w"]) - batch["y"]
    return jnp.square(residual).mean(), (jax.tree.map(lambda m: 0.9 * m, batch_stats), {"most": residual.max()})


def toy_state(params: Any) -> training.TrainState:
    return training.init_state({"params": params, "batch_stats": {"m": jnp.ones(2)}}, SGD)


SGD = optax.sgd(0.1, momentum=0.9)


def gradients(accumulation: int) -> Case:
    stats, compute = {"m": np.ones(2)}, training.make_gradients(toy_loss, accumulation)
    return Case(lambda params, batch: compute(params, stats, batch), (PARAMS, BATCH), smooth=(0, 1))


def replicated() -> jax.sharding.NamedSharding:
    return sharding.replicated(sharding.make_mesh(jax.devices()[:1]))


def whole_step() -> Case:
    step = training.make_train_step(toy_loss, SGD, replicated(), skip_non_finite=True)

    def call(params: Any, batch: Any) -> Any:
        after, metrics = step(toy_state(params), batch)
        return after.params, after.opt_state, metrics

    return Case(call, (PARAMS, BATCH), smooth=(0, 1))


def update() -> Case:
    def call(params: Any, direction: Any) -> Any:
        return training.update(toy_state(params), direction, {"m": jnp.ones(2)}, SGD).params

    return Case(call, (PARAMS, {"w": draw(3, 2)}), smooth=(0, 1))


def moved_average() -> Case:
    def call(average: Any, params: Any) -> Any:
        state = dataclasses.replace(toy_state(params), average={"params": average})
        return training.move_average(state, {"params": params}, 0.9)

    return Case(call, (PARAMS, {"w": draw(3, 2)}), smooth=(0, 1))


def checked_update() -> Case:
    change = training.make_update(SGD, replicated())

    def call(params: Any, direction: Any) -> Any:
        after, metrics = change(toy_state(params), direction, {"m": jnp.ones(2)}, {"loss": jnp.ones(())})
        return after.params, metrics

    return Case(call, (PARAMS, {"w": draw(3, 2)}), smooth=(0, 1))


def two_updates(transformation: optax.GradientTransformation) -> Case:
    """Two updates by an optimizer, as a function of weights and gradients."""

    def call(params: Any, first: Any, second: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes precisions
            _, state = transformation.update(first, transformation.init(params), params)
            return transformation.update(second, state, params)[0]

    return Case(call, (PARAMS, {"w": draw(3, 2)}, {"w": draw(3, 2, seed=2)}), smooth=(1, 2))


def rate(schedule: optimizer.Schedule) -> Case:
    def call(step: jax.Array) -> jax.Array:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes precisions
            return jnp.asarray(schedule(step))

    return Case(call, (np.float64(5.0),))


CASES: Mapping[str, Callable[[], Case]] = {
    "geometry.apply": lambda: Case(geometry.apply, (draw(2, 3), draw(2)), smooth=(0, 1)),
    "heatmap.render": lambda: render(unbiased=True),
    "heatmap.render (rounded)": lambda: render(unbiased=False),
    "heatmap.peaks": lambda: Case(heatmap.peaks, (blobs(),)),
    **{
        f"heatmap.decode ({method})": lambda method=method: Case(
            functools.partial(heatmap.decode, method=method), (blobs(),)
        )
        for method in heatmap.DECODERS
    },
    "heatmap.to_photo": lambda: Case(heatmap.to_photo, (draw(2, 5, 2), draw(2, 2, 3)), smooth=(0,)),
    "codecs.decode_in_photo": lambda: Case(
        lambda x, matrix: codecs.decode_in_photo(x, matrix, (48, 40), decoder="quarter"),
        (blobs(), draw(2, 2, 3)),
        smooth=(),
    ),
    "heatmap.touches": lambda: Case(lambda x: heatmap.touches(x, 2.0, (8, 6)), (draw(2, 3, 2),), smooth=()),
    "heatmap.offsets": lambda: Case(lambda x: heatmap.offsets(x, (8, 6)), (draw(2, 3, 2),)),
    "heatmap.values": lambda: Case(lambda x: heatmap.values(x, np.full((2, 3, 2), 9.0), 1, 0), (blobs(),)),
    "heatmap.newton_step": lambda: Case(heatmap.newton_step, tuple(draw(2, 3, seed=i) for i in range(5))),
    "heatmap.decode_dark": lambda: Case(heatmap.decode_dark, (blobs(),)),
    "udp.turn": lambda: Case(lambda x: udp.turn(x, np.array([[0.6, -0.8], [0.8, 0.6]])), (blobs(),)),
    "views.average": lambda: Case(
        lambda x: views.average(x[:, None] * np.ones((1, 2, 1, 1, 1)), TURNED, codecs.CODECS["udp_offset"]),
        (blobs(),),
    ),
    "udp.render": lambda: udp_targets(udp.render),
    "udp.render_offsets": lambda: udp_targets(udp.render_offsets),
    "udp.offset_loss": lambda: Case(udp.offset_loss, (blobs(), blobs(1), draw(2, 1)), smooth=(0,)),
    "udp.decode": lambda: Case(udp.decode, (blobs(),)),
    "udp.decode_offsets": lambda: Case(udp.decode_offsets, (blobs(),)),
    "heatmap.flip": lambda: Case(lambda x: heatmap.flip(x, np.array([0, 2, 1]), 0.3), (blobs(),)),
    "heatmap.pck": lambda: Case(heatmap.pck, (blobs(), blobs(1)), smooth=()),
    "losses.mse": lambda: compared(losses.mse),
    "losses.ohkm": lambda: compared(losses.ohkm),
    "optimizer.step_schedule": lambda: rate(optimizer.step_schedule(1e-3, (1, 3), 10)),
    "optimizer.warm_up": lambda: rate(optimizer.warm_up(lambda step: 1e-3 * jnp.exp(-step), 20)),
    "optimizer.adam": lambda: two_updates(optimizer.adam(lambda step: 1e-3, 0.0)),
    "optimizer.sgd": lambda: two_updates(optimizer.sgd(lambda step: 0.1, 0.01, 0.9, nesterov=True)),
    "optimizer.rmsprop": lambda: two_updates(optimizer.rmsprop(lambda step: 0.1, 0.01, 0.9)),
    "optimizer.clip": lambda: two_updates(optimizer.clip(0.5)),
    "training.init_state": lambda: Case(lambda params: toy_state(params).params, (PARAMS,)),
    "training.make_gradients": lambda: gradients(accumulation=1),
    "training.make_gradients (accumulated)": lambda: gradients(accumulation=2),
    "training.make_update": checked_update,
    "training.update": update,
    "training.move_average": moved_average,
    "training.make_train_step": whole_step,
    "inference.predict_heatmaps": lambda: prediction(inference.predict_heatmaps),
    "inference.predict_step": lambda: prediction(inference.predict_step, CROPS, decoder="quarter"),
    "inference.compile_step": compiled_prediction,
    "models.layers.normalize": lambda: Case(
        lambda x: layers.normalize(x, "BGR", jnp.float64), (128 + 30 * draw(2, 4, 4, 3),)
    ),
    "models.layers.relu": lambda: Case(layers.relu, (draw(5, 4),)),
    "models.layers.double": lambda: Case(layers.double, (draw(2, 3, 2, 2),)),
    "models.layers.Conv": lambda: module(layers.Conv(4, 3, 2, use_bias=True, dtype=DOUBLE), 2, 6, 4, 3),
    "models.layers.Conv (1x1)": lambda: module(layers.Conv(4, 1, 2, dtype=DOUBLE), 2, 6, 4, 3),
    "models.layers.ConvTranspose": lambda: module(layers.ConvTranspose(4, DOUBLE), 2, 3, 4, 3),
    "models.layers.ConvNorm": lambda: module(layers.ConvNorm(4, relu=True, dtype=DOUBLE), 2, 4, 4, 3, train=True),
    "models.layers.BasicBlock": lambda: module(layers.BasicBlock(3, dtype=DOUBLE), 2, 4, 4, 3, train=True),
    "models.layers.Bottleneck": lambda: module(layers.Bottleneck(2, 2, dtype=DOUBLE), 2, 4, 4, 3, train=True),
    "models.batch_norm.standardize": lambda: Case(
        functools.partial(batch_norm.standardize, groups=2, epsilon=1e-5),
        (draw(6, 4, 2, 3), draw(1, 3), draw(1, 3, seed=1)),
        smooth=(0, 1, 2),
    ),
    "models.batch_norm.BatchNorm": lambda: module(batch_norm.BatchNorm(), 4, 3, 2, 3, train=False),
    "models.batch_norm.BatchNorm (in training)": lambda: module(
        batch_norm.BatchNorm(batch_norm.Norm(group_size=2)), 4, 3, 2, 3, train=True
    ),
    "models.hrnet.ExchangeUnit": lambda: module(
        hrnet.ExchangeUnit(2, 1, range(2), dtype=DOUBLE), 2, 8, 8, 6, train=True, argument=two_branches, large=True
    ),
    "models.hrnet.HRNet": lambda: module(
        hrnet.HRNet(3, 2, 2, (0, 0, 1), 1, dtype=DOUBLE), 1, 32, 32, 3, train=False, large=True
    ),
    "models.hrnet.ExchangeUnit (bilinear)": lambda: module(
        ablation.BilinearUnit(2, 1, (1,), dtype=DOUBLE), 2, 4, 4, 6, train=True, argument=two_branches, large=True
    ),
    "models.ablation.shrink": lambda: Case(functools.partial(ablation.shrink, factor=2), (draw(2, 4, 6, 3),)),
    "models.higher_hrnet.Deconvolution": lambda: module(
        higher_hrnet.Deconvolution(2, dtype=DOUBLE), 2, 4, 4, 3, train=True
    ),
    "models.hourglass.Residual": lambda: module(hourglass.Residual(4, dtype=DOUBLE), 2, 4, 4, 3, train=True),
    "models.hourglass.Hourglass": lambda: module(
        hourglass.Hourglass(1, 4, dtype=DOUBLE), 2, 4, 4, 4, train=True, large=True
    ),
    "models.hourglass.StackedHourglass": lambda: module(two_stacks(), 1, 8, 8, 3, train=False, large=True),
    "models.cpn.enlarge": lambda: Case(functools.partial(cpn.enlarge, size=(6, 8)), (draw(2, 3, 2, 2),)),
    "models.cpn.CPN": lambda: module(
        cpn.CPN(3, stem=2, features=4, dtype=DOUBLE), 1, 32, 32, 3, train=False, large=True
    ),
    "cpn_codec.render": lambda: Case(
        functools.partial(cpn_codec.render, image_size=(48, 40), heatmap_size=(12, 10), side=7),
        (np.random.default_rng(0).uniform(5, 35, (2, 3, 2)), np.ones((2, 3))),
    ),
    "cpn_codec.decode": lambda: Case(cpn_codec.decode, (blobs(),)),
    "models.layers.apply_in_training": lambda: in_training(two_stacks(), 2, 16, 16, 3),
    "models.simple_baseline.SimpleBaseline": lambda: module(
        simple_baseline.SimpleBaseline(3, stem=2, features=4, dtype=DOUBLE), 1, 32, 32, 3, train=False, large=True
    ),
}
"""A case of each public function, or several with a word in parentheses."""

DOUBLE = jnp.dtype("float64")


def two_stacks() -> hourglass.StackedHourglass:
    """An Hourglass of few channels that halves the resolution once."""
    return hourglass.StackedHourglass(3, 2, 4, 1, (2, 2, 2), dtype=DOUBLE)


def two_branches(x: jax.Array) -> list[jax.Array]:
    """Makes the branches of width 2 and 4 of an array with their channels."""
    return [x[..., :2], x[:, ::2, ::2, 2:]]


@pytest.fixture(autouse=True)
def double_precision(monkeypatch, request):
    """Float64, and a ResNet of few blocks, with a deconvolution."""
    monkeypatch.setitem(simple_baseline.BLOCKS, 50, (1, 1, 1, 1) if "CPN" in request.node.name else (1, 1, 0, 0))
    monkeypatch.setattr(simple_baseline, "DECONVOLUTIONS", 1)
    with jax.enable_x64(True):
        yield


def public_functions(path: str) -> set[str]:
    """Returns the functions and networks that a file defines."""
    nodes = ast.parse((ROOT / path).read_text()).body
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    defined |= {
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "nn.Module" for base in node.bases)
    }
    return {name for name in defined if not name.startswith("_")}


def test_every_public_function_has_its_row():
    public = {f"{module}.{name}" for module, path in MODULES.items() for name in public_functions(path)}
    rows = {name.partition(" ")[0] for name in CASES}
    on_host = [name for names in HOST.values() for name in names]
    assert rows | set(on_host) == public
    assert not rows & set(on_host) and len(on_host) == len(set(on_host))


def test_every_module_of_the_spine_is_covered():
    (line,) = re.findall(r"the spine, arrays in and arrays out: `([^`]*)`", (ROOT / "README.md").read_text())
    networks = {f"models.{path.stem}" for path in (ROOT / "hrnet_jax" / "models").glob("[!_]*.py")}
    assert MODULES.keys() | HOST_MODULES.keys() == {*line.split(), "models"} | networks


def assert_close(found: Any, expected: Any) -> None:
    def compare(a: Any, b: Any) -> None:
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * (1 + np.abs(b).max()))

    jax.tree.map(compare, found, expected)


def stack(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


@pytest.mark.parametrize("name", CASES)
def test_a_function_is_transformed(name):
    case = CASES[name]()
    inputs = case.inputs
    others = jax.tree.map(lambda x: 0.9 * x, inputs)
    compiled = jax.jit(case.call)
    expected = [jax.device_get(compiled(*x)) for x in (inputs, others)]

    if not case.large:
        assert_close(case.call(*inputs), expected[0])
    assert_close(jax.jit(jax.vmap(case.call))(*stack(inputs, others)), stack(*expected))

    def of_smooth(*chosen: Any) -> Any:
        complete = dict(zip(case.smooth, chosen, strict=True))
        result = compiled(*(complete.get(i, x) for i, x in enumerate(inputs)))
        return [x for x in jax.tree.leaves(result) if jnp.issubdtype(x.dtype, jnp.floating)]

    if case.smooth:
        smooth, modes = tuple(inputs[i] for i in case.smooth), ("rev",) if case.large else ("fwd", "rev")
        test_util.check_grads(of_smooth, smooth, order=1, modes=modes, eps=1e-6, rtol=1e-5)


def test_the_share_of_correct_joints_has_no_gradient():
    case = CASES["heatmap.pck"]()
    gradient = jax.grad(heatmap.pck)(*map(jnp.asarray, case.inputs))
    assert (gradient == 0).all()


def test_batch_normalization_has_second_derivatives():
    case = CASES["models.batch_norm.standardize"]()
    inputs = tuple(map(jnp.asarray, case.inputs))
    test_util.check_grads(jax.jit(case.call), inputs, order=2, rtol=1e-5)
