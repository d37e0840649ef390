import contextlib
import re

import jax
import numpy as np
import pytest

from configs import default
from hrnet_jax import models, sharding
from hrnet_jax.benchmark import race, start, step
from hrnet_jax.run import setup


@pytest.fixture(scope="module")
def config():
    config = default.get_config()
    config.image_size, config.batch_size = (64, 32), 8
    config.model.update(width=4, stem=8, units=(1, 1, 1), blocks=1)
    return config


def test_a_made_up_batch_is_what_training_takes(config):
    batch = step.made_up_batch(config, 3)
    assert batch["image"].shape == (3, 64, 32, 3) and batch["image"].dtype == np.uint8
    assert batch["joints"].shape == (3, 17, 2) and set(np.unique(batch["visible"])) == {0, 1}
    assert (batch["joints"] >= 0).all() and (batch["joints"] <= (32, 64)).all()


@pytest.fixture(scope="module")
def compiled(config):
    return setup.compile_step(config, step.adam(config), sharding.make_mesh())


def test_ours_trains_and_predicts_a_batch_at_a_time(config, compiled):
    for contender in (step.ours_training(config, compiled), step.ours_prediction(config, 8)):
        assert contender() == contender() == 8


def test_the_compilers_count_is_that_of_the_convolutions(config, compiled):
    """Forward, and backward twice as much; what is not a convolution counts little even in so small a network."""
    found = step.cost(compiled)
    by_hand = 3 * 2 * 8 // jax.device_count() * models.count_multiply_adds(models.build(config), (64, 32))
    assert set(found) == {"operations", "bytes", "memory"}
    assert 0.9 < found["operations"] / by_hand < 1.5
    assert found["bytes"] > found["memory"] > 0


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="this is about XLA's compiler for CPUs")
def test_no_layer_computes_again_what_the_layers_before_it_did(compiled):
    """Else a fused operation reads what every block before it left: 51 of them with ``jax.nn.relu``, not 18.

    What joins the layers' gradients to one flag computes nothing again.
    """
    operands = re.findall(r"= (?!f32\[\] )\S+ fusion\((.*?)\), kind", compiled.as_text())
    assert len(operands) > 100
    assert max(text.count("%") for text in operands) <= 20


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_twin_takes_part(config, compiled, dtype):
    pytest.importorskip("torch", reason="the contender is PyTorch: pip install torch")
    config = config.copy_and_resolve_references()
    config.model.dtype = dtype
    for train in (True, False):
        ours = step.ours_training(config, compiled) if train else step.ours_prediction(config, 8)
        found = step.measure(config, 2, ours, train=train, theirs=True)
        others = [step.EAGER, step.CHANNELS_LAST] + [step.LOOPS] * (not train)
        assert list(found.rates) == [race.OURS, *others]
        medians = {name: np.median(rates) for name, rates in found.rates.items()}
        assert found.reference == max(others, key=medians.__getitem__)
        assert dtype in race.table(found)


def test_what_runs_out_of_memory_is_left_out(config, monkeypatch, capsys):
    def too_large() -> int:
        raise RuntimeError("CUDA out of memory. Tried to allocate 80 GiB")

    others = {step.EAGER: lambda: 8, step.CHANNELS_LAST: too_large}
    monkeypatch.setattr(step, "pytorch", lambda *_, **__: contextlib.nullcontext(others))
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda _: True)
    for ours, theirs, names in (
        (lambda: 8, True, [race.OURS, step.EAGER]),
        (None, True, [step.EAGER]),
        (lambda: 8, False, [race.OURS]),
    ):
        found = step.measure(config, 2, ours, train=True, theirs=theirs)
        assert list(found.rates) == names and found.reference == names[-1]
    assert f"{step.CHANNELS_LAST}: left out" in capsys.readouterr().out
    others[step.EAGER] = too_large
    with pytest.raises(ValueError, match=r"nothing fits into the device's memory at batch 8"):
        step.measure(config, 2, None, train=True, theirs=True)
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="is not installed: pip install torch"):
        step.measure(config, 2, None, train=True, theirs=True)


def test_other_mistakes_are_not_taken_for_too_little_memory(config):
    def wrong() -> int:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        step.measure(config, 2, wrong, train=True, theirs=False)


def test_batches_are_of_the_size_asked_for_and_for_the_devices(config):
    config = config.copy_and_resolve_references()
    config.accumulation = 4
    sized = step.sized(config, 12)
    assert (sized.batch_size, sized.accumulation) == (12, 1) and config.accumulation == 4
    with pytest.raises(ValueError, match=r"`batch_size` \(=3\) must be a multiple of 4"):
        step.sized(config, 3)


def test_a_start_is_taken_apart():
    small = ["--config.image_size=(64,32)", "--config.model.width=4", "--config.model.stem=8"]
    small += ["--config.model.units=(1,1,1)", "--config.model.blocks=1"]
    found = start.measure("configs/default.py", small, 2)
    assert set(found) == {"cold", "cached"}
    assert all(tuple(stages) == start.STAGES and min(stages.values()) >= 0 for stages in found.values())
