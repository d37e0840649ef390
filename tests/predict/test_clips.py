import json
import pathlib

import made_predictor as made
import numpy as np
import pytest

from hrnet_jax import console
from hrnet_jax.predict import boxes, job, shards, sources, video
from hrnet_jax.predict.options import Options

FRAMES, SIZE = 12, (64, 48)


@pytest.fixture
def clip(tmp_path) -> pathlib.Path:
    """A video of twelve frames, ten a second."""
    (tmp_path / "clips").mkdir()
    with video.Writer(path := tmp_path / "clips" / "clip.mp4", 10) as writer:
        for number in range(FRAMES):
            writer.write(np.full((*SIZE, 3), number, np.uint8), number / 10)
    return path


def predict(folder, out, find_boxes: boxes.Finder = boxes.whole, **options) -> int:
    predictor = made.make_predictor(find_boxes, threads=0, batch_size=1)
    found = sources.find([str(folder)])
    return job.run(predictor, found, Options(**{"out": out, "write": ("json", "video"), **options}), {})


def photos(out) -> list[dict]:
    return json.loads((out / "poses.json").read_text())["photos"]


def frames(path) -> list[int]:
    return [index for index, _, _ in video.read_frames(path)]


def test_videos_and_photos_are_predicted_together(clip, tmp_path, capsys):
    photo = made.write_photo(clip.with_name("a.png"), made.noise(0, *SIZE))
    out = tmp_path / "out"
    assert predict(clip.parent, out, write=("json", "video", "pictures", "crops")) == 0
    found = photos(out)
    assert [line["source"] for line in found] == [str(photo), *[str(clip)] * FRAMES]
    assert [line["frame"] for line in found] == [None, *range(FRAMES)]
    np.testing.assert_allclose([line["time"] for line in found[1:]], np.arange(FRAMES) / 10, atol=0.01)
    assert "1 photos, 12 frames, 13 people" in capsys.readouterr().out
    assert frames(out / "video" / "clip.mp4") == list(range(FRAMES))
    assert (out / "crops" / "clip.mp4" / "000011" / "0.png").is_file()
    assert [path.name for path in (out / "pictures").iterdir()] == ["a.png.jpg"]


def test_some_frames_are_predicted(clip, tmp_path):
    predict(clip, tmp_path / "out", every=5)
    assert [line["frame"] for line in photos(tmp_path / "out")] == [0, 5, 10]
    assert len(frames(tmp_path / "out" / "video" / "clip.mp4")) >= 3


def test_people_are_followed_between_detections(clip, tmp_path):
    calls = []

    def counted(path, photo):
        calls.append(path)
        return boxes.whole(path, photo)

    predict(clip, tmp_path / "out", counted, detect_every=4)
    assert len(calls) == 3
    found = [line["people"][0]["box"] for line in photos(tmp_path / "out")]
    whole = [0, 0, SIZE[1], SIZE[0]]
    assert [box == whole for box in found] == [number % 4 == 0 for number in range(FRAMES)]


def test_after_ctrl_c_the_video_is_playable_and_the_run_goes_on(clip, tmp_path):
    left = iter(range(7))

    def stopping(path, photo):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return boxes.whole(path, photo)

    out = tmp_path / "out"
    assert predict(clip, out, stopping) == console.UNFINISHED
    count = len(photos(out))
    assert 4 <= count <= 7 and len(frames(out / "video" / "clip.mp4")) >= count - 1
    assert shards.done(out) == set()
    assert predict(clip, out, resume=True) == 0
    assert [line["frame"] for line in photos(out)] == list(range(FRAMES))
    assert frames(out / "video" / "clip.mp4") == list(range(FRAMES))


def test_a_video_that_cannot_be_read_is_reported(clip, tmp_path, capsys):
    clip.with_name("text.mp4").write_text("no video")
    assert predict(clip.parent, tmp_path / "out") == job.UNREADABLE
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"{clip.with_name('text.mp4')} is not a readable video" in error
    assert len(photos(tmp_path / "out")) == FRAMES


def test_the_page_shows_photos_and_a_frame_a_second(clip, tmp_path):
    made.write_photo(clip.with_name("a.png"), made.noise(0, *SIZE))
    clip.with_name("b.png").write_text("no photo")
    out = tmp_path / "out"
    predict(clip.parent, out, write=("html",))
    text = (out / "index.html").read_text()
    assert text.count("data:image/jpeg;base64,") == 3  # the photo, and frames 0 and 10
    assert "not a photo of a known format" in text
