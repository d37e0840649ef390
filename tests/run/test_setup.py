import jax
import pytest

from configs import default
from hrnet_jax import prepare, sharding
from hrnet_jax.datasets.made_up import dataset
from hrnet_jax.run import setup


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("made_up")
    dataset.write(root / "photos", train_photos=4, val_photos=2, workers=1)
    prepare.prepare_coco(root / "photos", root / "records")
    config = default.get_config()
    config.data.dir = str(root / "records")
    config.image_size, config.batch_size, config.epochs, config.eval_every = (32, 32), 4, 3, 2
    config.model.update(width=4, units=(1, 1, 1), blocks=1, norm_group_size=0)
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
