import jax
import numpy as np
import pytest

from hrnet_jax import sharding, state_hash


@pytest.fixture
def state():
    random = np.random.default_rng(0)
    kernel, bias = random.standard_normal((3, 4, 8), np.float32), random.standard_normal(8, np.float32)
    return {"kernel": kernel, "bias": bias, "step": np.array(7, np.int32)}


def fingerprint(state):
    return state_hash.compute(jax.tree.map(jax.numpy.asarray, state))


def test_a_single_bit_changes_the_fingerprint(state):
    before = fingerprint(state)
    random = np.random.default_rng(1)
    for _ in range(50):
        name = random.choice(["kernel", "bias"])
        changed = state[name].copy()
        changed.view(np.uint32).reshape(-1)[random.integers(changed.size)] ^= np.uint32(1 << random.integers(32))
        assert fingerprint(state | {name: changed}) != before
    assert fingerprint(state) == before


def test_order_and_names_change_the_fingerprint(state):
    assert fingerprint(state | {"bias": state["bias"][::-1].copy()}) != fingerprint(state)
    assert fingerprint({"other": state["bias"]}) != fingerprint({"bias": state["bias"]})


def test_the_fingerprint_does_not_depend_on_devices(state):
    before = fingerprint(state)
    mesh = sharding.make_mesh()
    assert state_hash.compute(sharding.place_state(state, mesh)) == before
    split = jax.device_put(state["kernel"], jax.sharding.NamedSharding(mesh, jax.P(None, "data")))
    assert not split.is_fully_replicated
    assert state_hash.compute(jax.tree.map(jax.numpy.asarray, state) | {"kernel": split}) == before


def test_all_bytes_of_eight_byte_numbers_count():
    with jax.enable_x64(True):
        a = jax.numpy.array([1.0, 2.0])
        b = jax.numpy.array([1.0, np.nextafter(2.0, 3.0)])
        assert state_hash.compute({"a": a}) != state_hash.compute({"a": b})
