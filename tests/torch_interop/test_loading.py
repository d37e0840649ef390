import made_weights
import numpy as np
import pytest
from made_weights import BASELINE, COCO, MPII, TINY, W32, described

from hrnet_jax.torch_interop import loading, state_dict
from hrnet_jax.torch_interop.state_dict import COUNTER, Weights


def load(arrays, description=TINY, *, into=TINY, **options):
    """Loads a state dict into a newly initialised network."""
    known = loading.infer(arrays) | {"joints": description["joints"]} if description else loading.infer(arrays)
    return loading.initialize(made_weights.fresh(into), Weights("x.pth", arrays, known), into, **options)


def refused(*args, **options) -> str:
    with pytest.raises(ValueError) as caught:
        load(*args, **options)
    message = str(caught.value)
    assert message.startswith("'x.pth' ") and "\n" not in message
    return message


def groups(report) -> list[tuple[str, str, str]]:
    """Returns the lines of a report: outcome, number of tensors, part of the network."""
    lines = [line.partition(": ")[0].split() for line in str(report).splitlines()[1:] if "note:" not in line]
    return [(" ".join(line[:2]), line[2], line[3]) for line in lines]


@pytest.mark.parametrize(
    ("trained_on", "told"), [("", ""), ("'ap10k'", "; the file says that it was trained on 'ap10k'")]
)
def test_weights_that_do_not_name_their_joints_are_told(trained_on, told):
    """Seventeen joints may be those of an animal."""
    weights = Weights("x.pth", made_weights.tensors(), {}, notes=("read from 'model'",), trained_on=trained_on)
    variables = made_weights.fresh(TINY)
    notes = loading.initialize(variables, weights, TINY)[1].notes
    assumed = "assuming the 17 joints of 'coco', which the weights do not name"
    assert notes == ("read from 'model'", assumed + told)
    other = described(joints=COCO[::-1])
    assert "assuming its joints are right_ankle, " in loading.initialize(variables, weights, other)[1].notes[1]
    del weights.tensors["final_layer.weight"]
    assert len(loading.initialize(variables, weights, TINY, allow_missing=made_weights.HEADS)[1].notes) == 1


@pytest.mark.parametrize("network", [TINY, BASELINE], ids=["hrnet", "baseline"])
def test_every_tensor_is_loaded_unchanged(network):
    arrays = made_weights.tensors(network)
    variables, report = load(arrays, network, into=network)
    made_weights.assert_equal(variables, made_weights.variables(network))
    assert report.loaded == sorted(arrays) and report.initialised == report.extra == {} and report.notes == ()
    assert str(report).startswith(f"{len(arrays)} of {len(arrays)} tensors loaded into ")
    back = loading.to_pytorch(variables)
    made_weights.assert_equal(back, {name: x for name, x in arrays.items() if not name.endswith(COUNTER)})


def test_the_imagenet_checkpoint_leaves_only_the_head(shared):
    """Loads a checkpoint with the names of the authors' and timm's ImageNet HRNets."""
    arrays = made_weights.listed(shared / "conformance/imagenet_hrnet_w32.keys.json")
    assert "final_layer: not in the checkpoint (2 tensors)" in refused(arrays, None, into=W32)
    variables, report = load(arrays, None, into=W32, allow_missing=made_weights.HEADS)
    assert groups(report) == [
        ("newly initialised", "2", "final_layer"),
        ("not used", "78", "stage4.2.fuse_layers"),
        ("not used", "96", "incre_modules"),
        ("not used", "21", "downsamp_modules"),
        ("not used", "7", "final_layer"),
        ("not used", "2", "classifier"),
    ]
    assert report.initialised.keys() == {"final_layer.weight", "final_layer.bias"}
    assert len(report.loaded) + len(report.extra) == len(arrays)
    kernel = variables["params"]["stage3.2"]["branches.1.0"]["conv2"]["weight"]
    assert (kernel == arrays["stage3.2.branches.1.0.conv2.weight"].transpose(2, 3, 1, 0)).all()
    assert 0 < variables["params"]["final_layer"]["weight"].std() < 0.002
    assert any("as the papers start training" in note for note in report.notes)


def test_a_resnet_of_torchvision_is_loaded_without_a_head():
    arrays = made_weights.tensors(BASELINE)
    trunk = {name: x for name, x in arrays.items() if not name.startswith(made_weights.HEADS)}
    classifier = {"fc.weight": np.ones((10, 2048), np.float32), "fc.bias": np.ones(10, np.float32)}
    _, report = load(trunk | classifier, None, into=BASELINE, allow_missing=made_weights.HEADS)
    assert groups(report) == [
        ("newly initialised", "18", "deconv_layers"),
        ("newly initialised", "2", "final_layer"),
        ("not used", "2", "fc"),
    ]
    assert len(report.loaded) == len(trunk)


@pytest.mark.parametrize("name", made_weights.PUBLISHED)
def test_the_published_names_are_all_loaded(shared, name):
    arrays = made_weights.listed(shared / f"conformance/net_{name}_256x192.keys.json")
    description = loading.infer(arrays) | {"colors": "RGB", "joints": COCO}
    variables, report = load(arrays, None, into=description)
    assert set(report.loaded) == arrays.keys() and report.initialised == report.extra == {}
    assert {*loading.to_pytorch(variables), *loading.counter_names(arrays)} == arrays.keys()


def test_a_head_for_other_joints_is_newly_initialised_and_reported():
    arrays, mpii = made_weights.tensors(), described(joints=MPII)
    variables, report = load(arrays, into=mpii, allow_missing=made_weights.HEADS)
    assert report.initialised.keys() == {"final_layer.weight", "final_layer.bias"}
    assert "final_layer: made for 17 other joints (nose, left_eye, right_eye, and 14 more)" in str(report)
    head = made_weights.fresh(mpii)["params"]["final_layer"]
    made_weights.assert_equal(variables["params"]["final_layer"], head)
    assert "made for 17 joints, not 16" in str(load(arrays, None, into=mpii, allow_missing=made_weights.HEADS)[1])


def test_equally_many_joints_of_other_names_are_other_joints():
    renamed = described(joints=[f"hoof {number}" for number in range(len(COCO))])
    message = refused(made_weights.tensors(), into=renamed)
    assert "final_layer: made for 17 other joints (nose, " in message and "--config.init_from" in message
    assert load(made_weights.tensors(), into=renamed, allow_missing=made_weights.HEADS)[1].initialised
    swapped = described(joints=[COCO[0], COCO[2], COCO[1], *COCO[3:]])
    assert "made for 17 other joints" in refused(made_weights.tensors(), into=swapped)


@pytest.mark.parametrize(
    ("network", "changes", "expected"),
    [
        (TINY, {"width": 8}, "`model.width` is 4 there and 8 here"),
        (TINY, {"units": [1, 2, 1]}, "`model.units` is [1, 1, 1] there and [1, 2, 1] here"),
        (
            TINY,
            {"blocks": 2, "stem": 8},
            "`model.blocks` is 1 there and 2 here; `model.stem` is 4 there and 8 here",
        ),
        (BASELINE, {"depth": 101}, "`model.depth` is 50 there and 101 here"),
        (BASELINE, TINY, "`model.name` is 'simple_baseline' there and 'hrnet' here; choose"),
    ],
)
def test_another_network_is_refused(network, changes, expected):
    message = refused(
        made_weights.tensors(network),
        network,
        into=changes if "name" in changes else {**network, **changes},
        allow_missing=made_weights.HEADS,
    )
    assert expected in message and "choose the config it was trained with" in message


def test_another_order_of_colours_is_refused():
    weights = Weights("x.pth", made_weights.tensors(), described(colors="BGR"))
    with pytest.raises(ValueError, match=r"`model\.colors` is 'BGR' there and 'RGB' here"):
        loading.initialize(made_weights.fresh(TINY), weights, TINY)


BLOCK = "stage3.0.branches.1.0."


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda arrays: {n: x for n, x in arrays.items() if not n.startswith(BLOCK)},
            f"{BLOCK}bn1.running_mean, ",
        ),
        (
            lambda arrays: arrays | {BLOCK.replace("1.0", "1.9") + "conv1.weight": np.ones(3)},
            "unknown to this network",
        ),
        (
            lambda arrays: arrays | {"bn1.weight": np.ones(5, "f4")},
            "bn1.weight ((5,) there, (4,) here): of another",
        ),
        (lambda arrays: arrays | {"bn1.weight": np.array(1.0)}, "bn1.weight (() there, (4,) here)"),
        (
            lambda arrays: arrays | {"layer1.0.conv1.weight": np.ones((4, 4, 1))},
            "(4, 4, 1) there, (4, 4, 1, 1) here",
        ),
        (lambda arrays: arrays | {"bn1.weight": np.ones(4, int)}, "bn1.weight (int64): not floating-point"),
        (lambda arrays: arrays | {"bn1.weight": np.array([1, np.nan, 1, 1], "f4")}, "bn1.weight: not finite"),
        (lambda arrays: arrays | {"bn1.bias": np.full(4, 1e300)}, "bn1.bias: not finite"),
        (lambda arrays: arrays | {"bn9.num_batches_tracked": np.array(1)}, "unknown to this network (1 tensor);"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_unless_all_are_optional(change, expected):
    arrays = change(made_weights.tensors())
    assert expected in refused(arrays) and "--partial" in refused(arrays)
    assert expected.split(" ")[0] in refused(arrays, allow_missing=made_weights.HEADS)
    variables, report = load(arrays, allow_missing=loading.ALL)
    assert len(report.initialised) + len(report.extra) in (1, 12)
    assert len(report.loaded) + len(set(report.initialised) & set(arrays)) + len(report.extra) == len(arrays)
    before = loading.to_pytorch(made_weights.fresh(TINY))
    for name, array in loading.to_pytorch(variables).items():
        np.testing.assert_array_equal(array, (arrays if name in report.loaded else before)[name])


def test_rounding_of_doubles_is_reported():
    arrays = {n: x if n.endswith(COUNTER) else x.astype("f8") for n, x in made_weights.tensors().items()}
    variables, report = load(arrays)
    made_weights.assert_equal(variables, made_weights.variables(TINY))
    rounded = sum(not name.endswith(COUNTER) for name in arrays)
    assert report.notes == (f"{rounded} of them are rounded to float32",)


def test_counters_may_be_missing_or_of_half_precision():
    old = made_weights.tensors(count=None)
    report = load(old)[1]
    assert sorted(old) == report.loaded and report.initialised == {}
    halved = {n: x.astype("f4") if n.endswith(COUNTER) else x for n, x in made_weights.tensors().items()}
    report = load(halved)[1]
    assert sorted(old) == report.loaded and set(report.initialised.values()) == {"not an integer"}


def test_the_report_is_short():
    arrays = {name: x for name, x in made_weights.tensors().items() if "stage4" not in name}
    lines = str(load(arrays, allow_missing=loading.ALL)[1]).splitlines()
    assert len(lines) == 2 and len(lines[1]) < 200 and ", and " in lines[1]


@pytest.mark.parametrize("metadata", [{"colors": 3, "joints": "nose"}, {"width": 99, "joints": [1, 2]}, {}])
def test_only_valid_metadata_are_used(torch, tmp_path, metadata):
    state_dict.write(tmp_path / "x.pth", made_weights.tensors(), metadata)
    assert made_weights.known(tmp_path / "x.pth") == loading.infer(made_weights.tensors())
