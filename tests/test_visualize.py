import cv2
import numpy as np
import pytest

from hrnet_jax import skeletons, visualize

TRIANGLE = skeletons.Skeleton(
    name="triangle",
    joints=("top", "left", "right"),
    flip_pairs=((1, 2),),
    limbs=((0, 1), (1, 2), (2, 0)),
    sigmas=(0.05, 0.1, 0.1),
    upper_body=(0,),
)
JOINTS = np.array([[100.0, 20.0], [20.0, 150.0], [180.0, 150.0]])


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_drawing_leaves_its_arguments_unchanged():
    picture, joints, heatmaps = noise(200, 200, 3), JOINTS.copy(), np.ones((50, 50, 3), np.float32)
    before = [array.copy() for array in (picture, joints, heatmaps)]
    visualize.draw_person(picture, joints, TRIANGLE)
    visualize.draw_heatmap(picture, heatmaps, 4)
    visualize.caption(picture, "text")
    visualize.grid([picture, picture], 2)
    visualize.enlarge(picture, joints, 2.0)
    for array, old in zip((picture, joints, heatmaps), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_joints_and_limbs_have_the_colour_of_their_side():
    drawn = visualize.draw_person(np.zeros((200, 200, 3), np.uint8), JOINTS, TRIANGLE)
    assert tuple(drawn[20, 100]) == visualize.MIDDLE
    assert tuple(drawn[150, 20]) == visualize.LEFT
    assert tuple(drawn[150, 180]) == visualize.RIGHT
    assert tuple(drawn[85, 60]) == visualize.LEFT  # halfway from the top to the left
    assert tuple(drawn[85, 140]) == visualize.RIGHT
    assert tuple(drawn[150, 100]) == visualize.MIDDLE  # from side to side


def test_joints_on_the_right_are_squares_and_uncertain_ones_are_hollow():
    blank, joints = np.full((1000, 1000, 3), 255, np.uint8), 5 * JOINTS[None]
    drawn = visualize.draw_people(blank, joints, TRIANGLE)
    hollow = visualize.draw_people(blank, joints, TRIANGLE, np.array([[True, True, False]]))
    _, (left, bottom), (right, _) = joints[0].astype(int)
    assert (drawn[bottom + 15, left - 15] == 255).all()  # beside a circle
    assert tuple(drawn[bottom + 15, right + 15]) == visualize.OUTLINE  # at the corner of a square
    assert tuple(drawn[bottom, right]) == visualize.RIGHT
    assert tuple(hollow[bottom - 4, right + 4]) != visualize.RIGHT
    widths = [(picture[425, 600:800] != 255).any(-1).sum() for picture in (hollow, drawn)]
    assert widths[0] < widths[1] / 2


@pytest.mark.parametrize("background", [0, 255])
def test_lines_have_a_dark_outline_on_any_background(background):
    drawn = visualize.draw_person(np.full((200, 200, 3), background, np.uint8), JOINTS, TRIANGLE)
    column = drawn[140:161, 100].astype(int)
    dark = np.abs(column - visualize.OUTLINE).max(axis=1) == 0
    assert dark[:10].any() and dark[11:].any()


def test_invisible_joints_and_their_limbs_are_not_drawn():
    empty = np.zeros((200, 200, 3), np.uint8)
    drawn = visualize.draw_person(empty, JOINTS, TRIANGLE, visible=np.array([1, 0, 2]))
    assert not drawn[140:160, :60].any()
    assert drawn[150, 180].any() and drawn[20, 100].any()
    assert not visualize.draw_person(empty, JOINTS, TRIANGLE, visible=np.zeros(3)).any()


@pytest.mark.parametrize("place", [-50.0, 250.0, 1e3, 1e9, -np.inf, np.nan])
def test_joints_outside_the_picture_are_accepted(place):
    joints = JOINTS.copy()
    joints[1] = place
    drawn = visualize.draw_person(np.zeros((200, 200, 3), np.uint8), joints, TRIANGLE)
    assert tuple(drawn[150, 180]) == visualize.RIGHT


def test_heatmaps_are_brightest_at_their_peaks():
    heatmaps = np.zeros((16, 12, 3), np.float32)
    heatmaps[5, 3, 0] = heatmaps[10, 8, 2] = 1.0
    drawn = visualize.draw_heatmap(np.full((64, 48, 3), 100, np.uint8), heatmaps, 4)
    assert drawn.shape == (64, 48, 3) and drawn.dtype == np.uint8
    brightness = drawn.sum(axis=-1)
    assert brightness[20, 12] == brightness[40, 32] == brightness.max() > 600
    assert (drawn[0, :] == 60).all()  # elsewhere the picture, darkened


def test_heatmaps_above_one_and_below_zero_are_accepted():
    heatmaps = np.linspace(-3, 5, 16 * 12, dtype=np.float32).reshape(16, 12, 1)
    drawn = visualize.draw_heatmap(np.full((64, 48, 3), 100, np.uint8), heatmaps, 4)
    assert (drawn[0, 0] == 60).all() and drawn[60, 44].sum() > 600


def test_captions_are_above_the_picture_and_fit_its_width():
    picture = noise(40, 90, 3)
    for text in ("a", "a" * 12, "a" * 200):
        captioned = visualize.caption(picture, text)
        assert captioned.shape == visualize.caption(picture, "").shape
        np.testing.assert_array_equal(captioned[-40:], picture)
        strip = captioned[:-40]
        assert (strip != visualize.PAPER).any()
        assert (strip[:, -5:] == visualize.PAPER).all() or len(text) == 200


def test_a_grid_shows_every_picture_whole():
    pictures = [noise(20 + 5 * i, 30 - 2 * i, 3, seed=i) for i in range(5)]
    sheet = visualize.grid(pictures, columns=3, gap=2)
    assert sheet.shape == (2 * (40 + 2) + 2, 3 * (30 + 2) + 2, 3)
    for i, picture in enumerate(pictures):
        top, left = 2 + i // 3 * 42, 2 + i % 3 * 32
        np.testing.assert_array_equal(sheet[top:, left:][: picture.shape[0], : picture.shape[1]], picture)
    with pytest.raises(ValueError, match=r"at least one picture \(=0\)"):
        visualize.grid([], 3)


def test_enlarging_keeps_joints_on_their_pixels():
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[8, 12] = 255
    bigger, joints = visualize.enlarge(picture, np.array([[12.0, 8.0]]), 3.0)
    assert bigger.shape == (60, 90, 3)
    y, x = np.unravel_index(bigger[..., 0].argmax(), bigger.shape[:2])
    np.testing.assert_allclose(joints, [[x, y]])


def test_red_stays_red_in_a_jpeg():
    picture = np.full((16, 16, 3), (200, 40, 40), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(visualize.encode_jpeg(picture), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None and np.abs(decoded.astype(int) - picture).max() < 8


@pytest.mark.parametrize("people", [1, 9])
def test_a_training_picture_has_a_row_for_each_of_six_people(people):
    images, heatmaps = noise(people, 64, 48, 3), np.zeros((people, 16, 12, 3), np.float32)
    joints = np.tile(JOINTS / 4, (people, 1, 1))
    scores = visible = np.ones((people, 3))
    sheet = visualize.training_picture(images, joints, visible, joints + 1, scores, heatmaps, heatmaps, TRIANGLE)
    cell = visualize.caption(np.zeros((visualize.ROW_HEIGHT, 192, 3), np.uint8), "")
    rows = min(people, visualize.MOST_PEOPLE)
    assert sheet.shape == (rows * (cell.shape[0] + 6) + 6, 4 * (192 + 6) + 6, 3)


# Tracks.


def test_tracks_next_to_each_other_have_different_colours():
    colors = np.array([visualize.track_color(track_id) for track_id in range(40)])
    assert colors.min() >= 0 and colors.max() <= 255 and len({*map(tuple, colors.tolist())}) == 40
    for later in (1, 2, 3, 4):
        assert np.abs(colors[later:] - colors[:-later]).max(axis=1).min() > 60


def test_people_of_tracks_have_their_colours_and_numbers():
    picture, joints = np.zeros((200, 300, 3), np.uint8), np.zeros((2, skeletons.COCO.num_joints, 2))
    joints[0] = np.linspace([40, 60], [60, 160], skeletons.COCO.num_joints)
    joints[1] = joints[0] + [180, 0]
    drawn = visualize.draw_tracks(picture, joints, skeletons.COCO, [0, 1])
    for left, track_id in ((0, 0), (150, 1)):
        half, color = drawn[:, left : left + 150], visualize.track_color(track_id)
        assert (half == color).all(axis=-1).sum() > 300
        assert (half[:55] == color).all(axis=-1).any()  # the tag above
        assert not (half == visualize.LEFT).all(axis=-1).any()
    assert not picture.any()
    elsewhere = visualize.draw_tracks(picture, joints - 1000, skeletons.COCO, [0, 1])
    np.testing.assert_array_equal(visualize.draw_tracks(picture, joints * np.nan, skeletons.COCO, [0, 1]), picture)
    assert elsewhere.shape == picture.shape


def test_trails_lead_through_their_points():
    picture = np.zeros((90, 90, 3), np.uint8)
    drawn = visualize.draw_trails(picture, {4: np.array([[10.0, 10], [40, 10], [40, 70]]), 5: np.zeros((1, 2))})
    color = np.array(visualize.track_color(4))
    assert all(np.abs(drawn[y, x] - color).max() < 50 for x, y in ((20, 10), (40, 10), (40, 50)))
    assert not drawn[60:, :30].any() and not picture.any()


def test_missing_joints_do_not_hide_small_people():
    """The tallest people are drawn first, whatever the place of those with missing joints."""
    count = skeletons.COCO.num_joints
    tall, small = np.full((count, 2), np.nan), np.full((count, 2), np.nan)
    hips = [skeletons.COCO.joints.index(f"{side}_hip") for side in ("left", "right")]
    tall[:2], tall[hips] = [[100, 20], [100, 40]], [[80, 150], [120, 150]]
    small[:2], small[hips] = [[100, 140], [100, 145]], [[80, 150], [120, 150]]
    for people in ([tall, small], [small, tall]):
        of_small = (255, 0, 0)
        colors = [of_small if person is small else (0, 255, 0) for person in people]
        picture = visualize.draw_people(
            np.zeros((200, 200, 3), np.uint8), np.array(people), skeletons.COCO, None, colors
        )
        np.testing.assert_array_equal(picture[150, 80], of_small)
