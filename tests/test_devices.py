import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn

from hrnet_jax import devices, inference, sharding, training


def test_peaks_are_those_of_dense_bfloat16():
    """In T operations a second, as the makers state them without sparsity."""
    peaks = {name: chip.operations / 1e12 for name, chip in devices.CHIPS.items()}
    assert peaks == {"TPU v4": 275, "TPU v5e": 197, "TPU v5p": 459, "TPU v6e": 918, "H100, H200": 989}


def test_tpus_are_found_by_the_kind_of_their_devices():
    name, chip = devices.find("TPU v5 lite")
    assert name == "TPU v5e" and chip.memory == 16 * 2**30
    assert [devices.find(kind)[0] for kind in ("TPU v4", "TPU v5", "TPU v6 lite")] == [
        "TPU v4", "TPU v5p", "TPU v6e"
    ]  # fmt: skip


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"devices of the kind 'cpu'; known are TPU v4, TPU v5 lite"):
        devices.find("cpu")


@pytest.mark.parametrize(
    ("kind", "people", "hints"),
    [
        ("TPU v5 lite", 32, True),
        ("TPU v4", 192, True),
        ("TPU v4", 128, False),
        ("TPU v5", 512, False),
        ("cpu", 8, False),
    ],
)
def test_people_that_do_not_fill_the_lanes_of_a_tpu_are_said(kind, people, hints):
    hint = devices.lanes_hint(kind, people)
    assert (f"{people} people at a time" in hint and "a multiple of 128" in hint) == hints == bool(hint)


V4 = devices.CHIPS["TPU v4"]


class Mean(nn.Module):
    """A network whose heatmap is the mean of the colors."""

    colors = "rgb"
    dtype = "float32"

    def __call__(self, image: jax.Array, train: bool) -> jax.Array:
        return image.mean(-1, keepdims=True)


@pytest.fixture
def chip_of_this_machine(monkeypatch):
    """Returns a function that describes the CPU as a chip with some options of XLA."""
    forget = devices.compiler_options.cache_clear

    def describe(**options):
        chip = dataclasses.replace(V4, kind=jax.local_devices()[0].device_kind, options=options)
        monkeypatch.setattr(devices, "CHIPS", {"CPU": chip})
        forget()
        return devices.compiler_options(jax.local_devices()[0])

    yield describe
    forget()


def test_options_of_a_chip_reach_the_programs_that_run_on_it(chip_of_this_machine, monkeypatch):
    assert chip_of_this_machine() == {}
    assert chip_of_this_machine(xla_cpu_enable_fast_math=False) == {"xla_cpu_enable_fast_math": False}
    monkeypatch.setattr(devices, "compiler_options", lambda _: {"xla_unheard_of": 1})
    step = training.TrainStep(lambda *_: ({}, ({}, {})), lambda state, *_: (state, {}))
    state = training.init_state({"params": {}, "batch_stats": {}}, optax.sgd(1.0))
    lowered = training.lower_step(step, state, {}, (), sharding.make_mesh())
    for compile_program in (lowered.gradients.compile, lowered.update.result):
        with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option: 'xla_unheard_of'"):
            compile_program()
    predict = inference.compile_step(Mean(), flip_order=None, shift=1.0, decoder="argmax")
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option: 'xla_unheard_of'"):
        predict({}, jnp.zeros((1, 8, 8, 3), jnp.uint8), jnp.zeros((1, 2, 3)))


def test_an_option_that_the_compiler_does_not_know_is_said_and_left_out(chip_of_this_machine, capsys):
    assert chip_of_this_machine(xla_cpu_enable_fast_math=False, xla_unheard_of=1) == {}
    assert "No such compile option: 'xla_unheard_of'" in capsys.readouterr().out
