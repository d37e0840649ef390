import contextlib
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util
from ml_collections import ConfigDict

from configs import default
from hrnet_jax import models, optimizer, sharding, training
from hrnet_jax.models import layers
from hrnet_jax.tasks import top_down


@pytest.fixture(scope="module")
def config():
    config = default.get_config()
    config.image_size = (64, 32)
    config.batch_size = 8
    config.model.update(width=4, stem=4, units=(1, 0, 0), blocks=1, norm_group_size=0)
    return config


def make_batch(size: int, joints: int = 17, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "image": random.integers(0, 256, (size, 64, 32, 3), np.uint8),
        "joints": random.uniform(0, 32, (size, joints, 2)).astype(np.float32),
        "visible": (random.random((size, joints)) < 0.8).astype(np.float32),
    }


def make_step(config: ConfigDict, adam, replicated, model=None) -> training.TrainStep:
    task = top_down.TopDown(config, model)
    skip = config.skip_not_finite > 0
    return training.make_train_step(
        task.loss, adam, replicated, accumulation=config.accumulation, skip_non_finite=skip
    )


@functools.cache
def compiled(key: str, devices: int, double: bool):
    """A network's step, start and mesh; compiling is what takes time here, so each variant is made once."""
    config = ConfigDict(json.loads(key))
    dtype = jnp.float64 if double else jnp.float32
    model = models.build(config).clone(dtype=dtype)
    adam = optimizer.adam(optimizer.warm_up(optimizer.step_schedule(1e-3, (), 1), config.warmup_steps), 0.0)
    mesh = sharding.make_mesh(jax.devices()[:devices])
    variables = training.init_variables(model, tuple(config.image_size), 0)
    variables = jax.tree.map(lambda x: x.astype(dtype), variables)
    with jax.numpy_dtype_promotion("standard"):
        state = jax.tree.map(np.asarray, training.init_state(variables, adam))
    where = sharding.state_sharding(state, mesh, config.fsdp), sharding.replicated(mesh)
    step = jax.jit(make_step(config, adam, where[1], model), donate_argnums=0, out_shardings=where)
    return step, state, mesh


def run_steps(config, batches, devices=1, double=False):
    """Takes a step a batch; returns the last state and the losses."""
    step, state, mesh = compiled(config.to_json(), devices, double)
    state, found = sharding.place_state(state, mesh, config.fsdp), []
    for batch in batches:
        state, metrics = step(state, sharding.place_batch(batch, mesh))
        found.append(metrics["loss"])
    return jax.device_get(state), np.array(found)


def test_weights_start_as_the_originals(config):
    model = models.build(config).clone(width=32)
    variables = training.init_variables(model, (64, 32), seed=1)
    params, stats = variables["params"], variables["batch_stats"]
    kernel = params["stage2.0"]["branches.1.0"]["conv1"]["weight"]
    assert abs(kernel.std() / 0.001 - 1) < 0.05 and abs(kernel.mean()) < 1e-4
    assert not params["final_layer"]["bias"].any()
    assert (params["bn1"]["weight"] == 1).all() and not params["bn1"]["bias"].any()
    assert (stats["bn1"]["running_var"] == 1).all() and not stats["bn1"]["running_mean"].any()
    again = training.init_variables(model, (64, 32), seed=1)
    other = training.init_variables(model, (64, 32), seed=2)
    np.testing.assert_array_equal(again["params"]["conv1"]["weight"], params["conv1"]["weight"])
    assert (other["params"]["conv1"]["weight"] != params["conv1"]["weight"]).all()


def test_layers_of_one_shape_start_differently(config):
    params = training.init_variables(models.build(config), (64, 32), seed=1)["params"]["stage2.0"]
    one, other = (params["branches.0.0"][conv]["weight"] for conv in ("conv1", "conv2"))
    assert (one != other).all()


def test_a_repeated_batch_is_learnt_and_steps_are_counted(config):
    state, losses = run_steps(config, [make_batch(8)] * 30)
    assert int(state.step) == 30
    assert losses[-1] < 0.75 * losses[0]
    assert (np.asarray(state.batch_stats["bn1"]["running_var"]) != 1).all()


@jax.custom_vjp
def overflowing(x):
    """Gives back what it gets; of its gradient, one number is infinite."""
    return x


overflowing.defvjp(lambda x: (x, None), lambda _, gradient: (gradient.at[(0,) * gradient.ndim].set(jnp.inf),))


class Overflowing:
    """A network with the gradient of a weight so, and of no other."""

    def __init__(self, model, path: tuple[str, ...]):
        self.dtype, self._model, self._path = model.dtype, model, path

    def apply(self, variables, *arguments, **options):
        params = traverse_util.flatten_dict(variables["params"])
        params[self._path] = overflowing(params[self._path])
        variables = variables | {"params": traverse_util.unflatten_dict(params)}
        return self._model.apply(variables, *arguments, **options)


@pytest.mark.parametrize(
    ("path", "skip"), [(("conv1", "weight"), 0), (("stage2.0", "branches.1.0", "bn1", "bias"), 1)]
)
def test_a_gradient_that_is_not_finite_is_seen_although_the_loss_is(config, path, skip):
    _, state, mesh = compiled(config.to_json(), 1, False)
    whole = sharding.replicated(mesh)
    config = config.copy_and_resolve_references()
    config.skip_not_finite = skip
    adam = optimizer.adam(optimizer.step_schedule(1e-3, (), 1), 0.0)
    step = jax.jit(make_step(config, adam, whole, Overflowing(models.build(config), path)))
    after, metrics = step(state, make_batch(8))
    assert np.isfinite(metrics["loss"]) and metrics["finite"] == 0
    if skip:
        jax.tree.map(np.testing.assert_array_equal, after.params, state.params)
        jax.tree.map(np.testing.assert_array_equal, after.opt_state[0].nu, state.opt_state[0].nu)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("part", ["loss", "params", "batch_stats"])
def test_what_is_not_finite_is_seen_wherever_it_is(part, value):
    arrays = {"bn1": {"weight": jnp.ones((3, 2))}}
    state = training.TrainState(jnp.zeros((), int), params=arrays, batch_stats=arrays, opt_state=())
    whole = sharding.replicated(sharding.make_mesh())
    assert training._finite(jnp.ones(()), state, whole) == 1
    spoilt = {"bn1": {"weight": jnp.ones((3, 2)).at[1, 1].set(value)}}
    loss = jnp.asarray(value if part == "loss" else 1.0)
    after = state if part == "loss" else state.replace(**{part: spoilt})
    assert training._finite(loss, after, whole) == 0


def steps_with_average(decay: float, gradients, skip: bool = False) -> list[training.TrainState]:
    """Takes steps of gradient descent with a moving average, on one weight and one statistic."""
    descent = optax.sgd(0.5)
    replicated = sharding.replicated(sharding.make_mesh(jax.devices()[:1]))
    update = training.make_update(descent, replicated, skip_non_finite=skip, average_decay=decay)
    variables = {"params": {"weight": jnp.array([1.0])}, "batch_stats": {"mean": jnp.array([0.0])}}
    states = [training.init_state(variables, descent, averaged=True)]
    for number, gradient in enumerate(gradients, start=1):
        statistics, metrics = {"mean": jnp.array([float(number)])}, {"loss": jnp.ones(())}
        states.append(update(states[-1], {"weight": jnp.array([gradient])}, statistics, metrics)[0])
    return states


def test_the_moving_average_follows_weights_and_statistics():
    states = steps_with_average(0.2, [1.0, -2.0, 0.5])
    weight, mean = 1.0, 0.0
    for number, after in enumerate(states[1:]):
        decay = min(0.2, (1 + number) / (10 + number))
        weight = decay * weight + (1 - decay) * float(after.params["weight"][0])
        mean = decay * mean + (1 - decay) * float(after.batch_stats["mean"][0])
        np.testing.assert_allclose(after.variables(averaged=True)["params"]["weight"], weight, rtol=1e-6)
        np.testing.assert_allclose(after.variables(averaged=True)["batch_stats"]["mean"], mean, rtol=1e-6)
    assert steps_with_average(0.0, [1.0])[-1].average["params"]["weight"] == 1  # left alone without a decay


def test_a_skipped_step_keeps_the_moving_average():
    *_, before, after = steps_with_average(0.2, [1.0, float("nan")], skip=True)
    jax.tree.map(np.testing.assert_array_equal, after.average, before.average)
    assert int(after.step) == 2


def test_the_same_seed_gives_the_same_bits(config):
    batches = [make_batch(8, seed=seed) for seed in range(3)]
    (one, _), (other, _) = run_steps(config, batches), run_steps(config, batches)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_four_devices_do_what_one_does(config):
    """Ten steps in float64, since steps of this network from scratch make rounding larger and larger: float32
    agrees to rounding at first (below), but after a few steps to no more than a few parts in a thousand.
    """
    with jax.enable_x64(True):
        batches = [make_batch(8, seed=seed) for seed in range(10)]
        one, four = (run_steps(config, batches, devices, double=True)[1] for devices in (1, 4))
    np.testing.assert_allclose(four, one, rtol=1e-9)


def test_a_split_optimizer_state_changes_nothing(config):
    """Not asked for to the last bit, which compilers may round differently."""
    split = config.copy_and_resolve_references()
    split.fsdp = True
    with jax.enable_x64(True):
        batches = [make_batch(8, seed=seed) for seed in range(3)]
        (whole, losses), (parts, parts_losses) = (
            run_steps(fields, batches, devices=4, double=True) for fields in (config, split)
        )
    np.testing.assert_allclose(parts_losses, losses, rtol=1e-12)
    for a, b in zip(*map(jax.tree.leaves, (parts, whole)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * np.abs(b).max())


def test_four_devices_see_the_loss_of_one(config):
    for seed in range(3):
        one, four = (run_steps(config, [make_batch(8, seed=seed)], devices)[1] for devices in (1, 4))
        np.testing.assert_allclose(four, one, rtol=1e-6)


def test_accumulated_gradients_are_the_mean_of_the_parts(config):
    """With frozen statistics the parts do not see each other, so the step must be that of the whole batch."""
    frozen = config.copy_and_resolve_references()
    frozen.model.norm_frozen = True
    in_parts = frozen.copy_and_resolve_references()
    in_parts.accumulation = 4
    (whole, whole_losses), (parts, parts_losses) = (run_steps(c, [make_batch(8)]) for c in (frozen, in_parts))
    np.testing.assert_allclose(parts_losses, whole_losses, rtol=1e-6)
    first_moment = [optimizer_state[0].mu for optimizer_state in (whole.opt_state, parts.opt_state)]
    for a, b in zip(*map(jax.tree.leaves, first_moment), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max() + 1e-12)


def test_accumulation_updates_statistics_part_by_part(config):
    in_parts = config.copy_and_resolve_references()
    in_parts.accumulation = 2
    state, _ = run_steps(in_parts, [make_batch(8)])
    assert int(state.step) == 1
    weight = training.init_variables(models.build(config), (64, 32), 0)["params"]["conv1"]["weight"]
    images = jnp.asarray(make_batch(8)["image"])

    x = layers.Conv(config.model.stem, stride=2).apply({"params": {"weight": weight}}, layers.normalize(images))
    halves = [np.asarray(x[start::2]).mean((0, 1, 2)) for start in (0, 1)]
    expected = 0.9 * (0.1 * halves[0]) + 0.1 * halves[1]
    np.testing.assert_allclose(state.batch_stats["bn1"]["running_mean"], expected, atol=1e-6)


def test_averaging_gradients_in_bfloat16_adds_less_than_a_thousandth_of_their_variance(config, made_up_records):
    """TPUs average the gradients of bfloat16 runs in bfloat16. Here eight devices are added one after another."""
    config = config.copy_and_resolve_references()
    config.data.dir, config.model.dtype = str(made_up_records), "bfloat16"
    task = top_down.TopDown(config)
    variables, gradients = task.init(), jax.jit(training.make_gradients(task.loss))

    def flat(batch: dict[str, np.ndarray]) -> np.ndarray:
        found, _ = gradients(variables["params"], variables["batch_stats"], batch)
        return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(found)])

    with contextlib.closing(task.examples().batches(0)) as batches:
        devices = np.stack([flat(next(batches)) for _ in range(8)])
    mean, total = devices.mean(0), functools.reduce(np.add, devices.astype(jnp.bfloat16))
    error = np.sum((total.astype(np.float32) / 8 - mean) ** 2)
    variance = np.sum((devices - mean) ** 2) / (8 * 7)  # of the mean, since the devices see different people
    assert 0 < error < 1e-3 * variance


def test_unknown_loss_is_refused(config):
    other = config.copy_and_resolve_references()
    other.loss = "wing"
    with pytest.raises(ValueError, match=r"'wing'.*mse, ohkm"):
        top_down.TopDown(other)
