"""Every setting acts: each field of each configuration, what it is changed to, and what must change then.

`TABLE` is the documentation; the claims above it say precisely what changes. Training starts from four things: the
initial weights, the order of people, their crops, and the learning rates. Those that a row does not list must keep
every bit.
"""

import contextlib
import dataclasses
import importlib
import multiprocessing
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import observed
import pytest
from ml_collections import ConfigDict
from observed import Observed

from hrnet_jax import (
    checkpoint,
    codecs,
    configuration,
    geometry,
    heatmap,
    models,
    rows,
    skeletons,
    training,
    views,
)
from hrnet_jax.datasets import annotated_photos
from hrnet_jax.optimizer import OPTIMIZERS, SCHEDULES
from hrnet_jax.run import non_finite, progress, setup
from hrnet_jax.tasks import top_down

pytestmark = pytest.mark.filterwarnings("ignore:.weight_decay")  # costs accuracy, which this does not measure

WEIGHTS, ORDER, CROPS, RATES = STARTS = ("weights", "order", "crops", "rates")
JOINTS = skeletons.COCO.num_joints
HEATMAP = 16  # pixels of a side


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> bool:
    """Whether arrays are equal up to a share of the largest value."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    return bool(np.abs(found - expected).max() <= tolerance * np.abs(expected).max())


def batch(people: int = 8, visible: int = JOINTS, at: float = 32.0) -> dict[str, np.ndarray]:
    """Noise with the first joints visible, all at one place; 32 crop pixels are the middle of heatmap pixel 8."""
    image = np.random.default_rng(0).integers(0, 256, (people, 64, 64, 3), np.uint8)
    shown = np.broadcast_to(np.arange(JOINTS) < visible, (people, JOINTS)).astype(np.float32)
    return {"image": image, "joints": np.full((people, JOINTS, 2), at, np.float32), "visible": shown}


def part(batch: Mapping[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
    return {name: array[rows] for name, array in batch.items()}


def loss_of_targets(run: Observed, visible: int = JOINTS, at: float = 32.0) -> float:
    """The loss where the network predicts 0: half the mean of the squared targets."""
    params = run.lively["params"]
    silent = params | {"final_layer": jax.tree.map(np.zeros_like, params["final_layer"])}
    return run.loss(batch(visible=visible, at=at), silent)[0]


def energy(sigma: float = 2.0, center: float = 8.0, cut: float = 3.0) -> float:
    """Half the mean square of a Gaussian at a pixel (x, x) of a heatmap, cut to a square of so many sigmas."""
    offsets = np.arange(HEATMAP) - center
    offsets = offsets[np.abs(offsets) <= cut * sigma]
    return 0.5 * (np.exp(-np.square(offsets / sigma)).sum() / HEATMAP) ** 2


def of_config(run: Observed, leaf: str) -> Any:
    return configuration.flatten(run.config.to_dict())[leaf]


# What is trained: claims about the run before and after the change


def another_task_runs(before: Observed, after: Observed) -> None:
    assert before.run.task.metrics == ("loss", "pck") and after.run.task.metrics == ("loss", "distance")
    assert after.run.evaluation.logged_score == "val2017/found"


def everything_random_is_drawn_anew(before: Observed, after: Observed) -> None:
    assert sorted(before.order) == sorted(after.order) == list(range(len(before.run.examples)))
    first, second = (run.draws.factor[np.argsort(run.order)] for run in (before, after))
    assert np.mean(first == second) < 0.5  # of the same person; factors at their bounds may be equal
    params = [jax.tree.leaves(run.state.params) for run in (before, after)]
    assert all((one != other).any() for one, other in zip(*params, strict=True) if one.ndim == 4)


def joints_keep_their_side_in_the_flip_test(before: Observed, after: Observed) -> None:
    for run, order in ((before, skeletons.COCO.flip_order), (after, np.arange(JOINTS))):
        assert close(run.truth.scores, flipped(run, order).max((1, 2)))


def crops_have_the_size(before: Observed, after: Observed) -> None:
    for run in (before, after):
        for batch in (run.batches[0], run.first_evaluated()):
            assert batch["image"].shape[1:3] == run.config.image_size
        task, variables = run.run.task, run.run.task.shapes()
        jax.eval_shape(task.loss, variables["params"], variables["batch_stats"], task.inputs())  # targets fit


def data_are_read_there(before: Observed, after: Observed) -> None:
    for run in (before, after):
        for data in (run.run.examples, run.run.evaluation):
            assert data.split.annotations.parent.parent == pathlib.Path(run.config.data.dir)


def people_of_the_other_split_are_trained_on(before: Observed, after: Observed) -> None:
    assert after.run.examples.name == before.run.evaluation.name == "val2017"
    assert after.run.examples.digest() == before.run.evaluation.digest()


def people_of_the_other_split_are_evaluated(before: Observed, after: Observed) -> None:
    assert after.run.evaluation.logged_score == "train2017/gt_boxes/AP"
    assert after.run.evaluation.digest() == before.run.examples.digest()


def people_of_both_splits_are_trained_on(before: Observed, after: Observed) -> None:
    counts = [len(before.run.examples), len(before.run.evaluation)]
    assert len(after.run.examples) == sum(counts) == len(set(after.order))
    assert max(after.order) == sum(counts) - 1


def everyone_is_visited_twice_in_an_epoch(before: Observed, after: Observed) -> None:
    assert len(after.run.examples) == 2 * len(before.run.examples)
    assert np.bincount(after.order).tolist() == [2] * len(before.run.examples)


def targets_are_as_wide(before: Observed, after: Observed) -> None:
    for run in (before, after):
        assert loss_of_targets(run) == pytest.approx(energy(run.config.heatmap.sigma), rel=1e-5)


def fractions_of_a_pixel_count(before: Observed, after: Observed) -> None:
    for at, pixel in ((32.0, 8), (33.0, 8), (1.0, 0), (3.0, 1)):
        assert loss_of_targets(before, at=at) == pytest.approx(energy(center=pixel), rel=1e-5)
        assert loss_of_targets(after, at=at) == pytest.approx(energy(center=at / 4, cut=np.inf), rel=1e-5)


def sizes_vary_in_proportion(before: Observed, after: Observed) -> None:
    whole, ratio = ~before.draws.half_body, after.config.augment.scale / before.config.augment.scale
    first, second = before.draws.factor[whole] - 1, after.draws.factor[whole] - 1
    assert np.ptp(first) > before.config.augment.scale and close(second, ratio * first, 1e-3)


def rotations_vary_in_proportion(before: Observed, after: Observed) -> None:
    first, second = before.draws.rotation, after.draws.rotation
    ratio = after.config.augment.rotation / before.config.augment.rotation
    assert np.ptp(first) > before.config.augment.rotation and close(second, ratio * first, 1e-3)


def everyone_is_rotated(before: Observed, after: Observed) -> None:
    first, second = (np.mean(np.abs(run.draws.rotation) > 1e-2) for run in (before, after))
    assert 0 < first < second == 1


def everyone_is_mirrored(before: Observed, after: Observed) -> None:
    assert 0 < before.draws.mirrored.mean() < after.draws.mirrored.mean() == 1
    assert close(after.draws.rotation, before.draws.rotation) and close(after.draws.factor, before.draws.factor)


def visible_joints(run: Observed) -> np.ndarray:
    """Number of visible joints of each person, in the order of their visits."""
    return (run.run.examples.split.people.visible[run.order] > 0).sum(1)


def all_who_may_be_are_cut_in_half(before: Observed, after: Observed) -> None:
    may_be = visible_joints(before) > before.config.augment.half_body_min_joints
    assert 0 < before.draws.half_body[may_be].mean() < 1
    np.testing.assert_array_equal(after.draws.half_body, may_be)


def only_people_with_more_joints_are_cut_in_half(before: Observed, after: Observed) -> None:
    for run in (before, after):
        more = visible_joints(run) > run.config.augment.half_body_min_joints
        np.testing.assert_array_equal(run.draws.half_body, more)
    assert before.draws.half_body.sum() > after.draws.half_body.sum() > 0


def weights_are_those_of_the_checkpoint(before: Observed, after: Observed) -> None:
    config = before.config.copy_and_resolve_references()
    config.seed = SEED_OF_CHECKPOINT
    assert after.weights == Observed(config).weights != before.weights


def batches_have_the_size(before: Observed, after: Observed) -> None:
    for run in (before, after):
        size, epochs = run.config.batch_size, run.config.epochs
        assert run.batches[0]["image"].shape[0] == run.run.task.inputs()["image"].shape[0] == size
        assert run.run.steps == epochs * -(-len(run.run.examples) // size)


def parts_are_normalized_one_after_another(before: Observed, after: Observed) -> None:
    people, losses, stats = batch(), [], None
    for rows_of_part in (slice(0, None, 2), slice(1, None, 2)):
        value, stats = before.loss(part(people, rows_of_part), batch_stats=stats)
        losses.append(value)
    gradients = jax.jit(after.step().gradients)
    _, (found, metrics) = gradients(after.lively["params"], after.lively["batch_stats"], people)
    assert same(found, stats, 1e-4) and not same(found, before.loss(people)[1], 1e-2)
    assert close(metrics["loss"], np.mean(losses))


def same(found: Any, expected: Any, tolerance: float = 1e-5) -> bool:
    """Whether all arrays of trees are `close`."""
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: close(x, y, tolerance), found, expected)))


def the_optimizer_state_is_split_over_devices(before: Observed, after: Observed) -> None:
    for run in (before, after):
        state = setup.first_state(run.on_all_devices)
        moments, weights = (jax.tree.leaves(tree) for tree in (state.opt_state, state.params))
        assert any(not leaf.sharding.is_fully_replicated for leaf in moments) == run.config.fsdp
        assert all(leaf.sharding.is_fully_replicated for leaf in weights)


def training_is_as_long(before: Observed, after: Observed) -> None:
    for run in (before, after):
        steps = run.config.epochs * before.run.steps_per_epoch
        assert run.run.steps == len(run.rates) == run.files["lines"][-1] == steps
    assert close(after.rates[: before.run.steps], before.rates)


def scheduled(run: Observed) -> np.ndarray:
    """The rates that train.py logs."""
    return np.array([float(run.run.schedule(step)) for step in range(run.run.steps)])


def rates_are_in_proportion(before: Observed, after: Observed) -> None:
    ratio = after.config.learning_rate / before.config.learning_rate
    assert close(after.rates, ratio * before.rates, 1e-4) and close(scheduled(after), ratio * scheduled(before))


def rates_drop_after_these_epochs(before: Observed, after: Observed) -> None:
    for run in (before, after):
        epoch = np.arange(run.run.steps) // run.run.steps_per_epoch
        drops = np.greater_equal.outer(epoch, run.config.learning_rate_drops).sum(1)
        expected = run.config.learning_rate * 0.1**drops
        assert close(run.rates, expected, 1e-4) and close(scheduled(run), expected)


def rates_grow_over_the_first_steps(before: Observed, after: Observed) -> None:
    growth = np.minimum((np.arange(before.run.steps) + 1) / after.config.warmup_steps, 1)
    assert close(after.rates, growth * before.rates, 1e-4) and close(scheduled(after), growth * scheduled(before))


def weights_without_gradient_shrink(before: Observed, after: Observed) -> None:
    assert not before.moves(gradient=0.0, weight=1.0).any()
    assert (after.moves(gradient=0.0, weight=1.0) > 0).all()


def steps_are_as_long_as_gradients(before: Observed, after: Observed) -> None:
    """SGD's are; Adam's do not depend on them."""
    assert close(before.moves(gradient=2.0), before.rates, 1e-4)
    assert close(after.moves(gradient=2.0), 2 * after.rates)


def rates_follow_a_cosine(before: Observed, after: Observed) -> None:
    expected = after.config.learning_rate * (1 + np.cos(np.pi * share_of_run(after))) / 2
    assert close(after.rates, expected, 1e-4) and close(scheduled(after), expected)


def rates_stay(before: Observed, after: Observed) -> None:
    assert close(after.rates, after.config.learning_rate, 1e-4) and close(
        scheduled(after), after.config.learning_rate
    )


def rates_follow_a_power(before: Observed, after: Observed) -> None:
    for run in (before, after):
        expected = run.config.learning_rate * (1 - share_of_run(run)) ** run.config.schedule_power
        assert close(run.rates, expected, 1e-4) and close(scheduled(run), expected)


def share_of_run(run: Observed) -> np.ndarray:
    """The share of the run that is done before each step."""
    return np.arange(run.run.steps) / run.run.steps


def earlier_gradients_count(before: Observed, after: Observed) -> None:
    """All gradients are 1: a step is the rate times the sum of powers of the momentum, weighted in RMSprop."""
    for run in (before, after):
        steps = np.arange(1, run.run.steps + 1)
        pushes = (1 - 0.99**steps) ** -0.5 if run.config.optimizer == "rmsprop" else np.ones(len(steps))
        sums = [np.sum(pushes[:step] * run.config.momentum ** np.arange(step)[::-1]) for step in steps]
        assert close(run.rates, scheduled(run) * sums, 1e-4)


def the_newest_gradient_counts_twice(before: Observed, after: Observed) -> None:
    """Nesterov's momentum adds the next step's share of the sum at once."""
    momentum = before.config.momentum
    assert close(after.rates, scheduled(before) + momentum * before.rates)


def gradients_are_no_longer_than_this(before: Observed, after: Observed) -> None:
    limit = after.config.gradient_clip
    assert close(before.moves(gradient=2.0), 2 * before.moves(gradient=1.0))
    for gradient in (2.0, 1.0, limit / 2):
        expected = min(gradient, limit) / gradient * before.moves(gradient)
        assert close(after.moves(gradient), expected, 1e-4)


def an_average_follows_the_weights(before: Observed, after: Observed) -> None:
    assert before.state.average is None
    assert same(after.state.average, after.state.variables(), 0.0)
    state = state_of_one_weight(after)
    state, _ = after.step().update(
        dataclasses.replace(state, step=jnp.int32(1000)), np.ones(1, np.float32), {}, LOSS
    )
    moved, followed = (1 - tree["params"] for tree in (state.variables(), state.variables(averaged=True)))
    assert moved > 0 and close(followed, (1 - after.config.average_decay) * moved, 1e-3)


def as_many_steps_are_skipped(before: Observed, after: Observed) -> None:
    for run in (before, after):
        allowed = run.config.skip_not_finite
        with tempfile.TemporaryDirectory() as workdir:
            handle = non_finite.NonFiniteHandler(pathlib.Path(workdir), run.run, 0)
            for step in range(allowed):
                handle(progress.NonFiniteStep(step, np.nan, np.array([0])))
            with pytest.raises(ValueError, match=f"step {allowed} "):
                handle(progress.NonFiniteStep(allowed, np.nan, np.array([0])))
        assert close(weight_after_a_step(run, 1.0), 1 - run.rates[0])
        np.testing.assert_equal(weight_after_a_step(run, np.nan), 1.0 if allowed else np.nan)


LOSS = {"loss": np.float32(1)}


def state_of_one_weight(run: Observed) -> training.TrainState:
    """The first state of a network of one weight, which is 1."""
    variables = {"params": np.ones(1, np.float32), "batch_stats": {}}
    return training.init_state(variables, run.run.optimizer, averaged=run.config.average_decay > 0)


def weight_after_a_step(run: Observed, gradient: float) -> float:
    """Where a weight of 1 is after a step with this gradient and loss."""
    gradients, metrics = np.full(1, gradient, np.float32), {"loss": np.float32(gradient)}
    return float(run.step().update(state_of_one_weight(run), gradients, {}, metrics)[0].params[0])


def the_hardest_joints_count(before: Observed, after: Observed) -> None:
    """Eight joints have an error, all the same: the mean is over 17 joints before and over 8 after."""
    found = [loss_of_targets(run, visible=8) for run in (before, after)]
    assert found == pytest.approx([energy() * 8 / JOINTS, energy()], rel=1e-5)


def targets_are_of_the_user(before: Observed, after: Observed) -> None:
    found = [loss_of_targets(run) for run in (before, after)]
    assert found == pytest.approx([energy(), 0.5], rel=1e-5)


def joints_weigh(before: Observed, after: Observed) -> None:
    named = {(): np.ones(JOINTS), ("original",): skeletons.COCO.joint_weights["original"]}
    for run in (before, after):
        weights = np.square(named.get(run.config.joint_weights, run.config.joint_weights))
        assert loss_of_targets(run) == pytest.approx(energy() * np.mean(weights), rel=1e-5)
        assert loss_of_targets(run, visible=1) == pytest.approx(energy() * weights[0] / JOINTS, rel=1e-5)


# How it is evaluated


def flipped(
    run: Observed, order: np.ndarray = skeletons.COCO.flip_order, shift: float = 1.0, reverse: bool = False
) -> np.ndarray:
    """The mean of the heatmaps of the crops and of the mirrored crops."""
    mirrored = jnp.asarray(run.heatmaps(mirrored=True, reverse=reverse))
    return (run.heatmaps(reverse=reverse) + np.asarray(heatmap.flip(mirrored, order, shift))) / 2


def evaluated_batches_have_the_size(before: Observed, after: Observed) -> None:
    for run in (before, after):
        assert len(run.first_evaluated()["image"]) == run.config.eval.batch_size


def mirrored_crops_do_not_count(before: Observed, after: Observed) -> None:
    assert close(before.truth.scores, flipped(before).max((1, 2)))
    assert close(after.truth.scores, after.heatmaps().max((1, 2)))


def mirrored_heatmaps_are_shifted(before: Observed, after: Observed) -> None:
    for run in (before, after):
        assert close(run.truth.scores, flipped(run, shift=run.config.eval.flip_shift).max((1, 2)))
    assert not close(before.truth.scores, after.truth.scores, 1e-3)


def whole_pixels(joints: np.ndarray, of: float) -> float:
    """The share of coordinates that are multiples of some crop pixels; a heatmap pixel is 4."""
    return float(np.mean(np.abs(joints / of - np.rint(joints / of)) < 1e-2))


def joints_are_fractions_of_a_pixel(before: Observed, after: Observed) -> None:
    assert whole_pixels(before.decoded, 1) == 1 and whole_pixels(before.decoded, 4) < 0.9
    assert whole_pixels(after.decoded, 1) < 0.9
    assert close(before.truth.scores, after.truth.scores)


def joints_are_whole_pixels(before: Observed, after: Observed) -> None:
    assert whole_pixels(before.decoded, 4) < 0.9 and whole_pixels(after.decoded, 4) == 1
    assert np.abs(before.decoded - after.decoded).max() < 1.1  # a quarter of a heatmap pixel


def joints_are_a_quarter_from_the_middle_of_a_pixel(before: Observed, after: Observed) -> None:
    pixels = after.decoded / 4 - 0.5
    distance = np.linalg.norm(pixels - np.rint(pixels), axis=-1)
    assert np.mean(np.abs(distance - 0.25) < 1e-2) > 0.2 and distance.max() < 0.26  # less at the border
    assert np.abs(after.truth.scores - 0.5).max() < 2 * np.abs(before.heatmaps()).max() / 255


def more_people_are_duplicates(before: Observed, after: Observed) -> None:
    assert len(before.detected.results) == len(before.detected.people) > len(after.detected.results)
    for run in (before, after):
        assert {result["image_id"] for result in run.detected.results} == set(
            run.detected.people.photo_id.tolist()
        )


def duplicates_are_kept(before: Observed, after: Observed) -> None:
    assert len(before.detected.results) < len(after.detected.results) == len(after.detected.people)


def several_crops_are_averaged(before: Observed, after: Observed) -> None:
    batch, chosen = after.first_evaluated(), views.make(after.config.eval.scales, after.config.eval.rotations)
    images, count = batch["image"], int(batch["valid"].sum())
    np.testing.assert_array_equal(images[:, 0], before.first_evaluated()["image"])
    assert images.shape[1] == len(chosen) == 2
    crops = images.reshape(-1, *images.shape[2:])
    plain, mirrored = (
        observed._apply(after.run.task.model, after.lively, crops[:, :, ::step])  # pyright: ignore
        for step in (1, -1)
    )
    both = (plain + heatmap.flip(mirrored, skeletons.COCO.flip_order, 1.0)) / 2
    expected = views.average(both.reshape(*images.shape[:2], *both.shape[1:]), chosen, codecs.find("original"))
    assert close(after.truth.scores[:count], expected.max((1, 2))[:count])
    assert not close(before.truth.scores, after.truth.scores, 1e-3)


def corners_are_corners(before: Observed, after: Observed) -> None:
    """Of box, crop and heatmap, in which a mirrored image's heatmaps need no shift."""
    for run, last in ((before, 64), (after, 63)):
        crops, boxes = run.first_evaluated()["crop"].astype(float), run.run.evaluation.split.people.box
        for crop, box in zip(crops, boxes, strict=False):
            center, scale = geometry.box_to_center_scale(box, 1.0)
            corners = center + np.array([[-0.5], [0.5]]) * scale * geometry.PIXELS_PER_SCALE
            np.testing.assert_allclose(geometry.apply(crop, corners), [[0, 0], [last, last]], atol=1e-2)
    assert loss_of_targets(after, at=33.0) == pytest.approx(energy(center=33 * 15 / 63), rel=1e-2)
    assert close(before.truth.scores, flipped(before).max((1, 2)))
    assert close(after.truth.scores, flipped(after, shift=0.0).max((1, 2)))


def other_joints_make_a_score(before: Observed, after: Observed) -> None:
    for run in (before, after):
        counted = run.truth.scores * (run.truth.scores > run.config.eval.joint_score_threshold)
        mean = counted.sum(1) / np.maximum((counted > 0).sum(1), 1)
        found = [result["score"] for result in run.truth.results]
        assert close(np.sort(found), np.sort(mean))
    assert before.truth.results != after.truth.results


def the_average_is_evaluated(before: Observed, after: Observed) -> None:
    """By train.py, where the weight is the number of steps and its average 0, and by eval.py."""
    for run in (before, after):
        averaged = run.config.eval.averaged
        assert run.files["scores"] == ([0.0, 0.0] if averaged else run.files["evaluations"])
        other = jax.tree.map(lambda leaf: leaf + 1, run.state.average)
        state = dataclasses.replace(run.state, average=other)
        with tempfile.TemporaryDirectory() as workdir:
            with contextlib.closing(checkpoint.Checkpoints(workdir, run.run.task.describe())) as checkpoints:
                checkpoints.save(state, 0)
            assert same(run.restored(pathlib.Path(workdir)), state.variables(averaged), 0.0)


def metrics_are_of_the_user(before: Observed, after: Observed) -> None:
    assert "val2017/gt_boxes/AP" in before.truth.metrics
    assert after.run.evaluation.logged_score == "val2017/gt_boxes/people"
    assert after.truth.metrics == {"val2017/gt_boxes/people": len(after.truth.people)}


# What a run leaves


def due(run: Observed, interval: int) -> list[int]:
    """The steps after which something of an interval is due; the last one always is."""
    return [step for step in range(1, run.run.steps + 1) if step % interval == 0 or step == run.run.steps]


def files_are_of_these_steps(before: Observed, after: Observed) -> None:
    for run in (before, after):
        config, evaluations = run.config, due(run, run.config.eval_every * run.run.steps_per_epoch)
        assert run.files == {
            "lines": due(run, config.log_every),
            "evaluations": evaluations,
            "scores": evaluations,
            "pictures": due(run, config.picture_every),
            "checkpoints": sorted({*due(run, config.checkpoint_every), *evaluations})[-2:],
        }
    assert before.files != after.files


# The network


def it_is_a_resnet(before: Observed, after: Observed) -> None:
    assert "stage4.0" in before.shapes and "layer4.2" in after.shapes and "stage4.0" not in after.shapes


def it_has_101_layers(before: Observed, after: Observed) -> None:
    blocks = [sum(name.startswith("layer3.") for name in run.shapes) for run in (before, after)]
    assert blocks == [6, 23]


def channels(run: Observed, *path: str) -> int:
    """The output channels of a convolution."""
    node = run.shapes
    for name in path:
        node = node[name]
    return node["weight"][-1]


def branches_have_the_width(before: Observed, after: Observed) -> None:
    for run in (before, after):
        for branch in range(4):
            found = channels(run, "stage4.0", f"branches.{branch}.0", "conv1")
            assert found == run.config.model.width * 2**branch


def the_stem_has_the_width(before: Observed, after: Observed) -> None:
    for run in (before, after):
        found = channels(run, "conv1"), channels(run, "layer1.0", "conv3")
        assert found == (run.config.model.stem, 4 * run.config.model.stem)


def the_resnet_of_a_cpn_has_the_stem(before: Observed, after: Observed) -> None:
    for run in (before, after):
        found = channels(run, "resnet.conv1"), channels(run, "resnet.layer4.0", "conv3")
        assert found == (run.config.model.stem, 32 * run.config.model.stem)


def stage_3_has_two_units(before: Observed, after: Observed) -> None:
    assert after.shapes.keys() - before.shapes.keys() == {"stage3.1"}


def branches_have_two_blocks(before: Observed, after: Observed) -> None:
    for stage, branches in (("stage2.0", 2), ("stage3.0", 3), ("stage4.0", 4)):
        more = after.shapes[stage].keys() - before.shapes[stage].keys()
        assert more == {f"branches.{branch}.1" for branch in range(branches)}


def there_are_two_hourglasses(before: Observed, after: Observed) -> None:
    more = after.shapes.keys() - before.shapes.keys()
    assert {name.split(".")[0] for name in more} == {"hgs", "features", "outs", "merge_features", "merge_preds"}
    assert {name.split(".")[1] for name in more if not name.startswith("merge")} == {"1"}


def hourglasses_have_the_channels(before: Observed, after: Observed) -> None:
    for run in (before, after):
        found = channels(run, "hgs.0.0", "up1", "conv3.conv"), channels(run, "features.0.0", "conv1.conv")
        assert found == (run.config.model.features, run.config.model.features // 2)


def the_resolution_is_halved_twice(before: Observed, after: Observed) -> None:
    assert "conv1.conv" in before.shapes["hgs.0.0"]["low2"] and "low2" in after.shapes["hgs.0.0"]["low2"]


def the_first_three_parts_have_the_channels(before: Observed, after: Observed) -> None:
    for run in (before, after):
        found = [channels(run, "pre.0.conv"), *(channels(run, f"pre.{i}", "conv3.conv") for i in (1, 3))]
        assert tuple(found) == run.config.model.stem_features


def no_block_follows_the_hourglass(before: Observed, after: Observed) -> None:
    assert before.shapes.keys() - after.shapes.keys() == {"features.0.0"}


def deconvolutions_have_the_channels(before: Observed, after: Observed) -> None:
    for run in (before, after):
        found = {run.shapes[f"deconv_layers.{3 * i}"]["weight"][2] for i in range(3)}
        assert found == {run.config.model.features}


def both_parts_of_a_cpn_have_the_channels(before: Observed, after: Observed) -> None:
    for run in (before, after):
        first, last = (
            channels(run, "global_net.laterals.0", "0"),
            channels(run, "refine_net.final_predict.0", "conv3"),
        )
        assert (first, last) == (run.config.model.features, run.config.model.features)


def every_block_has_a_projection(before: Observed, after: Observed) -> None:
    for run in (before, after):
        blocks = [name for name in run.shapes if name.startswith("refine_net.cascade")]
        assert len(blocks) == 6 and "downsample" in run.shapes["refine_net.final_predict.0"]
        assert all(("downsample" in run.shapes[name]) == run.config.model.projection for name in blocks)


def targets_of(run: Observed, at: float) -> list[np.ndarray]:
    """The targets of all levels for a joint at a crop pixel."""
    joints, ones = jnp.full((1, JOINTS, 2), at, jnp.float32), jnp.ones((1, JOINTS), jnp.float32)
    return [np.asarray(x)[0, :, :, 0] for x in top_down.make_target_fn(run.config)(joints, ones, ones)[0]]


def targets_are_blurred_by_these_kernels(before: Observed, after: Observed) -> None:
    for run in (before, after):
        widths = [int((x > 0).any(0).sum()) for x in targets_of(run, at=32.0)]
        assert widths == [*run.config.model.kernels, run.config.model.kernels[-1]]


def targets_are_as_in_public_code(before: Observed, after: Observed) -> None:
    for run, height, pixel in ((before, 1, 9), (after, 255, 8)):
        for target in targets_of(run, at=34.9):
            assert target.max() == pytest.approx(height)
            assert np.unravel_index(target.argmax(), target.shape) == (pixel, pixel)


def fewer_joints_count(before: Observed, after: Observed) -> None:
    for run in (before, after):
        count, labelled = run.config.hardest_joints, 4
        assert close(loss_of_targets(run, visible=labelled), energy() * min(labelled, count) / count, 1e-4)


def every_unit_exchanges_by_1x1_convolutions(before: Observed, after: Observed) -> None:
    assert "fuse_layers.1.0" not in before.shapes["stage2.0"]
    assert after.shapes["stage2.0"]["fuse_layers.1.0"]["0"]["weight"][:2] == (1, 1)


def two_resolutions_have_heatmaps(before: Observed, after: Observed) -> None:
    for run, heads in ((before, (0, 1, 2, 3)), (after, (0, 2))):
        assert {name for name in run.shapes if "final" in name} == {f"final_layer.{head}" for head in heads}
        fused = {name.split(".")[1] for name in run.shapes["stage4.0"] if "fuse" in name}
        assert fused == set(map(str, heads))


def there_are_two_deconvolutions(before: Observed, after: Observed) -> None:
    for run, count in ((before, 1), (after, 2)):
        layers = {name for name in run.shapes if name.startswith(("final", "deconv"))}
        heads = {f"final_layers.{i}" for i in range(count + 1)}
        assert layers == heads | {f"deconv_layers.{i}" for i in range(count)}


def colors_are_read_in_reverse(before: Observed, after: Observed) -> None:
    straight = batch()
    reverse = straight | {"image": straight["image"][..., ::-1]}
    found, expected, other = after.loss(straight)[0], before.loss(reverse)[0], before.loss(straight)[0]
    assert close(found, expected) and not close(found, other, 1e-3)
    assert close(before.truth.scores, flipped(before).max((1, 2)))
    assert close(after.truth.scores, flipped(before, reverse=True).max((1, 2)))


def types_of_convolutions(run: Observed) -> set[str]:
    return set(re.findall(r":(\w+)\[[\d,]+\] = conv_general_dilated", run.program))


def convolutions_are_in_bfloat16(before: Observed, after: Observed) -> None:
    assert (types_of_convolutions(before), types_of_convolutions(after)) == ({"f32"}, {"bf16"})
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(after.state.params)} == {"float32"}


def people_are_normalized_in_groups(before: Observed, after: Observed) -> None:
    """The running statistics are those of the first group."""
    people, group = batch(), slice(after.config.model.norm_group_size)
    (_, found), (_, of_all), (_, of_group) = (
        after.loss(people),
        before.loss(people),
        before.loss(part(people, group)),
    )
    assert same(found["bn1"], of_group["bn1"], 1e-4) and not same(found["bn1"], of_all["bn1"], 1e-4)


def running_statistics_are_kept(before: Observed, after: Observed) -> None:
    for run in (before, after):
        _, stats = run.loss(batch())
        assert same(stats, run.lively["batch_stats"], 0.0) == run.config.model.norm_frozen


def units_are_computed_again(before: Observed, after: Observed) -> None:
    again = [re.findall(r"= (?:remat|checkpoint)\w*\[", run.program) for run in (before, after)]
    assert [len(found) for found in again] == [0, 3]


# Whole photos


def as_many_people_of_a_photo_are_trained_on(before: Observed, after: Observed) -> None:
    for run in (before, after):
        assert run.batches[0]["visible"].shape[1] == run.config.most_people
    most = after.config.most_people
    np.testing.assert_array_equal(before.epoch("visible")[:, :most], after.epoch("visible"))


def windows_move_as_far(before: Observed, after: Observed) -> None:
    """The drawn numbers are the same, but for rounding to whole pixels of the photo."""
    first, second = (np.concatenate([*shifts(run)]) for run in (before, after))
    ratio = after.config.augment.shift / before.config.augment.shift
    assert np.abs(first).max() > 10 and np.abs(ratio * first - second).max() < 1.5


def shifts(run: Observed) -> Iterator[np.ndarray]:
    """How far the window lies off the middle of each photo with people, in pixels of the photo."""
    table, sizes = run.run.examples.photos, annotated_photos.list_all(run.run.examples.split).sizes
    for row, joints in zip(run.order, run.epoch("joints")[:, -1], strict=True):
        people, heatmap = slice(table.first[row], table.first[row + 1]), run.config.image_size[0] / 2
        given, labelled = table.joints[people].reshape(-1, 2), table.visible[people].reshape(-1) > 0
        found = joints[: table.counts[row]].reshape(-1, 2)
        if labelled.sum() >= 3:
            middle = np.array([*sizes[table.photo_index[row]][::-1]]) / 2
            matrix, *_ = np.linalg.lstsq(np.c_[given, np.ones(len(given))][labelled], found[labelled], rcond=None)
            yield np.linalg.solve(matrix[:2].T, heatmap / 2 - matrix[2]) - middle


def means_of_tags_are_compared_otherwise(before: Observed, after: Observed) -> None:
    terms = []
    for run in (before, after):
        loss = jax.jit(run.run.task.loss)
        terms.append(loss(run.lively["params"], run.lively["batch_stats"], before.batches[0])[1][1])
    assert {name for name in terms[0] if not close(terms[0][name], terms[1][name])} == {"push_0"}


def terms_of_tags_weigh_more(before: Observed, after: Observed) -> None:
    old, new = (
        jax.jit(run.run.task.loss)(run.lively["params"], run.lively["batch_stats"], before.batches[0])[1][1]
        for run in (before, after)
    )
    factor = after.config.tag_factor / before.config.tag_factor
    for name, term in old.items():
        assert close(new[name], term * (factor if name.startswith("pu") else 1))


def people_are_found_by_the_setting(before: Observed, after: Observed) -> None:
    settings = [vars(run.run.evaluation.settings) for run in (before, after)]
    found = [fields | vars(fields["grouping"]) | {"grouping": None} for fields in settings]
    (changed,) = (name for name in found[0] if found[0][name] != found[1][name])
    (leaf,) = (leaf for leaf, value in after.config.eval.items() if before.config.eval[leaf] != value)
    assert changed == leaf and found[1][changed] == after.config.eval[leaf]


# The loader


def that_many_threads_load(before: Observed, after: Observed) -> None:
    for config in (before.config, after.config):
        new, count = Observed(config), config.loader.threads  # no loader of its photos is at work
        with observed.threads_that_read(new.run.examples.split, count) as threads:
            assert new.batches and len(threads) == count
        with observed.threads_that_read(new.run.evaluation.split, count) as threads:
            assert new.first_evaluated() and len(threads) == count


def that_many_processes_load(before: Observed, after: Observed) -> None:
    for run in (before, after):
        with contextlib.closing(run.run.examples.batches(0)) as batches:
            next(batches)
            assert len(multiprocessing.active_children()) == run.config.loader.workers


@dataclasses.dataclass(frozen=True)
class Row:
    """A setting and what it must change.

    Attributes:
      leaf: full name of the field.
      value: what it is changed to; names in braces are of the fixture `paths`.
      claim: a function of the run before and after the change, with the assertions.
      changes: which of `STARTS` change; the others keep every bit.
      given: fields that both runs have.
    """

    leaf: str
    value: Any
    claim: Callable[[Observed, Observed], None]
    changes: tuple[str, ...] = ()
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        given = "".join(f", {name}={value}" for name, value in self.given.items())
        return f"{self.leaf}={self.value!s:.30}{given}"


HRNET, RESNET = {"model.name": "hrnet"}, {"model.name": "simple_baseline"}
HOURGLASS, CPN = {"model.name": "hourglass"}, {"model.name": "cpn"}
ABLATION, RESOLUTIONS = {"model.name": "hrnet_ablation"}, {"model.name": "hrnet_resolutions"}
BOTTOM_UP = {"model.name": "higher_hrnet"}

TABLE = [
    Row("task", "coordinates:Coordinates", another_task_runs, (WEIGHTS,), HRNET),
    Row("seed", 1, everything_random_is_drawn_anew, (WEIGHTS, ORDER, CROPS)),
    Row("skeleton", "{without_sides}", joints_keep_their_side_in_the_flip_test),
    Row("image_size", (96, 64), crops_have_the_size, (CROPS,)),
    Row("data.dir", "{moved}", data_are_read_there),
    Row("data.train_split", "val2017", people_of_the_other_split_are_trained_on, (ORDER, CROPS, RATES)),
    Row("data.val_split", "train2017", people_of_the_other_split_are_evaluated),
    Row("data.extra", ("{other}",), people_of_both_splits_are_trained_on, (ORDER, CROPS, RATES)),
    Row("data.weights", (2,), everyone_is_visited_twice_in_an_epoch, (ORDER, CROPS, RATES)),
    Row("heatmap.target", "observed:full_targets", targets_are_of_the_user),
    Row("heatmap.sigma", 1.0, targets_are_as_wide),
    Row("heatmap.unbiased", True, fractions_of_a_pixel_count),
    Row("augment.scale", 0.2, sizes_vary_in_proportion, (CROPS,)),
    Row("augment.rotation", 20.0, rotations_vary_in_proportion, (CROPS,)),
    Row("augment.rotation_probability", 1.0, everyone_is_rotated, (CROPS,)),
    Row("augment.flip", 1.0, everyone_is_mirrored, (CROPS,)),
    Row("augment.half_body", 1.0, all_who_may_be_are_cut_in_half, (CROPS,)),
    Row(
        "augment.half_body_min_joints", 14, only_people_with_more_joints_are_cut_in_half, (CROPS,),
        {"augment.half_body": 1.0},
    ),
    Row("init_from", "{checkpoint}", weights_are_those_of_the_checkpoint, (WEIGHTS,)),
    Row("batch_size", 4, batches_have_the_size, (RATES,)),
    Row("accumulation", 2, parts_are_normalized_one_after_another),
    Row("fsdp", True, the_optimizer_state_is_split_over_devices, (), HRNET),
    Row("epochs", 5, training_is_as_long, (RATES,)),
    Row("optimizer", "sgd", steps_are_as_long_as_gradients, (RATES,)),
    *(Row("learning_rate", 3e-3, rates_are_in_proportion, (RATES,), {"optimizer": name}) for name in OPTIMIZERS),
    *(Row("learning_rate", 3e-3, rates_are_in_proportion, (RATES,), {"schedule": name}) for name in SCHEDULES),
    Row("schedule", "cosine", rates_follow_a_cosine, (RATES,)),
    Row("schedule", "constant", rates_stay, (RATES,)),
    Row("learning_rate_drops", (1, 3), rates_drop_after_these_epochs, (RATES,)),
    Row("schedule_power", 2.0, rates_follow_a_power, (RATES,), {"schedule": "polynomial"}),
    Row("warmup_steps", 5, rates_grow_over_the_first_steps, (RATES,)),
    *(Row("weight_decay", 0.1, weights_without_gradient_shrink, (), {"optimizer": name}) for name in OPTIMIZERS),
    *(Row("momentum", 0.5, earlier_gradients_count, (RATES,), {"optimizer": name}) for name in ("sgd", "rmsprop")),
    Row("nesterov", True, the_newest_gradient_counts_twice, (RATES,), {"optimizer": "sgd"}),
    Row("gradient_clip", 0.5, gradients_are_no_longer_than_this, (RATES,), {"optimizer": "sgd"}),
    Row("average_decay", 0.5, an_average_follows_the_weights),
    Row("skip_not_finite", 1, as_many_steps_are_skipped),
    Row("loss", "ohkm", the_hardest_joints_count),
    Row("hardest_joints", 2, fewer_joints_count, (), {"loss": "ohkm"}),
    Row("joint_weights", (3.0, *[1.0] * (JOINTS - 1)), joints_weigh),
    Row("joint_weights", ("original",), joints_weigh),
    Row("eval.averaged", True, the_average_is_evaluated, (), {"average_decay": 0.5}),
    Row("eval.protocol", "observed:COUNT", metrics_are_of_the_user),
    Row("eval.batch_size", 4, evaluated_batches_have_the_size),
    Row("eval.flip_test", False, mirrored_crops_do_not_count),
    Row("eval.flip_shift", 0.25, mirrored_heatmaps_are_shifted),
    Row("eval.decoder", "dark", joints_are_fractions_of_a_pixel),
    Row("eval.decoder", "argmax", joints_are_whole_pixels),
    Row("eval.decoder", "cpn", joints_are_a_quarter_from_the_middle_of_a_pixel),
    Row("eval.scales", (1.0, 0.8), several_crops_are_averaged),
    Row("eval.rotations", (0.0, 20.0), several_crops_are_averaged),
    Row("codec", "udp", corners_are_corners, (CROPS,)),
    Row("eval.nms_threshold", 0.05, more_people_are_duplicates),
    Row("eval.soft_nms", True, duplicates_are_kept, (), {"eval.nms_threshold": 0.05}),
    Row("eval.joint_score_threshold", 2.0, other_joints_make_a_score),
    Row("loader.threads", 2, that_many_threads_load),
    Row("loader.workers", 1, that_many_processes_load),
    Row("log_every", 5, files_are_of_these_steps),
    Row("eval_every", 3, files_are_of_these_steps),
    Row("checkpoint_every", 7, files_are_of_these_steps),
    Row("picture_every", 3, files_are_of_these_steps),
    Row("model.name", "simple_baseline", it_is_a_resnet, (WEIGHTS,), HRNET),
    Row("model.width", 8, branches_have_the_width, (WEIGHTS,), HRNET),
    Row("model.stem", 8, the_stem_has_the_width, (WEIGHTS,), HRNET),
    Row("model.units", (1, 2, 1), stage_3_has_two_units, (WEIGHTS,), HRNET),
    Row("model.blocks", 2, branches_have_two_blocks, (WEIGHTS,), HRNET),
    Row("model.depth", 101, it_has_101_layers, (WEIGHTS,), RESNET),
    Row("model.stem", 2, the_stem_has_the_width, (WEIGHTS,), RESNET),
    Row("model.features", 4, deconvolutions_have_the_channels, (WEIGHTS,), RESNET),
    Row("model.stem", 2, the_resnet_of_a_cpn_has_the_stem, (WEIGHTS,), CPN),
    Row("model.features", 4, both_parts_of_a_cpn_have_the_channels, (WEIGHTS,), CPN),
    Row("model.stacks", 2, there_are_two_hourglasses, (WEIGHTS,), HOURGLASS),
    Row("model.features", 6, hourglasses_have_the_channels, (WEIGHTS,), HOURGLASS),
    Row("model.depth", 2, the_resolution_is_halved_twice, (WEIGHTS,), HOURGLASS),
    Row("model.stem_features", (2, 6, 4), the_first_three_parts_have_the_channels, (WEIGHTS,), HOURGLASS),
    Row("model.residual_before_head", False, no_block_follows_the_hourglass, (WEIGHTS,), HOURGLASS),
    Row("model.projection", True, every_block_has_a_projection, (WEIGHTS,), CPN),
    Row("model.kernels", (9, 7, 5, 3), targets_are_blurred_by_these_kernels, (), CPN),
    Row("model.original_targets", True, targets_are_as_in_public_code, (), CPN),
    Row("model.variant", "bilinear", every_unit_exchanges_by_1x1_convolutions, (WEIGHTS,), ABLATION),
    Row("model.heads", (0, 2), two_resolutions_have_heatmaps, (WEIGHTS,), RESOLUTIONS),
    Row("model.deconvolutions", 2, there_are_two_deconvolutions, (WEIGHTS, CROPS), BOTTOM_UP),
    Row("model.colors", "BGR", colors_are_read_in_reverse),
    Row("model.dtype", "bfloat16", convolutions_are_in_bfloat16, (), HRNET),
    Row("model.norm_group_size", 4, people_are_normalized_in_groups, (), HRNET),
    Row("most_people", 1, as_many_people_of_a_photo_are_trained_on, (CROPS,), BOTTOM_UP),
    Row("augment.shift", 10, windows_move_as_far, (CROPS,), BOTTOM_UP | {"augment.flip": 0.0}),
    Row("tag_similarity", "max", means_of_tags_are_compared_otherwise, (), BOTTOM_UP),
    Row("tag_factor", 1.0, terms_of_tags_weigh_more, (), BOTTOM_UP),
    Row("eval.full_size", False, people_are_found_by_the_setting, (), BOTTOM_UP),
    Row("eval.adjust", False, people_are_found_by_the_setting, (), BOTTOM_UP),
    Row("eval.refine", False, people_are_found_by_the_setting, (), BOTTOM_UP),
    Row("eval.joint_threshold", 0.2, people_are_found_by_the_setting, (), BOTTOM_UP),
    Row("eval.tag_threshold", 0.5, people_are_found_by_the_setting, (), BOTTOM_UP),
    Row("eval.most_people", 5, people_are_found_by_the_setting, (), BOTTOM_UP),
    Row("eval.group_on_device", True, people_are_found_by_the_setting, (), BOTTOM_UP),
    Row("model.norm_frozen", True, running_statistics_are_kept, (), HRNET),
    Row("model.remat", True, units_are_computed_again, (), HRNET),
]  # fmt: skip

FIELDS = {leaf: field for network in models.NETWORKS for leaf, field in configuration.fields(network).items()}
SEED_OF_CHECKPOINT = 7


@pytest.fixture(scope="module")
def paths(made_up_records, tmp_path_factory) -> dict[str, str]:
    """What the settings in `TABLE` name: the data at another place, a skeleton, and a checkpoint."""
    folder = tmp_path_factory.mktemp("settings")
    (folder / "moved").symlink_to(made_up_records)
    skeletons.save(dataclasses.replace(skeletons.COCO, flip_pairs=()), folder / "without_sides.json")
    run = Observed(observed.make_config({"seed": SEED_OF_CHECKPOINT}, made_up_records))
    with contextlib.closing(checkpoint.Checkpoints(folder / "run", run.run.task.describe())) as checkpoints:
        checkpoints.save(run.state, 0)
    names = {"moved": "moved", "without_sides": "without_sides.json", "checkpoint": "run"}
    return {name: str(folder / file) for name, file in names.items()} | {"other": str(made_up_records / "val2017")}


def _filled_in(value: Any, paths: Mapping[str, str]) -> Any:
    if isinstance(value, tuple):
        return tuple(_filled_in(part, paths) for part in value)
    return value.format(**paths) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def observe(made_up_records, paths) -> Callable[[Mapping[str, Any]], Observed]:
    """Observes the tiny run with some fields changed. Runs with the same changes are shared."""
    known: dict[str, Observed] = {}

    def observe(changes: Mapping[str, Any]) -> Observed:
        named = {name: _filled_in(value, paths) for name, value in changes.items()}
        return known.setdefault(
            repr(sorted(named.items())), Observed(observed.make_config(named, made_up_records))
        )

    return observe


def start_differs(name: str, before: Observed, after: Observed) -> bool:
    if name == WEIGHTS and before.shapes != after.shapes:
        return True  # without drawing the weights of a ResNet
    first, second = getattr(before, name), getattr(after, name)
    return first.tolist() != second.tolist() if isinstance(first, np.ndarray) else first != second


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_a_setting_changes_what_it_says_and_nothing_else(row, observe):
    before, after = observe(row.given), observe({**row.given, row.leaf: row.value})
    assert of_config(before, row.leaf) != of_config(after, row.leaf)
    assert {name for name in STARTS if start_differs(name, before, after)} == set(row.changes)
    row.claim(before, after)


def configs() -> Iterator[ConfigDict]:
    """Yields every configuration in configs/."""
    for path in rows.directory().glob("[!_]*.py"):
        if path.stem in rows.TABLES:
            yield from (row.config() for row in rows.load(path.stem).values())
        else:
            yield importlib.import_module(f"configs.{path.stem}").get_config()


def test_every_setting_of_every_configuration_has_its_row():
    leaves = {leaf for config in configs() for leaf in configuration.flatten(config.to_dict())}
    assert {row.leaf for row in TABLE} == FIELDS.keys() | leaves


def test_settings_that_may_change_on_resume_keep_the_bits_of_training(observe):
    """Each of them keeps weights, order, crops and rates; all together, the state after two steps."""
    neutral = [row for row in TABLE if FIELDS[row.leaf].resumable]
    assert not [row.leaf for row in neutral if row.changes]
    given = {"average_decay": 0.5}  # of eval.averaged
    changes = {row.leaf: row.value for row in neutral} | given
    assert {"eval.decoder", "loader.threads", "log_every", "skip_not_finite"} < changes.keys()
    assert observe(changes).trained == observe(given).trained
