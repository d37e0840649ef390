import dataclasses
import functools
import statistics

import numpy as np
import pytest

from hrnet_jax import augment, geometry
from hrnet_jax.datasets import records
from hrnet_jax.skeletons import COCO, Skeleton

SEEDS = range(5)
ASPECT_RATIO = 192 / 256
PHI = statistics.NormalDist().cdf
ALL_VISIBLE = np.ones(COCO.num_joints)
OFF = augment.Policy(scale=0, rotation=0, rotation_probability=0, flip=0, half_body=0)


def assert_share(hits, probability: float) -> None:
    """Tests a frequency at four standard deviations. New seeds would fail by chance once in 15,000."""
    hits = np.asarray(hits)
    spread = np.sqrt(probability * (1 - probability) / len(hits))
    assert abs(hits.mean() - probability) < 4 * spread, (hits.mean(), probability, spread)


def draws(policy: augment.Policy, visible=ALL_VISIBLE, seed=0, count=10_000) -> list[augment.Draw]:
    rng = np.random.default_rng(seed)
    return [augment.sample(rng, visible, policy, COCO) for _ in range(count)]


@functools.cache
def published_draws(seed: int) -> list[augment.Draw]:
    """Returns draws with the published settings for a person with all joints labelled."""
    return draws(augment.Policy(), seed=seed)


def with_visible(upper: int, lower: int) -> np.ndarray:
    """Returns ``[K]`` visibility with the first `upper` and `lower` joints of the halves labelled."""
    visible = np.zeros(COCO.num_joints)
    visible[:upper] = 1
    visible[len(COCO.upper_body) :][:lower] = 1
    return visible


def apply(draw, joints, visible, box=(0, 0, 1, 1), photo_width=640, skeleton=COCO) -> augment.View:
    return augment.apply(
        draw,
        joints,
        visible,
        np.array(box, float),
        photo_width=photo_width,
        aspect_ratio=ASPECT_RATIO,
        skeleton=skeleton,
    )


@pytest.fixture(scope="module")
def reference(shared):
    return np.load(shared / "conformance" / "geometry.npz")


def test_half_body_is_the_originals(reference):
    people = zip(reference["half_body/joints"], reference["half_body/vis"], strict=True)
    found = []
    for joints, visible in people:
        views = [apply(augment.Draw(half_body=half), joints, visible) for half in ("upper", "lower")]
        found.append([np.concatenate([view.center, view.scale]) for view in views])
    np.testing.assert_array_equal(found, reference["half_body/center_scale_upper_lower"])


def test_a_half_body_crop_is_around_the_mean_of_its_joints_and_half_as_large_again():
    """The upper joints extend over 60 x 40 pixels, the lower ones over 30 x 200."""
    joints = np.where(np.isin(np.arange(17), COCO.upper_body)[:, None], [100.0, 50.0], [100.0, 300.0])
    joints[0], joints[16] = [160, 90], [130, 500]
    upper, lower = (apply(augment.Draw(half_body=half), joints, ALL_VISIBLE) for half in ("upper", "lower"))
    np.testing.assert_allclose(upper.center, [100 + 60 / 11, 50 + 40 / 11], rtol=1e-6)
    np.testing.assert_allclose(lower.center, [100 + 30 / 6, 300 + 200 / 6], rtol=1e-6)
    np.testing.assert_allclose(200 * upper.scale, [1.5 * 60, 1.5 * 80], rtol=1e-6)
    np.testing.assert_allclose(200 * lower.scale, [1.5 * 150, 1.5 * 200], rtol=1e-6)


def test_flip_is_the_originals(reference):
    people = zip(reference["half_body/joints"], reference["half_body/vis"], strict=True)
    flipped = [augment.flip(joints, visible, int(reference["flip/width"]), COCO) for joints, visible in people]
    joints, visible = map(np.stack, zip(*flipped, strict=True))
    np.testing.assert_allclose(joints, reference["flip/joints"][..., :2], rtol=1e-14)
    np.testing.assert_array_equal(visible, reference["flip/vis"][..., 0])


@pytest.mark.parametrize("case", range(12))
def test_augmented_crops_of_real_photos_are_the_originals_in_every_pixel(shared, coco_data, case):
    expected = np.load(shared / "conformance" / "coco_four" / "real.npz")
    person, factor, rotation, flip = expected["aug/instance_scalefactor_rot_flip"][case]
    split = records.open_split(coco_data / "val2017")
    person = records.PersonSource(split.photos, split.people)[int(person)]
    photo = person["photo"]
    draw = augment.Draw(scale_factor=float(factor), rotation=float(rotation), flip=bool(flip))
    view = apply(draw, person["joints"], person["visible"], person["box"], photo_width=photo.shape[1])
    matrix = geometry.photo_to_crop(view.center, view.scale, view.rotation, (256, 192))
    crop = geometry.warp(photo, matrix, (256, 192), mirrored=view.flip)
    np.testing.assert_array_equal(crop, expected["aug/crops_rgb_uint8"][case])
    np.testing.assert_array_equal(view.visible, expected["aug/vis"][case])
    labelled = view.visible > 0
    joints = np.where(labelled[:, None], geometry.apply(matrix, view.joints), view.joints)
    np.testing.assert_allclose(joints, expected["aug/joints_in_crop"][case], atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_flip_and_rotation_have_the_originals_distribution(seed):
    drawn = published_draws(seed)
    assert_share([draw.flip for draw in drawn], 0.5)
    assert_share([draw.rotation != 0 for draw in drawn], 0.6)
    rotations = np.array([draw.rotation for draw in drawn if draw.rotation != 0])
    assert_share(rotations == 90, PHI(-2))
    assert_share(rotations == -90, PHI(-2))
    assert np.abs(rotations).max() == 90
    for quantile in (-1, 0, 0.5):
        assert_share(rotations < 45 * quantile, PHI(quantile))


@pytest.mark.parametrize("seed", SEEDS)
def test_scale_factor_has_the_originals_distribution(seed):
    factors = np.array([draw.scale_factor for draw in published_draws(seed)])
    assert_share(factors == 1 - 0.35, PHI(-1))
    assert_share(factors == 1 + 0.35, PHI(-1))
    assert factors.min() == 1 - 0.35
    assert factors.max() == 1 + 0.35
    for quantile in (-0.5, 0, 0.5):
        assert_share(factors < 1 + 0.35 * quantile, PHI(quantile))


@pytest.mark.parametrize("seed", SEEDS)
def test_half_body_has_the_originals_distribution(seed):
    halves = [draw.half_body for draw in published_draws(seed)]
    assert_share([half is not None for half in halves], 0.3)
    assert_share([half == "upper" for half in halves if half], 0.6915)


@pytest.mark.parametrize(
    ("upper", "lower", "halves"),
    [
        (8, 0, {None}),  # too few joints in all
        (9, 0, {"upper"}),
        (7, 2, {"upper"}),  # two are too few to prefer the lower body
        (2, 6, {None}),
        (3, 6, {"upper", "lower"}),
    ],
)
def test_half_body_needs_enough_joints(upper, lower, halves):
    drawn = draws(augment.Policy(half_body=1), with_visible(upper, lower), count=200)
    assert {draw.half_body for draw in drawn} == halves


@pytest.mark.parametrize(
    ("upper", "lower", "halves"), [(2, 3, {"lower"}), (2, 2, {"upper"}), (1, 2, {None}), (0, 2, {None})]
)
def test_half_body_of_people_with_few_joints(upper, lower, halves):
    policy = augment.Policy(half_body=1, half_body_min_joints=0)
    assert {draw.half_body for draw in draws(policy, with_visible(upper, lower), count=200)} == halves


@pytest.mark.parametrize("upper_body", [(), tuple(range(COCO.num_joints))])
def test_no_half_body_where_the_skeleton_has_no_halves(upper_body):
    skeleton, policy = dataclasses.replace(COCO, upper_body=upper_body), augment.Policy(half_body=1)
    rng = np.random.default_rng(0)
    assert {augment.sample(rng, ALL_VISIBLE, policy, skeleton).half_body for _ in range(200)} == {None}


def test_a_policy_of_zeros_draws_the_identity():
    assert set(draws(OFF, count=50)) == {augment.Draw()}


def test_every_field_of_the_policy_has_an_effect():
    strong = augment.Policy(scale=0.5, rotation=30, rotation_probability=1, flip=1, half_body=1)
    for field in ("flip", "half_body"):
        drawn = draws(dataclasses.replace(OFF, **{field: 1}), count=5)
        assert all(getattr(draw, field) for draw in drawn)
    drawn = draws(strong, count=500)
    assert max(draw.scale_factor for draw in drawn) == 1.5
    assert max(draw.rotation for draw in drawn) == 60


@pytest.mark.parametrize(
    ("field", "value"), [("flip", 1.5), ("half_body", -0.1), ("scale", 1.0), ("scale", -0.1), ("rotation", -1)]
)
def test_policies_out_of_range_are_rejected(field, value):
    with pytest.raises(ValueError, match=rf"`{field}` \(={value}"):
        augment.Policy(**{field: value})


@pytest.mark.parametrize("seed", SEEDS)
def test_flipping_twice_changes_nothing_but_unlabelled_joints(seed):
    rng = np.random.default_rng(seed)
    joints = rng.uniform(0, 640, (COCO.num_joints, 2))
    visible = rng.integers(0, 2, COCO.num_joints).astype(float)
    once = augment.flip(joints, visible, 640, COCO)
    twice_joints, twice_visible = augment.flip(*once, 640, COCO)
    np.testing.assert_array_equal(twice_visible, visible)
    np.testing.assert_allclose(twice_joints, joints * visible[:, None], atol=1e-9)


def test_without_augmentation_the_view_is_the_box():
    box = np.array([10.0, 20.0, 30.0, 200.0])
    joints = np.full((COCO.num_joints, 2), 7.0)
    visible = np.zeros(COCO.num_joints)
    view = apply(augment.Draw(), joints, visible, box)
    center, scale = geometry.box_to_center_scale(box, ASPECT_RATIO)
    np.testing.assert_array_equal(view.center, center)
    np.testing.assert_array_equal(view.scale, scale)
    np.testing.assert_array_equal(view.joints, joints)
    assert (view.rotation, view.flip) == (0, False)


def test_scale_factor_works_on_the_half_body_and_flip_moves_its_centre():
    rng = np.random.default_rng(0)
    joints, box = rng.uniform(0, 640, (COCO.num_joints, 2)), (0, 0, 600, 600)
    plain = apply(augment.Draw("upper"), joints, ALL_VISIBLE, box)
    both = apply(augment.Draw("upper", scale_factor=1.25, flip=True), joints, ALL_VISIBLE, box)
    np.testing.assert_array_equal(both.scale, plain.scale * np.float32(1.25))
    np.testing.assert_allclose(both.center, [639 - plain.center[0], plain.center[1]], rtol=1e-6)


def test_apply_leaves_its_arguments_unchanged():
    rng = np.random.default_rng(0)
    joints, visible, box = rng.uniform(0, 640, (17, 2)), ALL_VISIBLE.copy(), np.array([5.0, 6, 70, 80])
    before = [joints.copy(), visible.copy(), box.copy()]
    apply(augment.Draw("lower", 0.8, 30.0, flip=True), joints, visible, box)
    for kept, array in zip(before, [joints, visible, box], strict=True):
        np.testing.assert_array_equal(kept, array)


def test_apply_works_with_any_skeleton():
    worm = Skeleton("worm", ("head", "left", "right", "tail"), ((1, 2),), (), (0.1,) * 4, (0, 1, 2))
    joints, visible = np.arange(8.0).reshape(4, 2), np.array([1.0, 1, 0, 1])
    view = apply(augment.Draw("upper", flip=True), joints, visible, photo_width=100, skeleton=worm)
    np.testing.assert_array_equal(view.joints, [[99, 1], [0, 0], [97, 3], [93, 7]])
    np.testing.assert_array_equal(view.visible, [1, 0, 1, 1])
    np.testing.assert_array_equal(view.center, [98, 2])


def test_scale_stays_in_the_precision_of_the_crop():
    """As in the original with NumPy 1. With NumPy 2, its product with the scale factor is float64."""
    joints, box = np.zeros((COCO.num_joints, 2)), (0, 0, 70, 90)
    plain, wider = (apply(augment.Draw(scale_factor=factor), joints, ALL_VISIBLE, box) for factor in (1.0, 1.1))
    assert wider.scale.dtype == wider.center.dtype == np.float32
    np.testing.assert_array_equal(wider.scale, plain.scale * np.float32(1.1))
