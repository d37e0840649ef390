import re

import jax
import numpy as np
import pytest

from hrnet_jax import models
from hrnet_jax.benchmark import workload


def test_a_made_up_batch_has_the_layout_of_training_batches(tiny_config):
    batch = workload.made_up_batch(tiny_config, 3)
    assert batch["image"].shape == (3, 64, 32, 3) and batch["image"].dtype == np.uint8
    assert batch["joints"].shape == (3, 17, 2) and set(np.unique(batch["visible"])) == {0, 1}
    assert (batch["joints"] >= 0).all() and (batch["joints"] <= (32, 64)).all()


def test_contenders_train_and_predict_one_batch_per_turn(tiny_config, compiled_step):
    for contender in (workload.train(tiny_config, compiled_step), workload.predict(tiny_config)):
        assert contender() == contender() == 8


def test_the_compiler_counts_the_operations_of_the_convolutions(tiny_config, compiled_step):
    """The backward pass counts twice. Other operations are few even in so small a network."""
    found = workload.cost(compiled_step)
    by_hand = 3 * 2 * 8 // jax.device_count() * models.count_multiply_adds(models.build(tiny_config), (64, 32))
    assert set(found) == {"operations", "bytes", "memory"}
    assert 0.9 < found["operations"] / by_hand < 1.5
    assert found["bytes"] > found["memory"] > 0


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="this is about XLA's compiler for CPUs")
def test_no_layer_recomputes_the_layers_before_it(compiled_step):
    """Recomputation shows in fusions with an operand per earlier block: 51 with ``jax.nn.relu``, 18 without.

    The fusion that combines the finiteness flags of all gradients recomputes nothing and does not count.
    """
    operands = re.findall(r"= (?!f32\[\] )\S+ fusion\((.*?)\), kind", compiled_step.as_text())
    assert len(operands) > 100
    assert max(text.count("%") for text in operands) <= 20


def test_batch_sizes_are_replaced_and_must_suit_the_devices(tiny_config):
    config = tiny_config.copy_and_resolve_references()
    config.accumulation = 4
    resized = workload.with_batch_size(config, 12)
    assert (resized.batch_size, resized.accumulation) == (12, 1) and config.accumulation == 4
    with pytest.raises(ValueError, match=r"`batch_size` \(=3\) must be a multiple of 4"):
        workload.with_batch_size(config, 3)
