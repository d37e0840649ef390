import math

import jax
import pytest

from configs import default
from hrnet_jax import models, optimizer, sharding, skeletons, training
from hrnet_jax.benchmark import scale
from hrnet_jax.run import setup

JOINTS = skeletons.load("coco").num_joints
ADAM = optimizer.adam(lambda _: 1e-3, 0.0)
TEXT = """
HloModule jit_step, is_scheduled=true

ENTRY %main {
  %p.1 = f32[8,16]{1,0} parameter(0), metadata={op_name="a/transpose(jvp(f))/mul"}
  %half = bf16[3]{0} copy(%p.1)
  %flag = pred[17]{0} compare(%p.1), metadata={op_name="jit(step)/jvp()/reduce_or"}
  %sum = (f32[8,16]{1,0}, /*index=1*/bf16[3]{0}) all-reduce(%p.1, /*index=1*/%half), channel_id=1, to_apply=%add
  %any = pred[17]{0} all-reduce-start(%flag), replica_groups={{0,1}}, to_apply=%or
  %any.1 = pred[17]{0} all-reduce-done(%any)
  %whole = f32[32,16]{1,0} all-gather(%p.1), dimensions={0}
  %gather = ((f32[8,16], bf16[3]), (f32[32,16], bf16[12])) all-gather-start(%p.1, %half), dimensions={0}
  %part = f32[2,16]{1,0:T(8,128)} reduce-scatter(f32[8,16]{1,0:T(8,128)} %p.1), channel_id=3
  %move = (f32[8,16], f32[8,16], u32[], u32[]) collective-permute-start(%p.1), source_target_pairs={{0,1}}
  ROOT %swap = (f32[8,16]{1,0}) all-to-all(%p.1), channel_id=5
}
"""


def test_every_kind_is_read_once_and_at_its_full_size():
    found = scale.read_collectives(TEXT)
    assert [(one.kind, one.bytes) for one in found] == [
        ("all-reduce", (512, 6)),
        ("all-reduce", (17,)),
        ("all-gather", (2048,)),
        ("all-gather", (2048, 24)),
        ("reduce-scatter", (512,)),
        ("collective-permute", (512,)),
        ("all-to-all", (512,)),
    ]
    assert [one.purpose for one in found[:2]] == [scale.GRADIENTS, scale.STATISTICS]
    table = scale.communication_table(scale.totals(found))
    assert "gradients  all-gather              2 operations      3 arrays      0.004 MB" in table


def test_purposes_follow_from_the_sources():
    norm, weight, loss = "jvp(f)/bn/jit(standardize)/sum", "transpose(jvp(f))/conv", "jvp()/mean"
    for sources, purpose in {
        (norm,): scale.NORM,
        (f"transpose({norm})",): scale.NORM,
        (norm, weight, loss): scale.GRADIENTS,
        (loss,): scale.STATISTICS,
        ("jit(step)/add",): scale.UPDATE,
    }.items():
        assert scale.Collective("all-reduce", (4,) * len(sources), sources).purpose == purpose


@pytest.fixture(scope="module")
def config():
    config = default.get_config()
    config.image_size, config.batch_size = (64, 64), 8
    config.model.update(width=8, stem=16, units=(1, 1, 1), blocks=1, norm_group_size=2)
    return config


def compile_step(config, **fields) -> training.CompiledStep:
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(fields)
    return setup.lower_step(config, ADAM, sharding.make_mesh()).compile()


@pytest.fixture(scope="module")
def grouped(config):
    return compile_step(config)


def sizes(config) -> dict[str, int]:
    """Returns the bytes of a network's weights and of its running statistics."""
    shapes = models.shapes(models.build(config), tuple(config.image_size))
    return {part: sum(4 * math.prod(x.shape) for x in jax.tree.leaves(shapes[part])) for part in shapes}


def test_groups_within_devices_reduce_gradients_only(config, grouped):
    """The same operation carries the first group's statistics, the loss and two sums per joint for the PCK."""
    found = scale.totals(scale.read_collectives(grouped.as_text()))
    assert set(found) == {scale.GRADIENTS, scale.STATISTICS}
    assert found[scale.STATISTICS] == {"all-reduce": {"operations": 1, "arrays": 1, "bytes": JOINTS}}
    reduced = found[scale.GRADIENTS].pop("all-reduce")
    assert reduced["bytes"] == sum(sizes(config).values()) + 4 * (1 + 2 * JOINTS)
    assert reduced["operations"] == 1 and not found[scale.GRADIENTS]


def test_statistics_of_the_whole_batch_are_reduced_in_every_layer(config, grouped):
    step = compile_step(config, **{"model.norm_group_size": 0})
    found, before = (scale.totals(scale.read_collectives(one.as_text())) for one in (step, grouped))
    norm = found[scale.NORM].pop("all-reduce")
    shapes = models.shapes(models.build(config), tuple(config.image_size))
    layers = len(jax.tree.leaves(shapes["batch_stats"])) // 2
    assert not found[scale.NORM]
    assert norm["arrays"] == 4 * layers  # mean and variance, and two sums in the backward pass
    assert norm["bytes"] == 2 * sizes(config)["batch_stats"]
    assert norm["operations"] > 2 * layers
    rest = found[scale.GRADIENTS]["all-reduce"]["bytes"]
    assert norm["bytes"] + rest == before[scale.GRADIENTS]["all-reduce"]["bytes"]


@pytest.mark.parametrize("skip", [0, 1])
def test_fsdp_gathers_the_weights_that_each_device_updated(config, grouped, skip):
    split = compile_step(config, fsdp=True, skip_not_finite=skip)
    found, before = (scale.totals(scale.read_collectives(step.as_text())) for step in (split, grouped))
    gathered = found.pop(scale.UPDATE)
    assert found == before
    shapes = jax.tree.leaves(models.shapes(models.build(config), tuple(config.image_size))["params"])
    parts = [x for x in shapes if not sharding.split(x.shape, sharding.make_mesh()).is_fully_replicated]
    size = sum(4 * math.prod(x.shape) for x in parts)
    assert gathered == {"all-gather": {"operations": len(parts), "arrays": len(parts), "bytes": size}}
    assert grouped.kept_bytes - split.kept_bytes == 2 * size * 3 // 4  # a quarter of both moments stays
    gradients = [step.gradients.memory_analysis().output_size_in_bytes for step in (grouped, split)]
    assert gradients[0] - gradients[1] == size * 3 // 4
