import errno
import types

import jax
import numpy as np
import pytest

from configs import default
from hrnet_jax import models, optimizer, sharding, tasks, training
from hrnet_jax.benchmark import workload
from hrnet_jax.run import memory, setup

ADAM = optimizer.adam(lambda _: 1e-3, 0.0)


@pytest.fixture(scope="module")
def config():
    config = default.get_config()
    config.image_size, config.batch_size = (64, 32), 8
    config.model.update(width=4, stem=8, units=(1, 0, 0), blocks=1, norm_group_size=0)
    return config


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(jax.devices()[:1])


def test_the_compiled_step_takes_the_pipelines_batches(config, mesh):
    compiled = setup.compile_step(config, ADAM, mesh)
    batch = workload.made_up_batch(config, 8)
    inputs = tasks.build(config).inputs()
    assert {name: (batch[name].shape, batch[name].dtype) for name in inputs} == {
        name: (shape.shape, shape.dtype) for name, shape in inputs.items()
    }
    seen = sharding.place_batch({name: batch[name] for name in inputs}, mesh)
    variables = training.init_variables(models.build(config), (64, 32), 0)
    state = sharding.place_state(training.init_state(variables, ADAM), mesh)
    state, metrics = compiled(state, seen)
    assert int(state.step) == 1 and float(metrics["loss"]) > 0


@pytest.mark.parametrize(("fsdp", "decay"), [(False, 0.9), (True, 0.0)])
def test_what_lies_there_while_gradients_are_computed_counts(config, fsdp, decay):
    """State and gradients at least; of the moments, what each device keeps."""
    config = config.copy_and_resolve_references()
    config.fsdp, config.average_decay, mesh = fsdp, decay, sharding.make_mesh()
    compiled = setup.compile_step(config, ADAM, mesh)
    variables = training.init_variables(models.build(config), (64, 32), 0)
    state = training.init_state(variables, ADAM, averaged=decay > 0)
    placed = sharding.place_state(state, mesh, fsdp)

    def held(tree) -> int:
        return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))

    assert compiled.kept_bytes == held(placed.opt_state) + held(placed.average)
    analysis = compiled.gradients.memory_analysis()
    assert memory.needed(compiled) >= held(placed) + analysis.output_size_in_bytes + analysis.temp_size_in_bytes
    donated = compiled.update.memory_analysis().alias_size_in_bytes  # else update and state would lie there twice
    assert donated >= held(placed.params) + held(placed.opt_state)


@pytest.mark.parametrize(
    "fields", [{"fsdp": True, "skip_not_finite": 1}, {"accumulation": 2, "model.remat": True}]
)
def test_two_programs_do_what_the_step_does_that_is_one(config, fields):
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(fields)
    model, mesh = models.build(config), sharding.make_mesh()
    compiled = setup.compile_step(config, ADAM, mesh)
    joined = jax.jit(setup.make_train_step(config, tasks.build(config), ADAM, mesh))
    first = training.init_state(training.init_variables(model, (64, 32), 0), ADAM)
    batch = workload.made_up_batch(config, 8)
    batch = sharding.place_batch({name: batch[name] for name in tasks.build(config).inputs()}, mesh)
    ours, theirs = (sharding.place_state(first, mesh, config.fsdp) for _ in range(2))
    for _ in range(2):
        before = ours
        ours, metrics = compiled(ours, batch)
        theirs, expected = joined(theirs, batch)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves((before.params, before.opt_state)))
        assert metrics["finite"] == expected["finite"] == 1
        np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-5)
    where = sharding.state_sharding(ours, mesh, config.fsdp)
    assert jax.tree.all(jax.tree.map(lambda leaf, place: leaf.sharding == place, ours, where))
    for a, b in zip(*map(jax.tree.leaves, (ours.opt_state[0].mu, theirs.opt_state[0].mu)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max() + 1e-12)


class Program:
    """A step that takes a gigabyte a person, and half of that when it computes more."""

    def __init__(self, config, *_):
        people = config.batch_size / config.accumulation
        self.temp_size_in_bytes = int(people * 10**9 * (0.5 if config.model.remat else 1))
        self.argument_size_in_bytes, self.output_size_in_bytes, self.alias_size_in_bytes = 3, 2, 1

    def compile(self):
        return training.CompiledStep(self, self, kept_bytes=0)  # type: ignore[arg-type]

    def memory_analysis(self):
        return self


@pytest.mark.parametrize(
    ("has", "said"),
    [
        (5e9, ["--config.model.remat=True needs 4.00 GB and fits"]),
        (
            1.5e9,
            [
                "--config.model.remat=True needs 4.00 GB",
                "--config.model.remat=True --config.accumulation=2 needs 2.00 GB",
                "--config.model.remat=True --config.accumulation=4 needs 1.00 GB and fits",
            ],
        ),
    ],
)
def test_a_step_that_does_not_fit_is_refused_with_what_would_fit(config, mesh, monkeypatch, has, said):
    config = config.copy_and_resolve_references()
    config.model.norm_group_size = 2
    monkeypatch.setattr(setup, "lower_step", Program)
    monkeypatch.setattr(memory, "available", lambda _: int(has))
    with pytest.raises(ValueError, match=r"a training step needs 8.00 GB on each device, which has") as raised:
        setup.compile_step(config, ADAM, mesh)
    assert str(raised.value).split(": ", 1)[1] == "; ".join([*said, "or take a smaller --config.batch_size"])


@pytest.mark.parametrize(("gradients", "update"), [(3e9, 1e9), (1e9, 5e9)])
def test_a_step_needs_what_the_larger_of_its_programs_does(gradients, update):
    def program(size: float) -> types.SimpleNamespace:
        sizes = {"argument": 2, "output": 1, "alias": 1, "temp": int(size)}
        analysis = types.SimpleNamespace(**{f"{name}_size_in_bytes": value for name, value in sizes.items()})
        return types.SimpleNamespace(memory_analysis=lambda: analysis)

    halves = program(gradients), program(update)
    compiled = training.CompiledStep(*halves, kept_bytes=10**9)  # type: ignore[arg-type]
    assert memory.needed(compiled) == max(gradients + 1e9, update) + 2


def test_fewer_people_are_never_normalised_together(config, mesh):
    def parts(**fields) -> list[int]:
        other = config.copy_and_resolve_references()
        other.update_from_flattened_dict(fields)
        return [tried.get("accumulation", 1) for tried in tasks.build(other).memory_options(mesh.size)]

    assert parts() == [1]  # all eight together
    assert parts(**{"model.norm_group_size": 2}) == [1, 2, 4]
    assert parts(**{"model.norm_group_size": 4, "batch_size": 12}) == [1]
    assert parts(**{"model.norm_frozen": True, "model.remat": True}) == [2, 4, 8]


def test_what_a_device_has_is_what_it_says_or_its_part_of_the_host():
    class Chip:
        def memory_stats(self):
            return {"bytes_limit": 16 * 10**9}

    class Pod:
        """Devices of other machines do not tell what they have."""

        local_devices, devices = [Chip()], None

    assert memory.available(Pod()) == 16 * 10**9  # type: ignore[arg-type]
    assert memory.available(sharding.make_mesh()) == memory._host() // 4 > 10**8
    assert memory.gigabytes(15_300_000_000) == "15.30 GB"


def test_a_full_shared_memory_is_named_with_the_way_out():
    full, bus = OSError(errno.ENOSPC, "No space left on device"), RuntimeError("ended with exit code -7. Search")
    for error in (full, bus):
        text = memory.explain_full_shared_memory(error, workers=2)
        assert text.startswith("/dev/shm, through which the 2 loader processes")
        assert "--config.loader.workers=0" in text and "--shm-size" in text
        assert memory.explain_full_shared_memory(error, workers=0) == ""
    assert memory.explain_full_shared_memory(ValueError("a photo cannot be decoded"), workers=2) == ""
