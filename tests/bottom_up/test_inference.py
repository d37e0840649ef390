import dataclasses
import functools
import json

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from flax import linen as nn

from hrnet_jax import geometry, skeletons
from hrnet_jax.bottom_up import grouping, inference, resize
from hrnet_jax.models import layers

TRIANGLE = skeletons.Skeleton(
    name="triangle",
    joints=("top", "left", "right"),
    flip_pairs=((1, 2),),
    limbs=((0, 1), (1, 2), (2, 0)),
    sigmas=(0.05, 0.1, 0.1),
    upper_body=(0,),
)
SMALL = inference.Settings(TRIANGLE, input_size=64)


class Shades(nn.Module):
    """A network whose outputs are weighted sums of the colours of a photo, at a quarter and half of its size."""

    colors: str = "RGB"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image, train=False):
        assert not train
        weight = self.param("weight", nn.initializers.normal(1), (3, 6), jnp.float32)
        batch, height, width, colors = image.shape
        coarse, fine = (
            image.reshape(batch, height // stride, stride, width // stride, stride, colors).mean((2, 4))
            for stride in (4, 2)
        )
        return coarse @ weight, fine @ weight[:, :3]


def variables(scale: float = 1.0) -> dict:
    weight = np.random.default_rng(0).uniform(-1, 1, (3, 6)).astype(np.float32)
    return {"params": {"weight": jnp.asarray(scale * weight)}}


def draw_photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A photo of coloured clouds."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 10 + 2, width // 10 + 2, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def outputs_of(photo: np.ndarray, settings: inference.Settings) -> list:
    """The outputs for a photo of all scales and passes, computed one by one."""

    @jax.jit
    def run(image):
        return Shades().apply(variables(), layers.normalize(image[None]))

    plan = settings.plan(photo.shape[:2])
    images = [resize.resize(photo, placement) for placement in plan.placements]
    return [[run(image), run(image[:, ::-1])] if settings.flip_test else [run(image)] for image in images]


def assert_equal(found: inference.People, expected: inference.People, tolerance: float = 1e-5) -> None:
    for name, array in found._asdict().items():
        np.testing.assert_allclose(array, getattr(expected, name), atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def release(shared):
    return dict(np.load(shared / "conformance" / "higher_hrnet" / "e2e.npz"))


def kinds(release) -> list[str]:
    return sorted({name.split("/")[0] for name in release})


def case(release, kind: str) -> tuple[list, resize.Plan, inference.Settings]:
    """The outputs of the network for a photo, its plan and the settings."""
    config = json.loads(str(release[f"{kind}/config"]))
    settings = inference.Settings(
        skeleton=skeletons.load("crowdpose" if config["joints"] == 14 else "coco"),
        input_size=config["input_size"],
        scales=tuple(config["scales"]),
        flip_test=config["flip"],
        full_size=config["project2image"],
    )
    outputs = [
        [
            [reference.stored_maps(release, f"{kind}/scale{i}_flip{flip}_out{head}") for head in range(2)]
            for flip in range(1 + config["flip"])
        ]
        for i in range(len(config["scales"]))
    ]
    outputs = jax.tree.map(lambda maps: maps.transpose(0, 2, 3, 1), outputs)
    return outputs, settings.plan(tuple(config["photo_wh"][::-1])), settings


def test_people_are_those_of_the_release(release):
    """Places are equal. Values are rounded by other interpolations."""
    for kind in kinds(release):
        outputs, plan, settings = case(release, kind)
        [people] = inference.find_people(outputs, [plan], [kind], settings)
        expected = release[f"{kind}/photo"]
        np.testing.assert_array_equal(people.joints, expected[..., :2], kind, strict=True)
        np.testing.assert_allclose(people.joint_scores, expected[..., 2], atol=1e-6, err_msg=kind)
        np.testing.assert_allclose(people.tags, expected[..., 3:], atol=1e-5, err_msg=kind)
        np.testing.assert_allclose(people.scores, release[f"{kind}/scores"], atol=1e-6, err_msg=kind)
        grouped = release[f"{kind}/people"]
        np.testing.assert_array_equal(people.filled, (expected[..., 2] > 0) & (grouped[..., 2] == 0), kind)
        assert plan.placements[-1].center == tuple(release[f"{kind}/center"])
        assert plan.placements[-1].scale == tuple(release[f"{kind}/scale"])


@pytest.mark.parametrize(
    "kind",
    [
        "crowded",
        "not_projected_multi",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("crowdpose", "multi_scale", "no_flip")),
    ],
)
def test_one_program_finds_the_people_that_the_host_finds(release, kind):
    outputs, plan, settings = case(release, kind)
    [expected] = inference.find_people(outputs, [plan], [kind], settings)
    settings = dataclasses.replace(settings, group_on_device=True)
    [people] = inference.find_people(outputs, [plan], [kind], settings)
    assert_equal(people, expected, tolerance=1e-6)
    np.testing.assert_array_equal(people.joints, release[f"{kind}/photo"][..., :2], strict=True)


@pytest.mark.parametrize("step", ["people", "adjusted"])
def test_people_are_those_of_the_release_without_later_steps(release, step):
    for kind in ("multi_scale", "not_projected"):
        outputs, plan, settings = case(release, kind)
        settings = dataclasses.replace(settings, refine=False, adjust=step == "adjusted")
        [people] = inference.find_people(outputs, [plan], [kind], settings)
        expected, size = release[f"{kind}/{step}"], release[f"{kind}/maps_shape"][2:4].tolist()
        to_photo = resize.heatmap_to_photo(plan.placements[-1], tuple(size))
        joints = geometry.apply(to_photo, expected[..., :2].astype(np.float64))
        np.testing.assert_array_equal(people.joints, joints.astype(np.float32), kind)
        np.testing.assert_allclose(people.joint_scores, expected[..., 2], atol=1e-6, err_msg=kind)
        assert not people.filled.any()


def test_maps_are_those_of_the_release(release):
    for kind in kinds(release):
        outputs, plan, settings = case(release, kind)
        maps = np.asarray(inference._read(outputs, settings, inference._map_size([plan], settings)).maps)
        shape = release[f"{kind}/maps_shape"]
        assert maps.shape == (1, shape[1], 1 + shape[4], *shape[2:4])
        found = np.stack([[reference.eighteen_numbers(plane) for plane in of_joint] for of_joint in maps[0]])
        np.testing.assert_allclose(found[:, 0], release[f"{kind}/heatmaps"][0], atol=1e-6, err_msg=kind)
        np.testing.assert_allclose(
            found[:, 1:].swapaxes(1, 2), release[f"{kind}/tags"][0], atol=1e-5, err_msg=kind
        )


def test_there_may_be_more_people_than_the_first_program_has(release, monkeypatch):
    outputs, plan, settings = case(release, "crowded")
    [people] = inference.find_people(outputs, [plan], ["photo"], settings)
    assert len(people.joints) > 4 * 5
    monkeypatch.setattr(inference, "PEOPLE", 5)
    [found] = inference.find_people(outputs, [plan], ["photo"], settings)
    assert_equal(found, people, tolerance=0)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((50, 90), {}),
        ((7, 9), {}),
        ((301, 200), {"flip_test": False}),
        ((64, 64), {"scales": (0.5, 1, 2)}),
        ((101, 64), {"scales": (1, 2), "full_size": False}),
    ],
)
def test_photos_of_any_size_give_the_people_of_the_networks_outputs(size, options):
    settings, photo = dataclasses.replace(SMALL, **options), draw_photo(*size)
    forward = inference.compile_forward(Shades(), settings)
    people = inference.predict_photo(forward, variables(), photo, settings)
    [expected] = inference.find_people(outputs_of(photo, settings), [settings.plan(size)], ["the photo"], settings)
    assert_equal(people, expected)
    assert people.tags.shape[2] == (2 if settings.flip_test else 1)
    if min(size) > 9:
        assert len(people.joints) and people.filled.any()


def test_joints_lie_where_the_colours_are():
    """A joint is at the only bright spot, found within a pixel of the heatmap and its shift to the right."""
    settings = dataclasses.replace(SMALL, refine=False)
    weights = {"params": {"weight": jnp.asarray([[1.0, 0, 0, 0, 0, 0]] * 3, jnp.float32)}}
    for height, width, x, y in ((100, 140, 100, 30), (211, 90, 20, 150)):
        photo = np.zeros((height, width, 3), np.uint8)
        cv2.circle(photo, (x, y), 6, (255, 255, 255), -1)
        forward = inference.compile_forward(Shades(), settings)
        people = inference.predict_photo(forward, weights, photo, settings)
        best = people.joints[people.scores.argmax(), 0]
        np.testing.assert_allclose(best, [x, y], atol=4 * min(height, width) / 64)


def test_batches_give_the_people_of_each_photo_alone():
    photos = [draw_photo(*size, seed) for seed, size in enumerate([(60, 90), (60, 91), (100, 60), (61, 90)])]
    forward = inference.compile_forward(Shades(), SMALL)
    alone = [inference.predict_photo(forward, variables(), photo, SMALL) for photo in photos]
    assert len({len(people.joints) for people in alone}) > 1
    groups = resize.group_by_size([photo.shape[:2] for photo in photos], SMALL.input_size, SMALL.scales)
    assert [*groups.values()] == [[0, 1, 3], [2]]
    batches = [
        inference.make_batch([photos[row] for row in rows], [str(row) for row in rows], SMALL, batch_size=4)
        for rows in groups.values()
    ]
    assert [len(batch.images[0]) for batch in batches] == [4, 4]
    predicted = inference.predict(forward, variables(), batches, SMALL)
    for rows, found in zip(groups.values(), predicted, strict=True):
        assert len(found) == len(rows)
        for row, people in zip(rows, found, strict=True):
            assert_equal(people, alone[row])


@pytest.mark.parametrize("options", [{"scales": (1, 2)}, {"full_size": False, "flip_test": False}])
def test_all_is_one_program_if_joints_are_grouped_on_the_device(options, monkeypatch):
    photos = [draw_photo(60, 90, seed) for seed in range(2)]
    settings = dataclasses.replace(SMALL, **options)
    batch = inference.make_batch(photos, ["a", "b"], settings, batch_size=4)
    [expected] = inference.predict(inference.compile_forward(Shades(), settings), variables(), [batch], settings)
    settings = dataclasses.replace(settings, group_on_device=True)
    program = inference.compile_forward(Shades(), settings)
    predicted = inference.predict(program, variables(), [batch, batch], settings)
    monkeypatch.setattr(inference, "find_on_host", None)
    for found in predicted:
        for people, others in zip(found, expected, strict=True):
            assert len(people.joints) and people.filled.any()
            assert_equal(people, others)
    assert program._cache_size() == 1
    with pytest.raises(ValueError, match="b: heatmaps or tags are not finite"):
        [*inference.predict(program, variables(np.nan), [batch._replace(names=["b", "c"])], settings)]


def test_people_are_found_under_vmap():
    """Two networks at once."""
    settings = dataclasses.replace(SMALL, flip_test=False, group_on_device=True)
    images = inference.make_batch([draw_photo(60, 90)], [""], settings).images
    find = functools.partial(inference.find_in_images, Shades(), settings=settings)
    both = jax.tree.map(lambda weight: jnp.stack([weight, weight[:, ::-1]]), variables())
    together = jax.jit(jax.vmap(find, in_axes=(0, None)))(both, images)
    for network in range(2):
        alone = jax.jit(find)(jax.tree.map(lambda weight: weight[network], both), images)  # noqa: B023
        assert alone.count[0] > 0 and alone.size.tolist() == [64, 128]
        for of_both, of_one in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(of_both[network], of_one, atol=1e-5)


def test_programs_are_compiled_once_for_each_size():
    sizes = [(60, 90), (100, 60), (60, 91), (120, 180), (64, 64)]
    forward = inference.compile_forward(Shades(), SMALL)
    for program in (inference._find_candidates, inference._complete):
        program.clear_cache()
    for seed, size in enumerate(sizes):
        inference.predict_photo(forward, variables(), draw_photo(*size, seed), SMALL)
    assert len(resize.group_by_size(sizes, 64)) == 3
    for program in (forward, inference._find_candidates, inference._complete):
        assert program._cache_size() == 3


def test_photos_share_a_batch_only_if_their_images_have_one_size():
    with pytest.raises(ValueError, match=r"one size, but the sizes are \[\(64, 128\), \(128, 64\)\]"):
        inference.make_batch([draw_photo(60, 90), draw_photo(90, 60)], ["a", "b"], SMALL)


def test_photos_without_people_have_none():
    photo = np.full((60, 90, 3), 124, np.uint8)
    weights = {"params": {"weight": jnp.zeros((3, 6))}}
    people = inference.predict_photo(inference.compile_forward(Shades(), SMALL), weights, photo, SMALL)
    shapes = {name: array.shape for name, array in people._asdict().items()}
    assert shapes["joints"] == (0, 3, 2) and shapes["tags"] == (0, 3, 2) and shapes["scores"] == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("channel", "on_device"), [(1, False), (4, False), (1, True)])
def test_outputs_that_are_not_finite_name_the_photo(channel, on_device, value):
    coarse, fine = np.zeros((3, 16, 32, 6), np.float32), np.zeros((3, 32, 64, 3), np.float32)
    coarse[1, 5, 5, channel] = value
    settings = dataclasses.replace(SMALL, flip_test=False, group_on_device=on_device)
    plan = settings.plan((60, 110))
    with pytest.raises(ValueError, match=r"second\.jpg: heatmaps or tags are not finite"):
        inference.find_people([[[coarse, fine]]], [plan] * 3, ["first.jpg", "second.jpg", "third.jpg"], settings)
    [people] = inference.find_people([[[coarse, fine]]], [plan], ["first.jpg"], settings)
    assert len(people.joints) == 0


def test_weights_that_are_not_finite_name_the_photo():
    forward = inference.compile_forward(Shades(), SMALL)
    with pytest.raises(ValueError, match=r"^beach\.jpg: "):
        inference.predict_photo(forward, variables(np.nan), draw_photo(60, 90), SMALL, "beach.jpg")


def test_candidates_bound_the_number_of_people():
    photo = draw_photo(60, 90)
    settings = dataclasses.replace(SMALL, candidates=1)
    forward = inference.compile_forward(Shades(), settings)
    people = inference.predict_photo(forward, variables(), photo, settings)
    assert 0 < len(people.joints) <= 3
    assert (people.joint_scores > 0).all(axis=1).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": (0.5, 2)}, "`scales`"),
        ({"window": 4}, "`window`"),
        ({"window": -1}, "`window`"),
        ({"candidates": 0}, "`candidates`"),
        ({"input_size": 0}, "`input_size`"),
        ({"group_on_device": True, "candidates": 65}, "`candidates`"),
        ({"group_on_device": True, "grouping": grouping.CROWD}, "`most_people`"),
    ],
)
def test_wrong_settings_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **options)
