import jax
import numpy as np
import pytest

from hrnet_jax import losses


@pytest.fixture(scope="module")
def codec(shared) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "conformance/codec.npz"))


@pytest.mark.parametrize(
    ("loss", "name", "weighted"),
    [(losses.mse, "mse", True), (losses.mse, "mse_unweighted", False), (losses.ohkm, "ohkm_top8", True)],
)
def test_losses_are_the_originals(codec, loss, name, weighted):
    heatmaps, targets = (codec[key].transpose(0, 2, 3, 1) for key in ("decode/heatmaps", "pck/target"))
    weights = codec["loss/weight"][..., 0].astype(np.float32)
    weights = weights if weighted else np.ones_like(weights)
    np.testing.assert_allclose(jax.jit(loss)(heatmaps, targets, weights).mean(), codec[f"loss/{name}"], rtol=1e-6)


def test_joints_of_weight_zero_have_no_gradient():
    random = np.random.default_rng(0)
    heatmaps, targets = random.standard_normal((2, 2, 4, 4, 3)).astype(np.float32)
    weights = np.array([[0, 1, 1], [1, 0, 1]], np.float32)
    gradient = jax.grad(lambda *batch: losses.mse(*batch).mean())(heatmaps, targets, weights)
    np.testing.assert_array_equal(np.abs(gradient).sum((1, 2)) > 0, weights > 0)


def test_ohkm_is_the_mean_of_the_largest_errors():
    targets = np.zeros((1, 2, 2, 10), np.float32)
    heatmaps = np.broadcast_to(np.arange(10, dtype=np.float32), targets.shape)
    expected = np.mean([0.5 * k**2 for k in range(2, 10)])
    np.testing.assert_allclose(losses.ohkm(heatmaps, targets, np.ones((1, 10), np.float32)).mean(), expected)


def test_ohkm_keeps_as_many_joints_as_given():
    random = np.random.default_rng(1)
    heatmaps, targets = random.standard_normal((2, 3, 4, 4, 6)).astype(np.float32)
    weights = np.ones((3, 6), np.float32)
    errors = np.sort(losses.mse(heatmaps, targets, weights), axis=1)
    for hardest in (1, 4, 6):
        kept = losses.ohkm(heatmaps, targets, weights, hardest)
        np.testing.assert_allclose(np.mean(kept, 1), errors[:, -hardest:].mean(1), rtol=1e-6)
    for hardest in (0, 7):
        with pytest.raises(ValueError, match=rf"`hardest` \(={hardest}\) must be from 1 to .* joints, 6"):
            losses.ohkm(heatmaps, targets, weights, hardest)


def test_the_hardest_joints_are_cpns(shared):
    """The reference's OHKM of given losses: the hardest joints' sum, by their number, averaged over people."""
    with np.load(shared / "conformance/cpn/codec.npz") as numbers:
        per_joint, top8, top17 = (numbers[f"ohkm/{name}"] for name in ("per_joint", "top8", "top17"))
    heatmaps = np.sqrt(2 * per_joint)[:, None, None].astype(np.float32)
    arguments = heatmaps, np.zeros_like(heatmaps), np.ones(per_joint.shape, np.float32)
    np.testing.assert_allclose(losses.ohkm(*arguments).mean(), top8, rtol=1e-6)
    np.testing.assert_allclose(losses.ohkm(*arguments, 17).mean(), top17, rtol=1e-6)


def test_half_the_squared_error_is_averaged_over_joints_of_weight_zero_too():
    heatmaps, targets = np.full((1, 4, 4, 2), 3.0, np.float32), np.zeros((1, 4, 4, 2), np.float32)
    np.testing.assert_allclose(losses.mse(heatmaps, targets, np.ones((1, 2), np.float32)), [[4.5, 4.5]])
    np.testing.assert_allclose(losses.mse(heatmaps, targets, np.array([[1, 0]], np.float32)), [[4.5, 0]])


def test_weights_are_squared_since_they_scale_the_differences():
    heatmaps, targets = np.full((1, 4, 4, 2), 3.0, np.float32), np.zeros((1, 4, 4, 2), np.float32)
    np.testing.assert_allclose(
        losses.mse(heatmaps, targets, np.array([[1.5, 1.2]], np.float32)), [[10.125, 6.48]], rtol=1e-6
    )


def test_ohkm_keeps_the_hardest_joints_of_each_person_and_their_mean():
    random = np.random.default_rng(1)
    heatmaps, targets = random.standard_normal((2, 3, 4, 4, 17)).astype(np.float32)
    weights = random.uniform(size=(3, 17)).astype(np.float32)
    errors, kept = losses.mse(heatmaps, targets, weights), losses.ohkm(heatmaps, targets, weights)
    expected = np.sort(errors, axis=1)[:, -losses.HARDEST_JOINTS :]
    np.testing.assert_allclose(np.mean(kept, 1), expected.mean(1), rtol=1e-6)
    np.testing.assert_array_equal(np.sum(np.asarray(kept) > 0, 1), losses.HARDEST_JOINTS)
