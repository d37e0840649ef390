import contextlib
import dataclasses
import functools

import jax
import made_data_sets
import numpy as np
import pytest
import reference
from made_weights import small_config

from hrnet_jax import (
    augment,
    cpn_codec,
    heatmap,
    inference,
    losses,
    models,
    pipeline,
    prepare,
    tasks,
    training,
    visualize,
)
from hrnet_jax.evaluation import evaluate
from hrnet_jax.models import layers
from hrnet_jax.tasks import top_down


@pytest.fixture
def config(made_up_records):
    config = small_config()
    config.data.dir, config.batch_size, config.seed, config.loader.threads = str(made_up_records), 4, 3, 0
    return config


def small_batch(config) -> dict[str, np.ndarray]:
    random, (height, width) = np.random.default_rng(0), config.image_size
    return {
        "image": random.integers(0, 256, (2, height, width, 3), np.uint8),
        "joints": random.uniform(0, [width, height], (2, 17, 2)).astype(np.float32),
        "visible": (random.random((2, 17)) < 0.8).astype(np.float32),
    }


@pytest.mark.parametrize(
    ("table", "field", "wrong"),
    [
        (losses.LOSSES, "loss", lambda heatmaps, targets, weights: heatmaps.mean()),
        (losses.LOSSES, "loss", lambda heatmaps, targets, weights: heatmaps),
        (heatmap.TARGETS, "heatmap.target", lambda joints, visible, **sizes: (joints, visible[:, 0])),
    ],
)
def test_functions_of_the_user_with_results_of_another_shape_are_refused(config, monkeypatch, table, field, wrong):
    monkeypatch.setitem(table, "mine", wrong)
    config.update_from_flattened_dict({field: "mine"})
    task = tasks.build(config)
    shapes = task.shapes()
    with pytest.raises(ValueError, match=rf"`{field}` \(='mine'\) must return .*each person and joint, \(2, 17\)"):
        jax.eval_shape(task.loss, shapes["params"], shapes["batch_stats"], small_batch(config))


@pytest.mark.parametrize(
    "changes",
    [{}, {"model.colors": "BGR"}, {"loss": "ohkm"}, {"heatmap.sigma": 3.0}, {"heatmap.unbiased": True}],
    ids=str,
)
def test_the_loss_is_that_of_the_configuration(config, changes):
    config.update_from_flattened_dict(changes)
    task, batch = tasks.build(config), small_batch(config)
    variables, (height, width) = reference.seeded_variables(task.shapes(), np.float32), config.image_size
    loss, (stats, metrics) = jax.jit(task.loss)(variables["params"], variables["batch_stats"], batch)
    targets, weights = heatmap.render(
        *(jax.numpy.asarray(batch[name]) for name in ("joints", "visible")),
        image_size=(height, width),
        heatmap_size=(height // 4, width // 4),
        sigma=changes.get("heatmap.sigma", 2.0),
        unbiased="heatmap.unbiased" in changes,
    )
    image = batch["image"][..., ::-1] if "model.colors" in changes else batch["image"]
    normal = ((image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)
    heatmaps, updates = task.model.apply(variables, normal, train=True, mutable=["batch_stats"])
    error = 0.5 * (((heatmaps - targets) * weights[:, None, None]) ** 2).mean((1, 2))
    hardest = np.sort(error)[:, -8:] if "loss" in changes else error
    np.testing.assert_allclose(loss, np.mean(hardest), rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), stats, updates["batch_stats"]
    )
    np.testing.assert_allclose(metrics["pck"], heatmap.pck(heatmaps, targets))


@pytest.mark.parametrize("tag", ["coco_64x48_s2", "coco_96x72_s3", "coco_64x48_s1"])
def test_weights_of_joints_are_the_originals(shared, config, tag):
    codec, (height, width) = np.load(shared / "conformance/codec.npz"), map(int, tag.split("_")[1].split("x"))
    config.image_size, config.heatmap.sigma = (4 * height, 4 * width), float(tag[-1])
    config.joint_weights = ("original",)
    labels = (codec[f"target/{tag}/{name}"].astype(np.float32) for name in ("joints", "vis"))
    _, weights = top_down.make_target_fn(config)(*map(jax.numpy.asarray, labels))
    expected = codec[f"target/{tag}/weight_different_joints"][..., 0]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_weights_of_joints_enter_every_loss(config, loss):
    """A weight scales the difference, so it is squared."""
    config.loss, batch = loss, small_batch(config)
    task = tasks.build(config)
    variables = reference.seeded_variables(task.shapes(), np.float32)
    plain, _ = jax.jit(task.loss)(variables["params"], variables["batch_stats"], batch)
    config.joint_weights = (2.0,) * 17
    heavy, _ = jax.jit(tasks.build(config).loss)(variables["params"], variables["batch_stats"], batch)
    np.testing.assert_allclose(heavy, 4 * plain, rtol=1e-5)


def test_batches_follow_the_configuration(config):
    config.augment.update(scale=0.5, rotation=80.0)
    examples, options = tasks.build(config).examples(), {"image_size": config.image_size, "batch_size": 4}
    policy = augment.Policy(**config.augment)
    expected = pipeline.train_batches(examples.split, **options, seed=3, policy=policy, threads=0)  # type: ignore
    with contextlib.closing(expected), contextlib.closing(examples.batches(2)) as batches:
        _, _, *later = (next(expected) for _ in range(4))
        for batch, other in zip(batches, later, strict=False):
            for name, array in other.items():
                np.testing.assert_array_equal(batch[name], array, err_msg=name)


def test_the_seed_determines_the_initial_weights(config):
    expected = training.init_variables(models.build(config), config.image_size, seed=3)
    jax.tree.map(np.testing.assert_array_equal, tasks.build(config).init(), expected)


def test_every_process_loads_its_own_share(config, monkeypatch):
    examples = tasks.build(config).examples()
    with contextlib.closing(examples.batches(0)) as batches:
        whole = next(batches)["index"]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    shares = []
    for index in range(2):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        with contextlib.closing(examples.batches(0)) as batches:
            shares.append(next(batches)["index"])
    np.testing.assert_array_equal(np.concatenate(shares), whole)


def test_training_and_evaluation_have_their_own_splits(config):
    config.data.update(train_split="val2017", val_split="train2017")
    task = tasks.build(config)
    assert (task.examples().name, task.evaluation(trained=True).name) == ("val2017", "train2017")
    assert task.evaluation(trained=True).logged_score == "train2017/gt_boxes/AP"


def test_examples_are_identified_by_annotation_and_photo(config):
    examples = tasks.build(config).examples()
    people = examples.split.people  # type: ignore[attr-defined]
    rows = np.array([2, 0])
    expected = {"annotation_ids": people.annotation_id[rows].tolist(), "photo_ids": people.photo_id[rows].tolist()}
    assert examples.identify(rows) == expected
    assert "--decoded" in examples.loading_hint()
    stored = dataclasses.replace(examples.split, decoded=object())  # type: ignore
    assert dataclasses.replace(examples, split=stored).loading_hint() == ""  # type: ignore


def test_several_data_sets_are_described_and_identified(config, tmp_path, capsys):
    made_data_sets.write_crowdpose(tmp_path)
    prepare.prepare_published("crowdpose", tmp_path, tmp_path / "crowdpose")
    alone = tasks.build(config).examples()
    config.data.extra, config.data.weights = (str(tmp_path / "crowdpose" / "test"),), (1, 3)
    capsys.readouterr()
    examples = tasks.build(config).examples()
    told = capsys.readouterr().out
    assert told.startswith("training on 2 data sets\njoint ")
    *_, unused, note = told.splitlines()
    assert unused == "crowdpose/test: not trained on: head_top, neck"
    assert note.startswith("note: 1 photo ids are in both records/train2017 and crowdpose/test")
    assert len(examples) == len(alone) + 3 and examples.digest() != alone.digest()
    last = np.array([0, len(alone)])
    assert examples.identify(last)["data_sets"] == ["records/train2017", "crowdpose/test"]
    assert examples.identify(last)["photo_ids"][1] == 7
    with contextlib.closing(examples.batches(0)) as batches:
        rows = np.concatenate([next(batches)["index"] for _ in range(-(-len(examples) // config.batch_size))])
    assert (rows[: len(examples)] == len(alone)).sum() == 3


def test_training_is_scored_on_the_boxes_of_the_ground_truth(config, monkeypatch):
    seen = {}
    monkeypatch.setattr(evaluate, "evaluate", lambda *_, **options: seen.update(options) or [])
    tasks.build(config).evaluation(trained=True).metrics({}, dict)
    assert seen["sources"] == ("gt_boxes",)


@pytest.mark.parametrize("decoder", ["argmax", "dark"])
def test_scores_and_pictures_of_training_use_the_decoder(config, monkeypatch, decoder):
    config.eval.decoder, drawn, scored = decoder, [], []
    task, batch = tasks.build(config), small_batch(config)
    variables = task.init()
    monkeypatch.setattr(visualize, "training_picture", lambda *arrays: drawn.append(arrays[3]))
    task.picture(variables, batch)
    predict = functools.partial(inference.predict_heatmaps, task.model, flip_order=None, shift=0.0)
    heatmaps = jax.jit(predict)(variables, batch["image"])
    np.testing.assert_allclose(drawn[0], heatmap.decode(heatmaps, decoder)[0] * layers.STRIDE, atol=1e-3)

    monkeypatch.setattr(evaluate, "evaluate", lambda step, *_, **options: scored.append(step) or [])
    evaluation = task.evaluation(trained=True)
    evaluation.metrics(variables, dict)
    crop = np.tile(np.eye(2, 3, dtype=np.float32), (len(batch["image"]), 1, 1))
    expected = evaluate.build_step(task.model, config)(variables, batch["image"], crop)
    np.testing.assert_array_equal(scored[0](variables, batch["image"], crop)[0], expected[0])


@pytest.mark.parametrize(
    ("network", "changes", "told"),
    [
        ("hrnet", {}, ""),
        ("cpn", {"model.original_targets": True, "eval.decoder": "cpn"}, ""),
        (
            "cpn",
            {"model.original_targets": True},
            "`eval.decoder` (='quarter') puts joints 2 pixels of the crop left",
        ),
        ("cpn", {"eval.decoder": "cpn"}, "`eval.decoder` (='cpn') puts joints 2 pixels of the crop right"),
        ("hrnet", {"eval.decoder": "cpn"}, "`eval.decoder` (='cpn') puts joints 2 pixels of the crop right"),
    ],
)
def test_a_decoder_of_other_targets_is_told(config, capsys, network, changes, told):
    config.model = small_config(name=network).model
    config.update_from_flattened_dict(changes)
    tasks.build(config).evaluation(trained=False)
    printed = capsys.readouterr().out
    assert told in printed and ("puts joints" in printed) == bool(told)


@pytest.mark.parametrize(
    ("offset", "height", "decoder", "off"), [(0.0, 255, "cpn", 0), (0.0, 255, "quarter", -2), (2.0, 1, "cpn", 2)]
)
def test_cpns_decoder_and_targets_agree_only_together(offset, height, decoder, off):
    """Over all places within a pixel, but for a step towards the second maximum, joints are this far off."""
    joints = np.repeat(np.arange(20, 40, 0.25), 2).reshape(1, -1, 2)
    sizes = {"image_size": (64, 64), "heatmap_size": (16, 16), "side": 7}
    heatmaps, _ = cpn_codec.render(joints, np.ones((1, 80)), offset=offset, height=height, **sizes)
    found, _ = heatmap.decode(heatmaps, decoder)
    assert abs((layers.STRIDE * np.asarray(found) - joints).mean() - off) < 0.9


def test_a_codec_with_offsets_is_refused_for_coarser_heatmaps(config):
    config.model = small_config(name="hrnet_resolutions", heads=(1,)).model
    config.codec = "udp_offset"
    with pytest.raises(
        ValueError, match=r"`codec` \(='udp_offset'\) is for heatmaps of a quarter of the image, not"
    ):
        tasks.build(config)


def test_a_network_for_all_people_of_a_photo_is_refused(config):
    config.model = small_config(name="higher_hrnet").model
    with pytest.raises(
        ValueError,
        match=r"`model.name` \(='higher_hrnet'\) finds all people of a photo, and `task` .* 'bottom_up'",
    ):
        tasks.build(config)


def test_targets_may_be_given(config):
    given = np.full((2, 16, 8, 17), 0.5, np.float32), np.ones((2, 17), np.float32)
    task = type(tasks.build(config))(config, targets=lambda *_: given)
    variables, batch = task.init(), small_batch(config)
    loss, _ = jax.jit(task.loss)(variables["params"], variables["batch_stats"], batch)
    normal = layers.normalize(jax.numpy.asarray(batch["image"]))
    heatmaps, _ = task.model.apply(variables, normal, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(loss, losses.mse(heatmaps, *given).mean(), rtol=1e-4)
