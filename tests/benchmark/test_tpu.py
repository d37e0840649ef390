"""Programs compiled for TPUs that are not there. The compiler takes half a minute for each."""

import jax
import pytest

from configs import default
from hrnet_jax import devices, sharding, tasks
from hrnet_jax.benchmark import fits, programs, scale, tpu
from hrnet_jax.run import memory


def test_rows_take_what_is_given_beside_them(config):
    changes = {"model.remat": True, "fsdp": True}
    row = tpu.select(["coco:hrnet_w48_384x288"], config, changes)["coco:hrnet_w48_384x288"]
    assert row.model.remat and row.fsdp and (row.model.width, row.model.norm_group_size) == (48, 24)
    assert [*tpu.select([], config, changes).values()] == [config]
    with pytest.raises(ValueError, match=r"^coco:resnet50_256x192 has no field --config\.model\.width$"):
        tpu.select(["coco:resnet50_256x192"], config, {"model.width": 48})


@pytest.mark.parametrize(
    ("group", "people", "whole"), [(32, 128, 128), (24, 128, 120), (32, 40, 32), (32, 20, 20), (0, 7, 7)]
)
def test_groups_do_not_span_chips(config, group, people, whole):
    config = config.copy_and_resolve_references()
    config.model.norm_group_size = group
    assert tpu.whole_groups(config, people) == whole
    chip = tpu.on_chips(config, sharding.make_mesh(jax.devices()[:1]), whole)
    assert chip.batch_size == whole and chip.model.norm_group_size == min(group, whole)


@pytest.fixture(scope="module")
def mesh():
    pytest.importorskip("libtpu", reason="the TPU compiler is not installed: pip install 'hrnet_jax[tpu]'")
    jax.config.update("jax_disable_most_optimizations", False)  # the optimized program is the point
    yield tpu.mesh_of("v5e:2x2")
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module")
def config():
    config = default.get_config()
    config.image_size = (64, 64)
    config.model.update(width=32, stem=32, units=(1, 0, 0), blocks=1, dtype="bfloat16", norm_group_size=32)
    return config


@pytest.fixture(scope="module")
def measured(config, mesh):
    return tpu.measure(config, mesh, devices.LANES)


def test_an_unknown_topology_is_refused(mesh):
    del mesh
    with pytest.raises(ValueError, match=r"--topology \(=v5e:1x1\) cannot be compiled for"):
        tpu.mesh_of("v5e:1x1")


def test_a_described_device_has_the_memory_that_its_maker_states(mesh):
    assert memory.available(mesh) == 16 * 2**30
    assert [tpu.mesh_of("v5e:2x2", chips=chips).size for chips in (1, 3, 4)] == [1, 3, 4]
    # The two cores of a v4 chip are one device.
    four = tpu.mesh_of("V4:2x2x1")
    assert four.size == 4 and memory.available(four) == 32 * 2**30


def test_chips_that_are_not_there_are_refused(mesh):
    del mesh
    with pytest.raises(ValueError, match=r"--chips \(=5\) must be at most 4, the chips of v5e:2x2"):
        tpu.mesh_of("v5e:2x2", chips=5)
    with pytest.raises(ValueError, match="nothing is known of devices of the kind 'TPU v3'"):
        tpu.mesh_of("v3:2x2")


def test_a_program_that_is_too_large_is_told(config, mesh):
    with pytest.raises(ValueError, match=r"refuses the program \(RESOURCE_EXHAUSTED.*: the part `fits` tells"):
        tpu.measure(config, mesh, 2**16)


def test_slices_follow_one_another_in_a_mesh(mesh):
    del mesh
    two = tpu.mesh_of("v5e:2x2", slices=2).devices.flat
    assert [device.slice_index for device in two] == [0] * 4 + [1] * 4
    with pytest.raises(ValueError, match=r"--chips \(=1\) leaves slices of different sizes"):
        tpu.mesh_of("v5e:2x2", chips=1, slices=2)


def test_memory_is_known_before_the_code_is_written(measured, config, mesh):
    """The whole compilation counts more, for one thing the code, which is much of so small a network."""
    del mesh
    step, found = measured["step"], fits.measure(config, "v5e:2x2", devices.LANES)
    assert found["people"] == devices.LANES and found["has"] < measured["has"]
    assert 0.8 * step["memory"] < found["needs"] <= step["memory"]
    assert found["sent"][scale.GRADIENTS] == step["collectives"][scale.GRADIENTS]


def test_people_that_do_not_fit_are_halved(config, mesh):
    del mesh
    found = fits.measure(config, "v5e:2x2", 2**15, chips=1)
    assert 2**10 < found["people"] < 2**15 and found["needs"] < found["has"] < 2 * found["needs"]


def test_the_table_says_that_the_step_fits_and_what_costs_most(measured, mesh):
    text = tpu.table(measured, mesh)
    assert "128 people on a device" in text and "64 people on a device" in text and "DOES NOT FIT" not in text
    assert measured["step"]["memory"] < 1e9 < measured["has"]
    parts = tpu.milliseconds(measured["step"], mesh)
    assert sum(parts.values()) == pytest.approx(measured["step"]["milliseconds"])


def test_people_are_in_the_lanes_and_activations_are_not_copied(measured):
    for program in ("step", "predict"):
        kinds = measured[program]["kinds"]
        total = sum(kind["cycles"] for kind in kinds.values())
        # With 32 channels in the lanes, a quarter would be full.
        assert kinds[programs.NORM]["fill"] > 0.5 and kinds[programs.CONVOLUTIONS]["fill"] > 0.5
        # Of this small network 6 % and 11 %, mostly of weights; a quarter where a reshape tears people apart.
        assert kinds[programs.COPIES]["cycles"] < 0.15 * total


def test_devices_exchange_gradients_and_the_statistics_of_the_first_group_only(measured, config):
    """Gradients in bfloat16, as they are computed; zeros for weights that nothing depends on are not sent."""
    sent = {
        purpose: sum(kind["bytes"] for kind in kinds.values())
        for purpose, kinds in measured["step"]["collectives"].items()
    }
    weights = sum(leaf.size for leaf in jax.tree.leaves(tasks.build(config).shapes()["params"]))
    assert scale.NORM not in sent and 0.5 * weights < sent.pop(scale.GRADIENTS) < 2.2 * weights
    assert sum(sent.values()) < 0.01 * weights
    assert measured["predict"]["collectives"] == {}
