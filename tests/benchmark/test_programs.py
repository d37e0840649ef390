import pytest

from hrnet_jax.benchmark import programs

LANES = "{0,3,2,1:T(8,128)(2,1)}"  # people in the lanes
CHIP = "{0,3,2,1:T(8,128)(2,1)S(1)}"
TEXT = f"""HloModule jit_f, is_scheduled=true

%fused_computation.1 (p.1: bf16[128,4,4,32], w.1: bf16[3,3,32,32]) -> bf16[128,4,4,32] {{
  %p.1 = bf16[128,4,4,32]{LANES} parameter(0)
  %w.1 = bf16[3,3,32,32]{{3,2,1,0:T(8,128)(2,1)}} parameter(1)
  ROOT %convolution.1 = bf16[128,4,4,32]{LANES} convolution(%p.1, %w.1), window={{size=3x3 pad=1_1x1_1}}
}}

%fused_computation.2 (p.2: bf16[128,4,4,32]) -> f32[32] {{
  %p.2 = bf16[128,4,4,32]{LANES} parameter(0)
  ROOT %reduce.1 = f32[32]{{0:T(128)}} reduce(%p.2), dimensions={{0,1,2}}
}}

ENTRY %main.1 (x.1: bf16[128,4,4,32], w.2: bf16[3,3,32,32]) -> (f32[32], bf16[128,8,8,32]) {{
  %x.1 = bf16[128,4,4,32]{LANES} parameter(0), metadata={{op_name="x"}}
  %w.2 = bf16[3,3,32,32]{{3,2,1,0:T(8,128)(2,1)}} parameter(1)
  %copy-start.1 = (bf16[128,4,4,32]{CHIP}, bf16[128,4,4,32]{LANES}, u32[]{{:S(2)}}) copy-start(%x.1)
  %copy-done.1 = bf16[128,4,4,32]{CHIP} copy-done(%copy-start.1)
  %fusion.1 = bf16[128,4,4,32]{CHIP} fusion(%copy-done.1, %w.2), kind=kOutput, calls=%fused_computation.1, metadata={{op_name="jit(f)/jvp(HRNet)/stage4.0/branches.0.0/conv1/conv_general_dilated"}}, backend_config={{"window_config":{{"estimated_cycles":"1000"}}}}
  %fusion.2 = f32[32]{{0:T(128)}} fusion(%fusion.1), kind=kLoop, calls=%fused_computation.2, metadata={{op_name="jit(f)/jvp(HRNet)/stage4.0/branches.0.0/bn1/jit(standardize)/reduce_sum"}}, backend_config={{"window_config":{{"estimated_cycles":"300"}}}}
  %broadcast.1 = bf16[128,8,8,32]{LANES} broadcast(%fusion.1), metadata={{op_name="jit(f)/jvp(HRNet)/stage4.0/ExchangeUnit._fuse/broadcast_in_dim"}}, backend_config={{"window_config":{{"estimated_cycles":"200"}}}}
  %copy.1 = f32[32]{{0:T(128)}} copy(%fusion.2), metadata={{op_name="x"}}, backend_config={{"window_config":{{"estimated_cycles":"20"}}}}
  %loss.1 = f32[32]{{0:T(128)}} fusion(%copy.1), kind=kLoop, calls=%fused_computation.2, metadata={{op_name="jit(f)/jvp()/mean"}}, backend_config={{"window_config":{{"estimated_cycles":"10"}}}}
  %all-reduce.1 = f32[32]{{0:T(128)}} all-reduce(%loss.1), channel_id=1, to_apply=%add, metadata={{op_name="jit(f)/transpose(jvp(HRNet))/conv1/add"}}
  ROOT %tuple.1 = (f32[32]{{0:T(128)}}, bf16[128,8,8,32]{LANES}) tuple(%all-reduce.1, %broadcast.1)
}}
"""  # noqa: E501 The compiler writes an operation in a line.


def test_operations_have_their_layer_kind_and_cycles():
    found = [(one.layer, one.kind, one.cycles) for one in programs.read(TEXT) if one.cycles]
    block = "stage4.0/branches.0.0"
    assert found == [
        (f"{block}/conv1", programs.CONVOLUTIONS, 1000),
        (f"{block}/bn1", programs.NORM, 300),
        ("stage4.0", programs.FUSION, 200),
        ("", programs.COPIES, 20),
        ("", programs.OUTSIDE, 10),
    ]
    assert [one.kind for one in programs.read(TEXT)].count(programs.COLLECTIVES) == 1


def test_bytes_of_hbm_are_those_of_padded_arrays_that_do_not_lie_on_the_chip():
    activations, kernel, channels = 128 * 4 * 4 * 32 * 2, 9 * 32 * 128 * 2, 128 * 4
    kinds = programs.by_kind(programs.read(TEXT))
    assert kinds[programs.CONVOLUTIONS]["hbm"] == kernel  # 32 of 128 lanes; the rest lies on the chip
    assert kinds[programs.NORM]["hbm"] == channels
    assert kinds[programs.FUSION]["hbm"] == 4 * activations
    assert kinds[programs.COPIES]["hbm"] == activations + 2 * channels  # one side of copy-start


def test_vectors_are_as_full_as_the_tiles_of_the_results():
    kinds = programs.by_kind(programs.read(TEXT))
    assert kinds[programs.CONVOLUTIONS]["fill"] == 1 and kinds[programs.NORM]["fill"] == 32 / 128
    apart = TEXT.replace("bf16[128,4,4,32]{0,3,2,1", "bf16[128,4,4,32]{3,0,2,1")  # channels in the lanes
    assert programs.by_kind(programs.read(apart))[programs.CONVOLUTIONS]["fill"] == 32 / 128
    few = TEXT.replace("[128,4,4,32]", "[20,4,4,32]")
    assert programs.by_kind(programs.read(few))[programs.CONVOLUTIONS]["fill"] == pytest.approx(20 / 128)


def test_the_costliest_layers_come_first():
    twice = TEXT.replace("bn1/jit(standardize)/reduce_sum", "conv1/add").replace('"300"', '"700"')
    first, second = programs.costliest(programs.read(twice), 2)
    assert (first["layer"], first["cycles"]) == ("stage4.0/branches.0.0/conv1", 1000)
    assert (second["kind"], second["cycles"]) == (programs.NORM, 700)
    assert [row["cycles"] for row in programs.costliest(programs.read(TEXT), 9)][:3] == [1000, 300, 200]
