import pathlib
import sys

import forking
import made_weights
import numpy as np
import pytest
import reference
from made_weights import BASELINE, COCO, MPII, TINY, W32, described

from hrnet_jax import checkpoint_files, console, convert, models, skeletons
from hrnet_jax.torch_interop import loading
from hrnet_jax.torch_interop.state_dict import COUNTER, Weights

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(*arguments) -> None:
    """Runs the command, which must succeed."""
    with pytest.raises(SystemExit) as ended:
        console.run(lambda: convert.main([str(argument) for argument in arguments]))
    assert ended.value.code == 0


def fail(capsys, *arguments, target="new") -> str:
    """Runs the command, which must fail without changing files, and returns the error message."""
    source = pathlib.Path(arguments[0])
    before = sorted(source.parent.iterdir())
    with pytest.raises(SystemExit) as ended:
        console.run(lambda: convert.main([str(source), str(source.parent / target), *arguments[1:]]))
    output, errors = capsys.readouterr()
    assert ended.value.code == 2 and output == "" and errors.startswith("error: ") and errors.count("\n") == 1
    assert sorted(source.parent.iterdir()) == before
    return errors


@pytest.fixture
def tiny(tmp_path) -> pathlib.Path:
    return made_weights.file(tmp_path / "tiny.safetensors", made_weights.tensors())


def test_our_checkpoint_holds_all_tensors_and_the_description(tiny, tmp_path, capsys):
    run(tiny, tmp_path / "new" / "w4")
    output = capsys.readouterr().out
    assert "tensors loaded into HRNet-W4 (17 joints, reads RGB)" in output
    assert "assuming the 17 joints of 'coco'" in output and "assuming RGB input" in output
    weights = loading.read(tmp_path / "new" / "w4")
    made_weights.assert_equal(weights.tensors, made_weights.tensors())
    assert weights.description == TINY
    assert checkpoint_files.find(tmp_path / "new" / "w4") == tmp_path / "new" / "w4" / "0"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["w4"]


def test_our_checkpoint_becomes_safetensors_and_returns(tiny, tmp_path):
    run(tiny, tmp_path / "a", "--colors", "BGR")
    run(tmp_path / "a", tmp_path / "b.safetensors")
    run(tmp_path / "b.safetensors", tmp_path / "c")
    for path in ("b.safetensors", "c"):
        made_weights.assert_equal(loading.read(tmp_path / path).tensors, made_weights.tensors())
        assert made_weights.known(tmp_path / path) == described(colors="BGR")


def test_given_colours_and_joints_are_not_assumed(tiny, tmp_path, capsys):
    run(tiny, tmp_path / "a", "--colors", "BGR", "--skeleton", "coco")
    run(tmp_path / "a", tmp_path / "b")
    assert "assuming" not in capsys.readouterr().out
    assert made_weights.known(tmp_path / "b") == described(colors="BGR")
    assert "reads BGR; leave out --colors" in fail(capsys, tmp_path / "a", "--colors", "RGB")
    assert "made for 17 other joints" in fail(capsys, tmp_path / "a", "--skeleton", "mpii")


@pytest.mark.parametrize("head", ["keypoint_head.", "head."])
def test_mmpose_checkpoints_are_converted(tmp_path, capsys, head):
    foreign = {
        (head if name.startswith(made_weights.HEADS) else "backbone.") + name: x
        for name, x in made_weights.tensors().items()
    }
    path = made_weights.file(
        tmp_path / "mmpose.safetensors", foreign | {"data_preprocessor.mean": np.ones(3, "f4")}
    )
    assert "reads RGB" in fail(capsys, path, "--colors", "BGR")
    run(path, tmp_path / "new")
    output = capsys.readouterr().out
    assert "not used              1  data_preprocessor: mmpose's record of its normalisation" in output
    weights = loading.read(tmp_path / "new")
    made_weights.assert_equal(weights.tensors, made_weights.tensors())
    assert weights.description == TINY


def test_simple_baseline_of_mmpose_reads_rgb(tmp_path):
    small = described(BASELINE, stem=2, features=4)
    arrays = made_weights.tensors(small)
    foreign = {("head." if n.startswith(made_weights.HEADS) else "backbone.") + n: x for n, x in arrays.items()}
    weights = loading.read(made_weights.file(tmp_path / "mmpose.safetensors", foreign))
    assert convert._describe(weights, "", "", "")[0] == described(small, colors="RGB")


def test_mistakes_leave_no_files(tiny, tmp_path, capsys):
    arrays = made_weights.tensors()
    bare = {name: x for name, x in arrays.items() if not name.startswith("final_layer")}
    for content, options, message in (
        (arrays, ["--skeleton", "mpii"], "made for 17 joints, not 16"),
        (arrays, ["--skeleton", "centaur"], "neither a file nor one of: coco, mpii"),
        (bare, [], "has no head for joints"),
        (bare, ["--partial"], "--skeleton"),
        (arrays | {"final_layer.weight": np.ones((5, 4, 1, 1))}, [], "finds 5 joints, not 17 (coco) or 16 (mpii)"),
        (
            {"layer1.0.conv1.weight": np.ones(3)},
            [],
            f"is not a complete network of {', '.join(models.NETWORKS)}, but one with layer1",
        ),
    ):
        assert message in fail(capsys, made_weights.file(tiny, content), *options)
    assert "there is no checkpoint" in fail(capsys, tmp_path / "gone.pth")
    (tmp_path / "empty").mkdir()
    assert "there is no checkpoint in" in fail(capsys, tmp_path / "empty")


def test_existing_files_are_not_changed(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine").write_text("precious")
    monkeypatch.setattr(loading, "read", lambda _: pytest.fail("worked before looking"))
    assert "exists: delete it, or give another name" in fail(capsys, tmp_path / "x.pth", target="mine")
    assert "mine is not a writable directory" in fail(capsys, tmp_path / "x.pth", target="mine/new")
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_conversion_leaves_no_checkpoint(tiny, tmp_path, monkeypatch, failure):
    write = checkpoint_files.write_weights

    def interrupt(directory, *rest):
        write(directory, *rest)
        raise failure

    monkeypatch.setattr(checkpoint_files, "write_weights", interrupt)
    with pytest.raises(failure):
        convert.convert(tiny, tmp_path / "new")
    assert list(tmp_path.iterdir()) == [tiny]


def test_partial_weights_become_a_complete_checkpoint(tmp_path, capsys):
    arrays = {name: x for name, x in made_weights.tensors().items() if not name.startswith("final_layer")}
    path = made_weights.file(tmp_path / "x.safetensors", arrays | {"head.fc.num_batches_tracked": np.array(3)})
    run(path, tmp_path / "new", "--partial", "--skeleton", "mpii")
    output = capsys.readouterr().out
    assert "newly initialised     2  final_layer: not in the checkpoint" in output
    assert "not used              1  fc: of the image classifier" in output
    weights = loading.read(tmp_path / "new")
    assert weights.description["joints"] == MPII and weights.tensors.keys() == made_weights.tensors().keys()


@pytest.mark.parametrize("name", made_weights.PUBLISHED)
def test_published_networks_are_recognised_and_their_tensors_keep_their_order(shared, name):
    arrays = made_weights.listed(shared / f"conformance/net_{name}_256x192.keys.json")
    description, _ = convert._describe(Weights("x.pth", arrays, {}), "", "", "")
    assert description["joints"] == COCO and description["colors"] == ("RGB" if "hrnet" in name else "BGR")
    shuffled = {name: arrays[name] for name in sorted(arrays)}
    assert list(convert._in_order(shuffled, models.find(description["name"]).order)) == list(arrays)


def test_an_image_classifier_is_refused(shared, tmp_path):
    arrays = made_weights.listed(shared / "conformance/imagenet_hrnet_w32.keys.json")
    small = {name: array for name, array in arrays.items() if array.size < 20_000}
    path = made_weights.file(tmp_path / "model.safetensors", small)  # as on the Hub
    with pytest.raises(ValueError, match=r"has no head for joints: .* as --config\.init_from"):
        convert.convert(path, tmp_path / "w32")
    assert not (tmp_path / "w32").exists()


@pytest.mark.parametrize("shape", [(), (3,), (3, 3), (0, 0, 0, 0)])
def test_tensors_of_odd_shapes_are_refused(shape):
    arrays = dict.fromkeys(made_weights.tensors(), np.ones(shape, "f4"))
    with pytest.raises(ValueError, match=r"not a complete network of|has no head|finds 0 joints"):
        convert._describe(Weights("x.pth", arrays, {}), "", "", "")


def test_a_published_network_with_other_stages_is_incomplete():
    def check(**changes):
        convert._check_complete("x.pth", {**loading.infer(made_weights.tensors()), **changes})

    published = {"width": 32, "stem": 64, "units": [1, 4, 3], "blocks": 4}
    check(**published)
    check()
    with pytest.raises(
        ValueError, match=r"not a complete HRNet-W32: `units` is \[1, 3, 3\], not \[1, 4, 3\].*--partial"
    ):
        check(**published | {"units": [1, 3, 3]})


def test_a_custom_skeleton_is_saved_with_the_weights(tmp_path):
    own = skeletons.Skeleton("fox", ("nose", "tail"), (), ((0, 1),), (0.1, 0.1), (0,))
    skeletons.save(own, tmp_path / "fox.json")
    path = made_weights.file(tmp_path / "x.safetensors", made_weights.tensors(described(joints=own.joints)))
    convert.convert(path, tmp_path / "new", skeleton=str(tmp_path / "fox.json"))
    assert loading.read(tmp_path / "new").description["joints"] == ["nose", "tail"]


def test_without_torch_a_pth_is_refused(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "needs PyTorch: pip install torch" in fail(capsys, tiny, target="new.pth")
    (tmp_path / "x.pth").write_bytes(b"")
    assert "needs PyTorch: pip install torch" in fail(capsys, tmp_path / "x.pth")


# With PyTorch.


def torch_network(description):
    from hrnet_jax.models import torch_models

    count = len(description["joints"])
    if description["name"] == "simple_baseline":
        return torch_models.SimpleBaseline(count, *(description[name] for name in ("depth", "stem", "features")))
    fields = {name: description[name] for name in ("width", "stem", "units", "blocks")}
    return torch_models.HRNet(count, **fields)


R50_MPII = described(BASELINE, joints=MPII)


@pytest.mark.parametrize("network", [W32, R50_MPII], ids=["HRNet-W32", "ResNet-50"])
def test_a_round_trip_keeps_every_tensor(torch, tmp_path, network):
    with torch.device("meta"):
        module = torch_network(network)
    original = {
        name: torch.tensor(number) if name.endswith(COUNTER)
        else torch.from_numpy(np.asarray(reference.seeded_tensor(name, tuple(value.shape)), np.float32))
        for number, (name, value) in enumerate(module.state_dict().items())
    }  # fmt: skip
    wrapped = {"epoch": 1, "state_dict": {f"module.{name}": value for name, value in original.items()}}
    torch.save({**wrapped, "perf": np.float64(0.7)}, tmp_path / "a.pth")
    convert.convert(tmp_path / "a.pth", tmp_path / "ours")
    convert.convert(tmp_path / "ours", tmp_path / "b.pth")
    exported = torch.load(tmp_path / "b.pth", weights_only=True)
    module.load_state_dict(exported, strict=True, assign=True)
    assert list(exported) == list(original)
    for name, tensor in original.items():
        assert exported[name].dtype == tensor.dtype and torch.equal(exported[name], tensor), name
    assert made_weights.known(tmp_path / "b.pth") == network


def test_missing_counters_become_zero(torch, tmp_path):
    torch.save(made_weights.as_torch(torch, made_weights.tensors(count=None)), tmp_path / "old.pth")
    convert.convert(tmp_path / "old.pth", tmp_path / "new.pth")
    exported = torch.load(tmp_path / "new.pth", weights_only=True)
    torch_network(TINY).load_state_dict(exported, strict=True)
    made_weights.assert_equal({n: x.numpy() for n, x in exported.items()}, made_weights.tensors(count=0))


def test_mmposes_names_become_the_releases(torch, tmp_path):
    arrays = made_weights.tensors()
    foreign = {
        ("head." if n.startswith("final") else "backbone.") + n: x
        for n, x in made_weights.as_torch(torch, arrays).items()
    }
    torch.save({"meta": {}, "state_dict": foreign}, tmp_path / "mmpose.pth")
    convert.convert(tmp_path / "mmpose.pth", tmp_path / "new.pth")
    exported = torch.load(tmp_path / "new.pth", weights_only=True)
    assert list(exported) == list(torch_network(TINY).state_dict())
    made_weights.assert_equal({n: x.numpy() for n, x in exported.items()}, arrays)


def test_an_exported_file_has_the_description_of_its_network(torch, tmp_path):
    weights = described(colors="BGR")
    made_weights.file(tmp_path / "x.safetensors", made_weights.tensors())
    convert.convert(tmp_path / "x.safetensors", tmp_path / "x.pth", colors="BGR")
    assert made_weights.known(tmp_path / "x.pth") == weights
    with pytest.raises(ValueError, match=r"`model\.colors` is 'BGR' there and 'RGB' here"):
        loading.initialize(made_weights.fresh(TINY), loading.read(tmp_path / "x.pth"), TINY)


def test_malicious_files_are_reported_in_one_line(torch, tmp_path):
    marker = tmp_path / "it ran"
    torch.save(
        {
            **made_weights.as_torch(torch, made_weights.tensors()),
            "x": made_weights.Evil(exec, f"open({str(marker)!r}, 'w')"),
        },
        tmp_path / "x.pth",
    )
    command = [sys.executable, "-m", "hrnet_jax.convert", str(tmp_path / "x.pth"), str(tmp_path / "new")]
    ended = forking.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stdout == "" and ended.stderr.count("\n") == 1
    assert "holds more than tensors (exec), which could run code" in ended.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]


def test_exported_weights_give_the_same_heatmaps_in_pytorch(torch, tmp_path):
    import jax

    made_weights.file(tmp_path / "x.safetensors", made_weights.tensors())
    convert.convert(tmp_path / "x.safetensors", tmp_path / "ours")
    convert.convert(tmp_path / "ours", tmp_path / "x.pth")
    images = np.random.default_rng(0).standard_normal((2, 64, 32, 3))
    network = torch_network(TINY).eval()
    network.load_state_dict(torch.load(tmp_path / "x.pth", weights_only=True), strict=True)
    variables, _, _ = checkpoint_files.read_weights(tmp_path / "ours")
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        with jax.enable_x64(dtype == np.float64), torch.no_grad():
            model = loading.build(TINY, dtype=jax.numpy.dtype(dtype))
            cast = jax.tree.map(lambda x: x.astype(dtype), variables)  # noqa: B023
            ours = jax.jit(model.apply)(cast, images.astype(dtype))
            given = torch.from_numpy(images.astype(dtype).transpose(0, 3, 1, 2).copy())
            expected = network.to(given.dtype)(given).numpy().transpose(0, 2, 3, 1)
        assert np.abs(np.asarray(ours) - expected).max() <= tolerance * np.abs(expected).max()
