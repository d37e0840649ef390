import jax
import numpy as np
import pytest

from configs import default
from hrnet_jax import models
from hrnet_jax.performance import race, start, step


@pytest.fixture(scope="module")
def config():
    config = default.get_config()
    config.image_size = (64, 32)
    config.model.update(width=4, stem=8, units=(1, 1, 1), blocks=1)
    return config


def test_a_made_up_batch_is_what_training_takes(config):
    batch = step.made_up_batch(config, 3)
    assert batch["image"].shape == (3, 64, 32, 3) and batch["image"].dtype == np.uint8
    assert batch["joints"].shape == (3, 17, 2) and set(np.unique(batch["visible"])) == {0, 1}
    assert (batch["joints"] >= 0).all() and (batch["joints"] <= (32, 64)).all()


def test_ours_trains_and_predicts_a_batch_at_a_time(config):
    for contender in (step.ours_training(config, 4), step.ours_prediction(config, 4)):
        assert contender() == contender() == 4


def test_the_compilers_count_is_that_of_the_convolutions(config):
    """Forward, and backward twice as much; what is not a convolution counts little even in so small a network."""
    found = step.cost(config, 8)
    by_hand = 3 * 2 * 8 // jax.device_count() * models.count_multiply_adds(models.build(config), (64, 32))
    assert set(found) == {"operations", "bytes", "memory"}
    assert 0.9 < found["operations"] / by_hand < 1.5
    assert found["bytes"] > found["memory"] > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_twin_takes_part(config, dtype):
    pytest.importorskip("torch", reason="the contender is PyTorch: pip install torch")
    config = config.copy_and_resolve_references()
    config.model.dtype = dtype
    for train in (True, False):
        found = step.measure(config, 4, rounds=2, train=train, compiled=False)
        assert list(found.rates) == [step.OURS, step.EAGER, step.CHANNELS_LAST]
        medians = {name: np.median(rates) for name, rates in found.rates.items()}
        assert found.reference == max((step.EAGER, step.CHANNELS_LAST), key=medians.__getitem__)
        assert dtype in race.table(found)


def test_a_start_is_taken_apart_and_the_second_is_not_compiled_again():
    small = ["--config.image_size=(64,32)", "--config.model.width=4", "--config.model.stem=8"]
    small += ["--config.model.units=(1,1,1)", "--config.model.blocks=1"]
    found = start.measure("configs/default.py", small, 2)
    assert set(found) == {"cold", "cached"}
    assert all(tuple(stages) == start.STAGES and min(stages.values()) >= 0 for stages in found.values())
    assert found["cached"]["compile"] < found["cold"]["compile"]
