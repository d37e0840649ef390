import pickle
import shutil

import made_coco
import numpy as np
import pytest

from hrnet_jax import augment, pipeline, prepare
from hrnet_jax.datasets import decoded, records
from hrnet_jax.datasets import photos as photo_records


@pytest.fixture
def root(tmp_path):
    return made_coco.write(tmp_path / "root")


def prepared(root, out, **options):
    prepare.prepare_coco(root, out, **options)
    return out / "val2017"


def test_pixels_are_those_of_the_photos(root, tmp_path):
    split = records.open_split(prepared(root, tmp_path / "out", decode=True))
    assert split.decoded is not None and len(split.decoded) == 3
    for row, number in enumerate([10, 20, 30]):
        expected = photo_records.decode(made_coco.photo(number), photo_id=number)
        np.testing.assert_array_equal(split.decoded[row], expected)


def test_batches_are_the_same_with_and_without_decoded_photos(coco_data, tmp_path):
    shutil.copytree(coco_data / "val2017", tmp_path / "val2017")
    plain = records.open_split(tmp_path / "val2017")
    decoded.write(tmp_path / "val2017", plain.photos, "val2017")
    fast = records.open_split(tmp_path / "val2017")
    assert plain.decoded is None and fast.decoded is not None
    options = {"image_size": (256, 192), "batch_size": 12, "seed": 0, "policy": augment.Policy(), "threads": 0}
    for workers in (0, 1):
        one, other = (pipeline.train_batches(split, **options, workers=workers) for split in (plain, fast))
        for _ in range(2):
            for a, b in zip(next(one).values(), next(other).values(), strict=True):
                np.testing.assert_array_equal(a, b)
        one.close(), other.close()


def test_decoded_photos_are_added_to_an_existing_split_once(root, tmp_path, capsys):
    directory = prepared(root, tmp_path / "out")
    before = (directory / "people.npz").stat().st_mtime_ns
    assert records.open_split(directory).decoded is None
    prepared(root, tmp_path / "out", decode=True)
    written = (directory / decoded.PIXELS).stat().st_mtime_ns
    prepared(root, tmp_path / "out", decode=True)
    assert (directory / decoded.PIXELS).stat().st_mtime_ns == written
    assert (directory / "people.npz").stat().st_mtime_ns == before
    assert capsys.readouterr().out.count("GB in decoded.rgb") == 1


def test_decoded_photos_are_pickled_without_pixels(root, tmp_path):
    split = records.open_split(prepared(root, tmp_path / "out", decode=True))
    assert split.decoded is not None
    first = split.decoded[0]
    sent = pickle.dumps(split.decoded)
    assert len(sent) < first.nbytes
    np.testing.assert_array_equal(pickle.loads(sent)[0], first)


def swap_rows(directory):
    table = np.load(directory / decoded.TABLE)
    np.save(directory / decoded.TABLE, table[::-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / decoded.PIXELS).write_bytes(b"123"), r"decoded.rgb has 3 of 27,648 bytes"),
        (lambda d: (d / decoded.PIXELS).unlink(), r"No such file"),
        (lambda d: (d / decoded.TABLE).write_bytes(b"123"), r""),
        (lambda d: np.save(d / decoded.TABLE, np.ones((2, 3), int)), r""),
        (lambda d: np.save(d / decoded.TABLE, np.ones((3, 3))), r"does not list the photos"),
        (lambda d: np.savez(d / "a.npz", np.ones(3)) or (d / "a.npz").rename(d / decoded.TABLE), r"does not"),
        (swap_rows, r"does not list the photos of the split"),
    ],
)
def test_errors_name_damaged_files(root, tmp_path, damage, message):
    directory = prepared(root, tmp_path / "out", decode=True)
    damage(directory)
    with pytest.raises(ValueError, match=rf"decoded.npy are damaged \(.*{message}.*: delete this file"):
        records.open_split(directory)
    before = (directory / "people.npz").stat().st_mtime_ns
    prepared(root, tmp_path / "out")  # does not take the split for damaged
    assert (directory / "people.npz").stat().st_mtime_ns == before


def test_preparing_again_without_decoded_photos_prints_so(root, tmp_path, capsys):
    directory = prepared(root, tmp_path / "out", decode=True)
    prepared(root, tmp_path / "out", force=True)
    assert records.open_split(directory).decoded is None
    assert "removed with the old photos; --decoded makes them again" in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_run_leaves_no_decoded_photos(root, tmp_path, monkeypatch, error):
    directory = prepared(root, tmp_path / "out")
    photos = records.open_split(directory).photos
    monkeypatch.setattr(photo_records, "decode", lambda *_, **__: (_ for _ in ()).throw(error("no room")))
    with pytest.raises(ValueError if error is OSError else error, match="no room"):
        decoded.write(directory, photos, "val2017")
    assert records.open_split(directory).decoded is None
    assert not list(directory.glob("*decoded*")) and not list(directory.glob(".*decoded*"))


def test_a_full_disk_is_detected_in_advance(root, tmp_path, monkeypatch):
    directory = prepared(root, tmp_path / "out")
    photos = records.open_split(directory).photos
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**3))
    with pytest.raises(ValueError, match=r"need 0.0 GB and 0.0 GB are free: make room, or leave --decoded out"):
        decoded.write(directory, photos, "val2017")
