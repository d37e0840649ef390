import jax
import numpy as np
import pytest

from hrnet_jax import sharding, state_hash


@pytest.fixture
def state():
    random = np.random.default_rng(0)
    kernel, bias = random.standard_normal((3, 4, 8), np.float32), random.standard_normal(8, np.float32)
    return {"kernel": kernel, "bias": bias, "step": np.array(7, np.int32)}


def of(state):
    return state_hash.compute(jax.tree.map(jax.numpy.asarray, state))


def test_a_single_bit_makes_another_fingerprint(state):
    before = of(state)
    random = np.random.default_rng(1)
    for _ in range(50):
        name = random.choice(["kernel", "bias"])
        changed = state[name].copy()
        changed.view(np.uint32).reshape(-1)[random.integers(changed.size)] ^= np.uint32(1 << random.integers(32))
        assert of(state | {name: changed}) != before
    assert of(state) == before


def test_order_and_names_count(state):
    assert of(state | {"bias": state["bias"][::-1].copy()}) != of(state)
    assert of({"other": state["bias"]}) != of({"bias": state["bias"]})


def test_it_is_the_same_on_any_devices(state):
    before = of(state)
    mesh = sharding.make_mesh()
    assert state_hash.compute(sharding.place_state(state, mesh)) == before
    split = jax.device_put(state["kernel"], jax.sharding.NamedSharding(mesh, jax.P(None, "data")))
    assert not split.is_fully_replicated
    assert state_hash.compute(jax.tree.map(jax.numpy.asarray, state) | {"kernel": split}) == before


def test_eight_byte_numbers_count_whole():
    with jax.enable_x64(True):
        a = jax.numpy.array([1.0, 2.0])
        b = jax.numpy.array([1.0, np.nextafter(2.0, 3.0)])
        assert state_hash.compute({"a": a}) != state_hash.compute({"a": b})
