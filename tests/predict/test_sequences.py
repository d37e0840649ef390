"""Folders of frames in order."""

import os

import pytest

from hrnet_jax.predict import sequences, sources


def group(*paths: str, folders=()) -> list[sequences.Sequence]:
    return sequences.group(sources.Sources(paths, [os.path.abspath(folder) for folder in folders]))


def test_photos_of_a_folder_are_ordered_by_the_last_number_in_their_names():
    (found,) = group("run2/a_10.jpg", "run2/a_9.jpg", "run2/a_11.png", folders=["run2"])
    assert found.paths == ("run2/a_9.jpg", "run2/a_10.jpg", "run2/a_11.png") and found.numbers == (9, 10, 11)
    assert (found.source, found.name, found.is_video, found.notes()) == ("run2", "run2", False, [])


def test_videos_and_folders_are_apart():
    found = group("x/a/1.jpg", "x/clip.mp4", "x/b/1.jpg", "x/a/2.jpg", folders=["x"])
    assert [part.name for part in found] == ["a", "clip.mp4", "b"]
    assert [part.base for part in found] == ["a", "clip", "b"]
    assert found[0].paths == ("x/a/1.jpg", "x/a/2.jpg") and found[1].is_video


def test_folders_of_the_same_name_have_different_results():
    found = group("x/frames/1.jpg", "y/frames/2.jpg", folders=["x/frames", "y/frames"])
    assert [part.name for part in found] == ["x/frames", "y/frames"]


def test_times_follow_the_numbers():
    (found,) = group("f/4.jpg", "f/5.jpg", "f/7.jpg")
    frames = list(found.photos(rate=10))
    assert [(frame.frame, frame.time) for frame in frames] == [(4, 0), (5, 0.1), (7, 0.3)]
    assert [frame.source for frame in found.photos(10, every=2)] == ["f/4.jpg", "f/7.jpg"]


def test_missing_frames_are_told():
    (found,) = group(*(f"f/{n}.jpg" for n in (0, 1, 3, 4, 9, 10)))
    (note,) = found.notes()
    assert note.startswith("f: 5 frames are missing (2, 5 to 8): ")
    (found,) = group(*(f"f/{n}.jpg" for n in (0, 5, 10, 20)))
    assert found.step == 5 and "1 frames are missing (15)" in found.notes()[0]


def test_frames_without_an_order_are_refused():
    with pytest.raises(ValueError, match=r"f/cover.jpg has no frame number in its name, as in 000012.jpg"):
        group("f/1.jpg", "f/cover.jpg")
    with pytest.raises(
        ValueError, match=r"f/a_1.jpg and f/b_1.jpg both have the frame number 1: give each video's"
    ):
        group("f/a_1.jpg", "f/b_1.jpg")
