from typing import Any

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from hrnet_jax import checkpoint, sharding, training


def test_the_batch_is_split_and_the_state_replicated():
    mesh = sharding.make_mesh()
    batch = sharding.place_batch({"image": np.arange(8 * 2).reshape(8, 2)}, mesh)
    assert [len(shard.data) for shard in batch["image"].addressable_shards] == [2] * 4
    np.testing.assert_array_equal(batch["image"], np.arange(16).reshape(8, 2))
    state = sharding.place_state({"weight": np.ones(3)}, mesh)
    assert [shard.data.shape for shard in state["weight"].addressable_shards] == [(3,)] * 4


def test_the_original_of_a_placed_state_survives_donation():
    weights = {"weight": jax.numpy.ones(3)}
    placed = sharding.place_state(weights, sharding.make_mesh(jax.devices()[:1]))
    jax.jit(lambda x: jax.tree.map(lambda y: y + 1, x), donate_argnums=0)(placed)
    np.testing.assert_array_equal(weights["weight"], np.ones(3))


def make_state() -> training.TrainState:
    random = np.random.default_rng(0)
    weights = {"wide": (3, 3, 16, 64), "odd": (3, 3, 33, 35), "small": (64,)}
    params = {name: random.standard_normal(shape, np.float32) for name, shape in weights.items()}
    variables = {"params": params, "batch_stats": {"mean": np.ones(2048, np.float32)}}
    state = training.init_state(variables, optax.adam(1.0))
    drawn = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(leaf.dtype), state.opt_state)
    return state.replace(opt_state=drawn)  # pyright: ignore[reportAttributeAccessIssue]


def moment_shapes(state: Any) -> dict[str, set[tuple[int, ...]]]:
    """The shapes of the shards of each weight's first moment."""
    moments = state.opt_state[0].mu
    return {name: {shard.data.shape for shard in leaf.addressable_shards} for name, leaf in moments.items()}


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((3, 3, 16, 64), (None, None, None, "data")),
        ((3, 3, 64, 16), (None, None, "data")),
        ((3, 3, 33, 36), (None, None, None, "data")),
        ((32, 32), (None, "data")),
        ((33, 35), ()),
        ((1020,), ()),
        ((1024,), ("data",)),
        ((), ()),
    ],
)
def test_the_longest_divisible_axis_is_split(shape, axes):
    assert sharding.split(shape, sharding.make_mesh()).spec == PartitionSpec(*axes)


def test_only_the_optimizer_state_is_split():
    state, mesh = make_state(), sharding.make_mesh()
    placed = sharding.place_state(state, mesh, fsdp=True)
    jax.tree.map(np.testing.assert_array_equal, placed, state)
    assert moment_shapes(placed) == {"wide": {(3, 3, 16, 16)}, "odd": {(3, 3, 33, 35)}, "small": {(64,)}}
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves((placed.params, placed.batch_stats)))
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(sharding.place_state(state, mesh)))


@pytest.mark.parametrize(("before", "after"), [(4, 1), (4, 2), (2, 4), (1, 4)])
@pytest.mark.parametrize("fsdp", [False, True])
def test_a_split_state_is_restored_on_other_devices(tmp_path, before, after, fsdp):
    state, meshes = (
        make_state(),
        [sharding.make_mesh(jax.devices()[:count]) for count in (before, after)],
    )
    saved = checkpoint.Checkpoints(tmp_path, {})
    saved.save(sharding.place_state(state, meshes[0], fsdp=True), 1)
    saved.close()
    where = sharding.state_sharding(state, meshes[1], fsdp)
    like = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, where)
    again = checkpoint.Checkpoints(tmp_path, {})
    found = again.restore(like)
    assert found is not None
    restored = found.state
    again.close()
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    assert jax.tree.map(lambda leaf: leaf.sharding, restored) == where
    assert moment_shapes(restored)["wide"] == {(3, 3, 16, 64 // after if fsdp else 64)}


@pytest.mark.parametrize(
    ("batch_size", "parts", "message"),
    [
        (10, 1, r"`batch_size` \(=10\) must be a multiple of 4: 4 devices; nearest is 8 or 12"),
        (4, 2, r"`batch_size` \(=4\) must be a multiple of 8: 4 devices times 2 accumulated parts; nearest is 8"),
        (0, 1, r"`batch_size` \(=0\) .* nearest is 4"),
    ],
)
def test_a_batch_that_cannot_be_split_is_refused(batch_size, parts, message):
    with pytest.raises(ValueError, match=message):
        sharding.check_batch_size("batch_size", batch_size, parts, sharding.make_mesh())


def test_a_batch_that_can_be_split_is_accepted():
    sharding.check_batch_size("batch_size", 16, 2, sharding.make_mesh())
