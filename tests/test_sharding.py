import jax
import numpy as np
import pytest

from hrnet_jax import sharding


def test_the_batch_is_split_and_the_state_copied():
    mesh = sharding.make_mesh()
    batch = sharding.place_batch({"image": np.arange(8 * 2).reshape(8, 2)}, mesh)
    assert [len(shard.data) for shard in batch["image"].addressable_shards] == [2] * 4
    np.testing.assert_array_equal(batch["image"], np.arange(16).reshape(8, 2))
    state = sharding.place_state({"weight": np.ones(3)}, mesh)
    assert [shard.data.shape for shard in state["weight"].addressable_shards] == [(3,)] * 4


def test_what_was_placed_survives_donation():
    weights = {"weight": jax.numpy.ones(3)}
    placed = sharding.place_state(weights, sharding.make_mesh(jax.devices()[:1]))
    jax.jit(lambda x: jax.tree.map(lambda y: y + 1, x), donate_argnums=0)(placed)
    np.testing.assert_array_equal(weights["weight"], np.ones(3))


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
