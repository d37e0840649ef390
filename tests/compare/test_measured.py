import dataclasses

import numpy as np
import pytest

from hrnet_jax.compare import measured
from hrnet_jax.compare.measured import Measurement, Sampled


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def make(seed=0) -> Measurement:
    state = {"conv1.weight": draw(4, 3, 3, 3), "bn1.running_mean": draw(4), "bn1.running_var": draw(4)}
    layers = {"conv1": draw(2, 4, 8, 8, seed=seed), "bn1": draw(2, 4, 8, 8)}
    layers[measured.HEATMAPS] = draw(2, 1, 2, 2)
    return Measurement(layers, layers, {"conv1.weight": draw(4, 3, 3, 3, seed=seed)}, [3.0, 2.0], [state, state])


def test_deviation_is_relative_to_the_largest_value():
    reference = np.array([[1.0, -4.0], [2.0, 0.0]])
    assert measured.deviation(reference, reference) == 0
    assert measured.deviation(reference + np.array([[0, 0], [0, 0.02]]), reference) == pytest.approx(0.005)
    assert measured.deviation(reference - np.array([[0, 0], [0, 0.02]]), reference) == pytest.approx(0.005)
    assert measured.deviation(np.zeros(2), np.zeros(2)) == 0
    assert measured.deviation(np.ones(2), np.zeros(2)) == np.inf
    assert measured.deviation(np.ones(3), np.ones(2)) == np.inf


@pytest.mark.parametrize("sampled", [False, True])
def test_nan_gives_a_deviation_of_nan(sampled):
    reference = draw(30)
    broken = reference.copy()
    broken[0] = np.nan
    expected = measured.sample(reference, 8) if sampled else reference
    assert np.isnan(measured.deviation(broken, expected))
    assert not measured.deviation(reference, expected)


def test_samples_include_the_first_and_the_last_value():
    array = draw(7, 5)
    kept = measured.sample(array, 4)
    np.testing.assert_array_equal(kept.samples, array.ravel()[[0, 11, 22, 34]])
    assert kept.norm == pytest.approx(np.linalg.norm(array))
    assert len(measured.sample(draw(3), 64).samples) == 3


def test_a_sampled_reference_detects_changed_samples_and_norms():
    array = draw(1000)
    kept = measured.sample(array, 8)
    off = array.copy()
    off[0] += 0.5  # a sample
    scale = max(np.sqrt(np.square(array).mean()), np.abs(kept.samples).max())
    assert measured.deviation(off, kept) == pytest.approx(0.5 / scale)
    off = array.copy()
    off[1:200] *= 2  # changes hardly a sample, but the norm
    assert measured.deviation(off, kept) > 0.1
    longer = dataclasses.replace(kept, norm=1.25 * kept.norm, digest="")
    assert measured.deviation(array, longer) == pytest.approx(0.2)
    assert measured.deviation(draw(3), kept) == np.inf


def test_a_digest_detects_a_changed_bit_between_the_samples():
    array = draw(1000)
    kept, off = measured.sample(array, 8), array.copy()
    off[1] = np.nextafter(off[1], np.inf)
    assert measured.deviation(array.copy(), kept) == 0
    assert measured.EPSILON <= measured.deviation(off, kept) < 1e-14
    without = dataclasses.replace(kept, digest="")
    assert measured.deviation(array, without) == 0 and measured.deviation(off, without) < 1e-14
    for other in (array.astype(np.float32), array.reshape(10, 100)):
        assert measured.digest(other) != measured.digest(array)


def test_a_measurement_is_cut_to_fewer_steps():
    found = make()
    assert found.first_steps(2) == found
    none = found.first_steps(0)
    assert none.losses == none.states == [] and none.gradients == {} and none.evaluation is found.evaluation


def test_sections_select_the_right_arrays():
    found = make()
    assert set(found.section("statistics")) == {"bn1.running_mean", "bn1.running_var"}
    assert set(found.section("state")) == {"conv1.weight", "bn1.running_mean", "bn1.running_var"}
    assert Measurement({}, {}, {}, [1.0], [{}]).section("state") == {}


def test_saved_reference_numbers_are_loaded_unchanged(tmp_path):
    found, path = make(), tmp_path / "numbers.npz"
    floors = {"float32": {"evaluation": {"conv1": 1e-7}, "steps": {"1": 1e-6}}}
    measured.save(path, found, floors, {"loss": "mse"}, {"targets": draw(2, 3)})
    loaded, about, arrays = measured.load(path)
    np.testing.assert_array_equal(arrays["targets"], draw(2, 3))
    assert about == {"loss": "mse"} and loaded.losses == [3.0, 2.0] and loaded.noise_floors == floors
    for section in measured.SECTIONS:
        kept = loaded.section(section)
        assert list(kept) == list(found.section(section))
        for name, array in found.section(section).items():
            assert isinstance(kept[name], Sampled)
            assert measured.deviation(array, kept[name]) == 0
    other = make(seed=1)
    assert measured.deviation(other.evaluation["conv1"], loaded.evaluation["conv1"]) > 0.1


def test_the_authors_numbers_are_read(shared):
    found, about, arrays = measured.load(shared / "conformance/net_resnet50_256x192.npz")
    assert about == {} and arrays["train/joints"].shape == (2, 17, 2)
    assert found.evaluation[measured.HEATMAPS].shape == (2, 17, 64, 48)
    assert len(found.gradients) == 170 and len(found.losses) == 5
    assert not any("tracked" in name for name in found.section("state"))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        measured.load("nowhere.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    np.savez(tmp_path / "about.npz", about='{"loss": "mse"}')
    np.savez(tmp_path / "pickle.npz", about=np.array([{}], dtype=object))
    for name in ("text", "other", "about", "pickle"):
        with pytest.raises(ValueError, match=rf"{name}\.npz' holds no reference numbers"):
            measured.load(tmp_path / f"{name}.npz")


def test_files_of_version_0_1_are_read(tmp_path):
    layers = {"conv1": np.arange(4.0)}
    floors = {"perturbed": {"state": {"conv1": 1e-12}}}
    found = measured.Measurement(layers, {}, layers, [1.0], [layers], noise_floors=floors)
    measured.save(tmp_path / "new.npz", found, floors, {}, {})
    with np.load(tmp_path / "new.npz") as file:
        arrays = dict(file)
    arrays["yardsticks"] = np.array(str(arrays.pop("noise_floors")).replace("perturbed", "nudged"))
    np.savez(tmp_path / "old.npz", **{key: array for key, array in arrays.items() if "digests" not in key})
    old = measured.load(tmp_path / "old.npz")[0]
    assert old.noise_floors == floors and old.evaluation["conv1"].digest == ""
    assert measured.deviation(layers["conv1"], old.evaluation["conv1"]) == 0
