import jax.numpy as jnp
import numpy as np
import pytest

from hrnet_jax import codecs, geometry, views

SIZE, HEATMAP = (128, 96), (32, 24)
VIEWS = views.make((1.0, 0.8), (0.0, 35.0))
JOINTS = np.array([[[30.0, 41.5], [63.3, 88.2], [60.9, 40.4]]])


def test_views_are_all_scales_at_all_rotations_and_the_crop_as_it_is_is_first():
    found = [(1 / view.scale_factor, view.rotation) for view in views.make((0.5, 1.0), (-10.0, 0.0))]
    assert found == [(1.0, 0.0), (0.5, -10.0), (0.5, 0.0), (1.0, -10.0)]
    assert views.make((1.0,), (0.0,)) == ()


@pytest.mark.parametrize(
    ("scales", "rotations", "message"),
    [
        ((0.9, 1.1), (0.0,), r"`eval.scales` \(=\(0.9, 1.1\)\) must be different numbers, among them 1"),
        ((1.0,), (10.0,), "`eval.rotations` .* among them 0"),
        ((1.0, 1.0), (0.0,), "`eval.scales` .* different"),
        ((1.0, float("nan")), (0.0,), "`eval.scales`"),
        ((), (0.0,), "`eval.scales`"),
        ((1.0, -0.5), (0.0,), "`eval.scales` .* must be positive"),
    ],
)
def test_wrong_numbers_are_told(scales, rotations, message):
    with pytest.raises(ValueError, match=message):
        views.make(scales, rotations)


@pytest.mark.parametrize("codec", ["original", "udp"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_point_of_the_photo_is_found_in_each_view(codec, view):
    """Through the crop as it is and the map to the view, or through the view's own crop: it is the same pixel."""
    found, photo, box = codecs.find(codec), np.zeros((90, 120, 3), np.uint8), np.array([20.0, 10.0, 60.0, 70.0])
    stride, points = found.stride(SIZE, HEATMAP), np.random.default_rng(0).uniform(0, 90, (5, 2))
    options = {"scale_factor": view.scale_factor, "rotation": view.rotation}
    _, own = geometry.crop(photo, box, SIZE, by_corners=found.by_corners, **options)
    _, plain = geometry.crop(photo, box, SIZE, by_corners=found.by_corners)
    matrix = views.to_view(view, HEATMAP, by_corners=found.by_corners)
    through_crop = geometry.apply(matrix, geometry.apply(plain, points) / stride)
    np.testing.assert_allclose(through_crop, geometry.apply(own, points) / stride, atol=1e-4)


@pytest.mark.parametrize("codec", ["dark", "udp", "udp_offset"])
def test_averaged_views_show_the_joints_where_they_are(codec):
    found, maps = codecs.find(codec), []
    stride = found.stride(SIZE, HEATMAP)
    for view in VIEWS:
        matrix = views.to_view(view, HEATMAP, by_corners=found.by_corners)
        joints = (geometry.apply(matrix, JOINTS / stride) * stride).astype(np.float32)
        visible = np.ones((1, 3), np.float32)
        options = {"image_size": SIZE, "heatmap_size": HEATMAP, "sigma": 2.0}
        maps.append(found.render(jnp.asarray(joints), visible, **options)[0])  # type: ignore[misc]
    joints, _ = found.decode(views.average(jnp.stack(maps, 1), VIEWS, found), "")
    np.testing.assert_allclose(np.asarray(joints) * stride, JOINTS, atol=1.0)


def test_a_pixel_is_the_mean_of_the_views_that_see_it():
    chosen, original = views.make((1.0, 2.0), (0.0,)), codecs.find("original")
    maps = jnp.stack([jnp.full((1, *HEATMAP, 1), value) for value in (1.0, 3.0)], 1)
    found = np.asarray(views.average(maps, chosen, original))[0, ..., 0]
    np.testing.assert_array_equal(found[8:24, 6:18], 2.0)  # the middle half, which the enlarged view shows
    np.testing.assert_array_equal(found[[0, -1]], 1.0)
    np.testing.assert_array_equal(found[:, [0, -1]], 1.0)


def test_quarter_turns_move_whole_pixels():
    chosen, original = views.make((1.0,), (0.0, 90.0)), codecs.find("original")
    turned = np.random.default_rng(0).uniform(size=(1, 8, 8, 2)).astype(np.float32)
    maps = jnp.stack([jnp.zeros((1, 8, 8, 2)), jnp.asarray(turned)], 1)
    found = 2 * np.asarray(views.average(maps, chosen, original))
    # The photo is turned counter-clockwise in the view: its right side is at the top.
    np.testing.assert_allclose(found[0, 1:, 1:], np.rot90(turned[0], -1)[1:, :-1], atol=1e-5)
