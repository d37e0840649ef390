"""The measured work on whole photos: PyTorch's side computes what ours does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import demo_bottom_up
from hrnet_jax import sharding, tasks
from hrnet_jax.benchmark import race, step, whole_photos, workload
from hrnet_jax.bottom_up import aggregation, decoding, losses
from hrnet_jax.run import setup
from hrnet_jax.skeletons import COCO
from hrnet_jax.tasks import bottom_up

NEEDS_TORCH = "the contender is PyTorch: pip install torch"
SIZE, JOINTS = 64, COCO.num_joints


@pytest.fixture(scope="module")
def config():
    config = demo_bottom_up.get_config()
    config.image_size, config.batch_size = (SIZE, SIZE), 4
    config.model.update(width=4, stem=4, units=(1, 0, 0), norm_group_size=0)
    return config


def outputs(count: int, seed: int = 0) -> list[np.ndarray]:
    """Outputs of both heads, ``[B, h, w, C]``."""
    random = np.random.default_rng(seed)
    shapes = (count, SIZE // 4, SIZE // 4, 2 * JOINTS), (count, SIZE // 2, SIZE // 2, JOINTS)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def as_torch(arrays: list[np.ndarray]) -> list:
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    return [torch.from_numpy(np.moveaxis(array, 3, 1).copy()) for array in arrays]


def test_a_made_up_batch_has_the_inputs_of_a_step(config):
    batch, inputs = workload.made_up_batch(config, config.batch_size), tasks.build(config).inputs()
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
        name: (expected.shape, expected.dtype) for name, expected in inputs.items()
    }
    people = batch["visible"].any(axis=2)
    assert (people.sum(axis=1) == whole_photos.PEOPLE).all() and people[:, : whole_photos.PEOPLE].all()


@pytest.mark.parametrize("similarity", losses.SIMILARITIES)
def test_the_losses_of_both_sides_are_equal(config, similarity):
    config.tag_similarity = similarity
    found = outputs(config.batch_size)
    batch = {name: jnp.asarray(array) for name, array in workload.made_up_batch(config, config.batch_size).items()}
    expected, _ = losses.batch_loss(
        [*map(jnp.asarray, found)],
        batch,
        sigma=config.heatmap.sigma,
        similarity=config.tag_similarity,
        tag_factor=config.tag_factor,
    )
    torch_outputs = as_torch(found)
    for output in torch_outputs:
        output.requires_grad_()
    loss = whole_photos.torch_loss(config, "cpu")(torch_outputs)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-5)
    loss.backward()
    assert torch_outputs[0].grad[:, JOINTS:].abs().sum() > 0  # push and pull


def test_the_candidates_of_both_sides_are_equal(config):
    passes = outputs(2), outputs(2, seed=1)
    maps = aggregation.merge_passes(passes, COCO.flip_order.tolist())
    maps = aggregation.merge_scales([maps], (1,), (SIZE, SIZE))
    expected = jax.vmap(decoding.candidates)(maps)
    both = [np.concatenate(heads) for heads in zip(*passes, strict=True)]
    found = whole_photos.torch_candidates(config)(as_torch(both)).numpy()
    np.testing.assert_allclose(found[:, 0], expected.values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.moveaxis(found[:, 1:], 1, 3), expected.tags, rtol=1e-3, atol=1e-4)


def test_scales_and_flip_test_are_the_same_whatever_is_configured(config):
    other = config.copy_and_resolve_references()
    other.eval.scales, other.eval.flip_test, other.eval.full_size = (0.5, 1.0), False, False
    assert whole_photos._settings(other) == whole_photos._settings(config)
    assert whole_photos._settings(config) == dataclasses.replace(bottom_up.make_settings(config), scales=(1,))


@pytest.mark.parametrize("train", [True, False])
def test_photos_are_counted(config, train):
    pytest.importorskip("torch", reason=NEEDS_TORCH)
    if train:
        compiled = setup.compile_step(config, workload.transformation(config), sharding.make_mesh())
        ours = workload.train(config, compiled)
    else:
        ours = workload.predict(config)
    assert ours() == 4
    result = step.measure(config, 1, ours, train=train, pytorch=True)
    assert list(result.rates) == [race.OURS, step.EAGER, step.CHANNELS_LAST] and result.unit == "photos"
    assert "HigherHRNet-W4 64x64" in result.title


def test_loading_of_whole_photos_is_not_measured(config):
    with pytest.raises(ValueError, match=r"`model.name` \(='higher_hrnet'\) reads whole photos.*measure step"):
        workload.train_split(config)
