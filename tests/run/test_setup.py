import jax
import numpy as np
import optax
import pytest

from configs import default
from hrnet_jax import optimizer, prepare, sharding, skeletons, tasks, training
from hrnet_jax.datasets.made_up import dataset
from hrnet_jax.run import setup
from hrnet_jax.torch_interop import loading, state_dict


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("made_up")
    dataset.write(root / "photos", train_photos=4, val_photos=2, workers=1)
    prepare.prepare_coco(root / "photos", root / "records")
    config = default.get_config()
    config.data.dir = str(root / "records")
    config.image_size, config.batch_size, config.epochs, config.eval_every = (32, 32), 4, 3, 2
    config.model.update(width=4, stem=4, units=(1, 0, 0), blocks=1, norm_group_size=0)
    return config


def changed(config, **fields):
    other = config.copy_and_resolve_references()
    other.update_from_flattened_dict(fields)
    return other


def test_what_is_due_when(config):
    run = setup.prepare(config)
    per_epoch = run.steps_per_epoch
    assert per_epoch == -(-len(run.examples) // 4) and run.steps == 3 * per_epoch
    evaluated = [step for step in range(run.steps + 1) if run.evaluates(step)]
    assert evaluated == [2 * per_epoch, 3 * per_epoch]
    assert [step for step in range(1, run.steps + 1) if run.due(step, 10**6)] == [run.steps]
    assert run.evaluation.logged_score == "val2017/gt_boxes/AP"


def test_the_optimizer_follows_the_configuration(config):
    fields = {"learning_rate": 0.5, "learning_rate_drops": (1.5,), "warmup_steps": 4, "weight_decay": 0.25}
    with pytest.warns(UserWarning, match="weight_decay"), jax.numpy_dtype_promotion("standard"):
        schedule, adam = optimizer.build(changed(config, **fields), steps_per_epoch=10)
        rates = [schedule(step) for step in (0, 1, 3, 14, 15)]
        np.testing.assert_allclose(rates, [0.125, 0.25, 0.5, 0.5, 0.05], rtol=1e-6)
        weights = jax.numpy.full(2, 3.0)
        updates, _ = adam.update(jax.numpy.zeros(2), adam.init(weights), weights)
        np.testing.assert_allclose(updates, [-0.125, -0.125], rtol=1e-4)


@pytest.mark.parametrize(("accumulation", "skip", "decay"), [(1, 0, 0.0), (4, 2, 0.5)])
def test_the_step_follows_the_configuration(config, monkeypatch, accumulation, skip, decay):
    made = {}
    monkeypatch.setattr(training, "make_train_step", lambda *given, **options: made.update(options, loss=given[0]))
    fields = changed(config, accumulation=accumulation, skip_not_finite=skip, average_decay=decay)
    task = tasks.build(fields)
    setup.make_train_step(fields, task, optax.identity(), sharding.make_mesh())
    expected = {"accumulation": accumulation, "skip_non_finite": skip > 0, "average_decay": decay}
    assert made == {**expected, "loss": task.loss}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"average_decay": 1.0}, r"`average_decay` \(=1.0\) must be at least 0 and below 1"),
        ({"eval.averaged": True}, "`eval.averaged` needs a moving average of the weights"),
        ({"joint_weights": (1.0,)}, r"`joint_weights` \(=\(1.0,\)\) must be 17 numbers"),
    ],
)
def test_mistakes_are_refused_before_anything_is_computed(config, fields, message):
    with pytest.raises(ValueError, match=message):
        setup.prepare(changed(config, **fields))


def test_both_splits_have_digests(config):
    assert setup.digests(setup.prepare(config)).keys() == {"train2017", "val2017"}


def test_a_run_starts_from_weights_without_a_head_but_not_without_more(config, tmp_path):
    tensors = loading.to_pytorch(setup.prepare(config).task.init())
    for missing in ("final_layer", "conv2"):
        kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(missing)}
        state_dict.write(tmp_path / f"{missing}.safetensors", kept, {})
    setup.first_state(setup.prepare(changed(config, init_from=str(tmp_path / "final_layer.safetensors"))))
    with pytest.raises(ValueError, match=r"conv2.weight: not in the checkpoint"):
        setup.first_state(setup.prepare(changed(config, init_from=str(tmp_path / "conv2.safetensors"))))


def test_the_heads_channels_are_carried_over_by_the_names_of_joints(config, tmp_path):
    joints = list(skeletons.COCO.joints)
    tensors = loading.to_pytorch(setup.prepare(config).task.init())
    tensors["final_layer.bias"] = np.arange(1, len(joints) + 1, dtype=np.float32)
    state_dict.write(tmp_path / "other.safetensors", tensors, {"joints": [*joints[:0:-1], "snout"]})
    state = setup.first_state(setup.prepare(changed(config, init_from=str(tmp_path / "other.safetensors"))))
    np.testing.assert_array_equal(state.params["final_layer"]["bias"], [0, *range(len(joints) - 1, 0, -1)])


def test_the_first_state_lies_on_all_devices(config):
    run = setup.prepare(config)
    state = setup.first_state(run)
    leaf = jax.tree.leaves(state.params)[0]
    assert leaf.sharding == sharding.replicated(run.mesh) and int(state.step) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("log_every", 0), ("skip_not_finite", -1), ("loader.workers", -1), ("model.width", -4)],
)
def test_numbers_that_make_no_sense_are_named(config, name, value):
    with pytest.raises(ValueError, match=rf"`{name}` \(={value}\) must be at least"):
        setup.prepare(changed(config, **{name: value}))


def test_a_field_that_is_missing_is_named_before_the_run_begins(config):
    poor = config.copy_and_resolve_references().unlock()
    del poor.skip_not_finite
    with pytest.raises(ValueError, match="the configuration has no skip_not_finite"):
        setup.prepare(poor)
