import jax
import jax.numpy as jnp
import made_weights
import numpy as np

from examples import ensemble, functions, start


def test_an_ensemble_predicts_what_its_members_predict(small):
    members = [start.random_variables(small.model, seed) for seed in range(3)]
    predict = functions.make_predict(small.model)
    together = jax.jit(ensemble.ensemble(predict))(ensemble.stack(members), small.batch["image"])
    separately = jnp.stack([jax.jit(predict)(member, small.batch["image"]) for member in members])
    assert together.shape == (3, 4, 16, 16, 17)
    np.testing.assert_allclose(together, separately, rtol=1e-5, atol=1e-5)
    assert jnp.abs(together[0] - together[1]).max() > 0.1


def test_a_random_ensemble_has_four_members_and_checkpoints_have_as_many_as_there_are(small, tmp_path):
    _, stacked = ensemble.from_arguments(None, ["--people", "1"])
    assert stacked["params"]["conv1"]["weight"].shape[0] == 4
    path = str(made_weights.file(tmp_path / "tiny.safetensors", made_weights.tensors()))
    _, stacked = ensemble.from_arguments(None, ["--people", "1", "--checkpoint", path, "--members", path])
    assert stacked["params"]["conv1"]["weight"].shape[0] == 2
