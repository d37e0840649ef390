import numpy as np
import pytest

from hrnet_jax.benchmark import flow
from hrnet_jax.datasets.made_up import scenes
from hrnet_jax.tracking import similarity


@pytest.fixture(scope="module")
def scene() -> scenes.Scene:
    return scenes.compose(np.random.default_rng(3))


@pytest.fixture(scope="module")
def photo(scene) -> np.ndarray:
    return flow._fit(scene.photo)


def test_photos_are_cut_to_one_size():
    for shape in ((100, 900, 3), (900, 100, 3)):
        assert flow._fit(np.zeros(shape, np.uint8)).shape == (*flow.SIZE, 3)


def test_the_true_flow_of_a_warp_has_its_mean_and_leads_to_the_same_pixels(photo):
    (earlier, following), true = flow.warped(photo, 5.7, np.random.default_rng(0))
    assert np.hypot(true[..., 0], true[..., 1]).mean() == pytest.approx(5.7)
    y, x = np.mgrid[40:320:20, 40:600:20]
    reached = np.round(np.stack([x, y], axis=-1) + true[y, x]).astype(int)
    difference = following[reached[..., 1], reached[..., 0]].astype(int) - earlier[y, x]
    assert np.median(np.abs(difference)) < np.median(np.abs(following[y, x].astype(int) - earlier[y, x]))


def test_people_move_by_the_distance(scene, photo):
    (earlier, following), joints, move, height = flow.moved(photo, scene.people[-1], 30, np.random.default_rng(0))
    assert np.hypot(*move) == pytest.approx(30, abs=1) and height == scene.people[-1].height
    assert (np.abs(earlier.astype(int) - following) > 25).mean() < 0.5
    assert (joints >= 0).all() and joints[:, 1].max() < flow.SIZE[0]


def test_the_true_flow_has_no_error_and_carries_all_joints(photo, scene):
    pair, true = flow.warped(photo, 2.2, np.random.default_rng(0))
    assert flow.error(lambda *_: true, [(pair, true)]) == 0
    assert flow.error(flow.no_flow, [(pair, true)]) == pytest.approx(2.2)
    made = flow.moved(photo, scene.people[-1], 60, np.random.default_rng(0))
    assert flow.carried(lambda *_: np.broadcast_to(made[2].astype(float), true.shape), [made]) == 1
    assert flow.carried(flow.no_flow, [made]) == 0


@pytest.mark.parametrize("name", flow.METHODS)
def test_methods_return_the_flow_of_grey_photos(name, photo):
    pair, true = flow.warped(photo, 2.2, np.random.default_rng(0))
    found = flow.METHODS[name](*pair)
    assert found.shape == true.shape and flow.error(flow.METHODS[name], [(pair, true)]) <= 2.21
    assert similarity.sample_flow(found, np.zeros((1, 2))).shape == (1, 2)


def test_a_folder_without_photos_is_refused(tmp_path):
    (tmp_path / "notes.md").write_text("")
    with pytest.raises((ValueError, FileNotFoundError), match=str(tmp_path)):
        flow.measure(str(tmp_path), 1)
