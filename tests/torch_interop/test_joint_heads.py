import made_weights
import numpy as np
import pytest
from made_weights import COCO, HOURGLASS, MPII, TINY, described

from hrnet_jax import skeletons
from hrnet_jax.torch_interop import joint_heads, loading
from hrnet_jax.torch_interop.state_dict import Weights

POSETRACK = list(skeletons.load("posetrack").joints)


def carried(network, joints, codec=None):
    """Returns a network's initial tensors, the weights for other joints, and these made for its joints."""
    arrays = made_weights.tensors(network)
    weights = Weights("x.pth", arrays, loading.infer(arrays) | {"joints": network["joints"]})
    into = described(network, joints=joints, **({"codec": codec} if codec else {}))
    variables = made_weights.fresh(into)
    return loading.to_pytorch(variables), weights, joint_heads.carry_over(variables, weights, into)


def test_joints_of_the_same_name_keep_their_channels_and_others_start_anew():
    own, before, after = carried(TINY, POSETRACK)
    common = [0, *range(3, len(COCO))]
    for name in ("final_layer.weight", "final_layer.bias"):
        np.testing.assert_array_equal(after.tensors[name][common], before.tensors[name][common])
        np.testing.assert_array_equal(after.tensors[name][1:3], own[name][1:3])
        assert (after.tensors[name][1:3] != before.tensors[name][1:3]).any()
    assert all(after.tensors[name] is tensor for name, tensor in before.tensors.items() if "final" not in name)
    into = described(TINY, joints=POSETRACK)
    _, report = loading.initialize(made_weights.fresh(into), after, into, allow_missing=made_weights.HEADS)
    assert report.initialised == {}
    assert "of 15 joints are carried over by name (nose, left_ear, " in str(report)
    assert str(report).endswith("newly initialised: head_bottom, head_top")


def test_names_decide_not_places():
    _, before, after = carried(TINY, COCO[::-1])
    np.testing.assert_array_equal(after.tensors["final_layer.weight"], before.tensors["final_layer.weight"][::-1])
    assert after.notes[-1].endswith("right_eye, left_eye, nose)")


def test_another_number_of_joints_is_carried_too():
    own, before, after = carried(TINY, MPII)
    kernel = after.tensors["final_layer.weight"]
    assert kernel.shape == own["final_layer.weight"].shape
    np.testing.assert_array_equal(kernel[0], before.tensors["final_layer.weight"][COCO.index("right_ankle")])
    np.testing.assert_array_equal(kernel[6], own["final_layer.weight"][6])  # pelvis


def test_layers_that_read_heatmaps_keep_their_channels():
    own, before, after = carried(HOURGLASS, POSETRACK)
    (name,) = [name for name in own if name.startswith("merge_preds") and own[name].ndim == 4]
    assert before.tensors[name].shape[1] == len(COCO)
    np.testing.assert_array_equal(after.tensors[name][:, 3:], before.tensors[name][:, 3:])
    np.testing.assert_array_equal(after.tensors[name][:, 1:3], own[name][:, 1:3])


def test_the_maps_of_a_joint_go_together():
    own, tensor = np.zeros((6, 2, 1, 1), np.float32), np.arange(12, dtype=np.float32).reshape(6, 2, 1, 1)
    channels = (np.array([1, -1])[:, None] * 3 + np.arange(3) * [[1], [0]]).ravel()
    made = joint_heads._carry(own, tensor, channels, 6)
    np.testing.assert_array_equal(made[:3], tensor[3:])
    assert not made[3:].any()


@pytest.mark.parametrize("joints", [COCO, [f"hoof {number}" for number in range(len(COCO))]])
def test_the_same_joints_and_joints_without_a_common_name_are_left(joints):
    _, before, after = carried(TINY, joints)
    assert after is before


def test_weights_without_names_or_of_another_codec_are_left():
    arrays, into = made_weights.tensors(), described(joints=POSETRACK)
    weights = Weights("x.pth", arrays, loading.infer(arrays))
    assert joint_heads.carry_over(made_weights.fresh(into), weights, into) is weights
    _, before, after = carried(TINY, POSETRACK, codec="udp_offset")
    assert after is before
