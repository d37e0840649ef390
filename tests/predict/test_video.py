"""Videos are read as they are shown, and written so that they play."""

import contextlib
import itertools
import subprocess
import sys

import cv2
import made_videos
import numpy as np
import pytest

from hrnet_jax.predict import video

TIMES = [0.0, 0.03, 0.08, 0.11, 0.16, 0.19, 0.24, 0.27, 0.32, 0.35, 0.4, 0.43]  # 30 and 50 ms in turn


@pytest.fixture
def av():
    return pytest.importorskip("av", reason="av is not installed")


@pytest.fixture(params=["av", "OpenCV"])
def encoder(request, monkeypatch) -> str:
    if request.param == "av":
        pytest.importorskip("av", reason="av is not installed")
    else:
        without_av(monkeypatch)
    return request.param


def without_av(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


def write(path, times, size=(64, 96), rate=25.0, source=None) -> list[str]:
    """Writes the made-up photos; returns the notes."""
    with video.Writer(path, rate, source) as writer:
        for index, time in enumerate(times):
            writer.write(made_videos.photo(index, size), time)
    return writer.notes


def assert_close(photo: np.ndarray, expected: np.ndarray) -> None:
    """They differ by no more than a codec's error, which is less than half the step to the next frame."""
    assert photo.shape == expected.shape and photo.dtype == np.uint8
    assert np.mean(np.abs(photo.astype(float) - expected)) < made_videos.STEP / 2


def nearest(photo: np.ndarray, frames: int) -> int:
    """The index of the made-up photo that this one is."""
    means = [made_videos.photo(index).mean() for index in range(frames)]
    return int(np.argmin(np.abs(np.array(means) - photo.mean())))


@pytest.mark.parametrize("every", [1, 3])
def test_frames_have_their_index_time_and_pixels(every, tmp_path):
    path = made_videos.write_mpeg4(tmp_path / "video.mp4")
    frames = list(video.read_frames(path, every))
    assert [index for index, _, _ in frames] == list(range(0, 20, every))
    np.testing.assert_allclose([time for _, time, _ in frames], np.arange(0, 20, every) / 25, atol=1e-6)
    for index, _, photo in frames:
        assert_close(photo, made_videos.photo(index))
        assert nearest(photo, 20) == index
    assert video.read_properties(path) == video.Properties(25, (64, 96), 0.8)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_frames_are_turned_as_shown(turn, tmp_path):
    path = made_videos.write_mpeg4(tmp_path / "video.mp4", 3, turn=turn)
    expected = np.rot90(made_videos.photo(0), -turn // 90)
    _, _, photo = next(video.read_frames(path))
    assert_close(photo, expected)
    assert video.read_properties(path).size == expected.shape[:2]


def test_times_of_a_variable_rate(av, tmp_path):
    path = made_videos.write_with_sound(tmp_path / "video.mp4", TIMES, 0.5)
    np.testing.assert_allclose([time for _, time, _ in video.read_frames(path)], TIMES, atol=1e-4)


def test_a_video_that_starts_late_is_timed_from_its_first_frame(av, tmp_path):
    path = made_videos.write_with_sound(tmp_path / "video.mp4", [1.0, 1.04, 1.08], 1.1)
    np.testing.assert_allclose([time for _, time, _ in video.read_frames(path)], [0, 0.04, 0.08], atol=1e-4)


def test_longer_sound_is_no_damage(av, tmp_path):
    for name in ("video.mkv", "video.mp4"):
        path = made_videos.write_with_sound(tmp_path / name, np.arange(30) / 30, 1.5)
        assert len(list(video.read_frames(path))) == 30


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv"])
def test_a_video_that_is_cut_off_gives_its_frames_and_then_an_error(name, av, tmp_path):
    path = tmp_path / name
    with av.open(str(path), "w", options={"movflags": "faststart"} if name == "video.mp4" else {}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = 64, 96
        for index in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(made_videos.photo(index), format="rgb24")))
        container.mux(stream.encode(None))
    assert len(list(video.read_frames(path))) == 60
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    frames = []
    with pytest.raises(video.VideoError, match=r"is cut off or damaged: its frames end at \d\.\d of 2\.4 seconds"):
        frames.extend(video.read_frames(path))
    assert len(frames) > 10 and [index for index, _, _ in frames] == list(range(len(frames)))


def write_bad(kind: str, path) -> None:
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is not a video\n" * 100)
    elif kind == "cut before its index":
        content = made_videos.write_mpeg4(path).read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif kind == "no frames":
        made_videos.write_mpeg4(path, frames=0)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["empty", "text", "cut before its index", "no frames", "folder"])
def test_a_file_without_frames_is_one_error(kind, tmp_path):
    path = tmp_path / "video.mp4"
    write_bad(kind, path)
    with pytest.raises(video.VideoError) as caught:
        list(video.read_frames(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_opencv_and_ffmpeg_print_nothing_of_their_own(tmp_path):
    (tmp_path / "video.mp4").write_text("this is not a video\n" * 100)
    program = "import sys; from hrnet_jax.predict import video; next(video.read_frames(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "video.mp4"], capture_output=True, text=True)
    assert done.stderr.startswith("Traceback") and "video.mp4 is not a readable video" in done.stderr


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"video.mp4 does not exist"):
        next(video.read_frames(tmp_path / "video.mp4"))
    with pytest.raises(FileNotFoundError, match=r"video.mp4 does not exist"):
        video.read_properties(tmp_path / "video.mp4")


@pytest.mark.parametrize("rate", [25.0, 30000 / 1001])
def test_what_is_written_is_read_again(rate, encoder, tmp_path):
    path = tmp_path / "out.mp4"
    notes = write(path, np.arange(20) / rate, rate=rate)
    assert len(notes) == (encoder == "OpenCV") and all("pip install 'hrnet_jax[video]'" in note for note in notes)
    frames = list(video.read_frames(path))
    np.testing.assert_allclose([time for _, time, _ in frames], np.arange(20) / rate, atol=1e-3)
    for index, _, photo in frames:
        assert_close(photo, made_videos.photo(index))
        assert nearest(photo, 20) == index
    properties = video.read_properties(path)
    assert properties.rate == pytest.approx(rate, abs=1e-3) and properties.size == (64, 96)


def test_odd_sides_are_padded_and_said(encoder, tmp_path):
    path = tmp_path / "out.mp4"
    notes = write(path, [0, 0.04], (63, 95))
    assert f"{path} is 96x64, not 95x63: the codec needs even sides" in notes
    _, _, photo = next(video.read_frames(path))
    assert_close(photo[:63, :95], made_videos.photo(0, (63, 95)))
    assert_close(photo[63:, :95], made_videos.photo(0, (63, 95))[62:])


def test_h264_is_what_browsers_play(av, tmp_path):
    write(tmp_path / "out.mp4", [0, 0.04])
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays before all of it has arrived


def test_variable_times_are_kept(av, tmp_path):
    write(tmp_path / "out.mp4", TIMES)
    np.testing.assert_allclose([time for _, time, _ in video.read_frames(tmp_path / "out.mp4")], TIMES, atol=1e-4)


def test_without_av_frames_are_repeated_or_dropped_to_keep_their_times(tmp_path, monkeypatch):
    without_av(monkeypatch)
    write(tmp_path / "out.mp4", [0, 0.04, 0.2, 0.21, 0.24])
    shown = [nearest(photo, 5) for _, _, photo in video.read_frames(tmp_path / "out.mp4")]
    assert shown == [0, 1, 1, 1, 1, 2, 4]


def packets(av, path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        (stream,) = container.streams.audio
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(stream) if p.pts is not None]


@pytest.mark.parametrize("every", [1, 5])
def test_the_sound_of_the_source_is_copied(every, av, tmp_path):
    source = made_videos.write_with_sound(tmp_path / "source.mp4", np.arange(30) / 30, 1.4)
    with video.Writer(tmp_path / "out.mp4", 30 / every, source) as writer:
        for _, time, photo in video.read_frames(source, every):
            writer.write(photo, time)
    assert writer.notes == []
    before, after = packets(av, source), packets(av, tmp_path / "out.mp4")
    assert len(before) > 50 and [data for _, data in after] == [data for _, data in before]
    np.testing.assert_allclose([time for time, _ in after], [time for time, _ in before], atol=1e-3)
    assert len(list(video.read_frames(tmp_path / "out.mp4"))) == 30 / every


def test_a_source_without_sound_gives_none(av, tmp_path):
    source = made_videos.write_mpeg4(tmp_path / "source.mp4")
    assert write(tmp_path / "out.mp4", [0, 0.04], source=source) == []
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams) == 1


def test_sound_that_mp4_cannot_hold_is_left_out_and_said(av, tmp_path):
    source = made_videos.write_with_sound(tmp_path / "source.mov", np.arange(10) / 10, 1, "pcm_mulaw")
    notes = write(tmp_path / "out.mp4", [0, 0.04], source=source)
    assert notes == [f"mp4 cannot hold the sound of {source}, pcm_mulaw"]
    assert len(list(video.read_frames(tmp_path / "out.mp4"))) == 2


def test_an_interrupted_video_plays_up_to_its_last_frame(av, tmp_path):
    source = made_videos.write_with_sound(tmp_path / "source.mp4", np.arange(60) / 30, 2)
    with pytest.raises(KeyboardInterrupt), video.Writer(tmp_path / "out.mp4", 30, source) as writer:
        for _, time, photo in itertools.islice(video.read_frames(source), 15):
            writer.write(photo, time)
        raise KeyboardInterrupt
    assert len(list(video.read_frames(tmp_path / "out.mp4"))) == 15
    assert packets(av, tmp_path / "out.mp4")[-1][0] == pytest.approx(0.5, abs=0.03)


def test_without_av_an_interrupted_video_plays(tmp_path, monkeypatch):
    without_av(monkeypatch)
    writer = video.Writer(tmp_path / "out.mp4", 25)
    try:
        writer.write(made_videos.photo(0), 0)
        writer.write(made_videos.photo(1), 0.04)
    finally:
        writer.close(complete=False)
        writer.close()
    assert len(list(video.read_frames(tmp_path / "out.mp4"))) == 2


def test_no_frames_write_no_file(encoder, tmp_path):
    assert write(tmp_path / "out.mp4", []) == [] and not (tmp_path / "out.mp4").exists()


def test_a_frame_of_another_size_is_refused(encoder, tmp_path):
    with video.Writer(tmp_path / "out.mp4", 25) as writer:
        writer.write(made_videos.photo(0), 0)
        with pytest.raises(ValueError, match=r"a frame of \(32, 96\) cannot follow one of \(64, 96\)"):
            writer.write(made_videos.photo(1)[:32], 0.04)
    assert len(list(video.read_frames(tmp_path / "out.mp4"))) == 1


def test_a_file_that_cannot_be_written_is_an_error(encoder, tmp_path):
    with pytest.raises(ValueError, match=r"missing/out.mp4 cannot be written \("):
        write(tmp_path / "missing" / "out.mp4", [0])


@pytest.mark.parametrize("frames", [3, 100])  # it is noticed at the end, or while frames are written
def test_a_full_disk_is_an_error(frames, av, tmp_path):
    (tmp_path / "out.mp4").symlink_to("/dev/full")
    with pytest.raises(ValueError, match=r"out.mp4 cannot be written \(No space left on device\): make room"):
        write(tmp_path / "out.mp4", np.arange(frames) / 25)


def test_nothing_is_written_after_the_end(encoder, tmp_path):
    with video.Writer(tmp_path / "out.mp4", 25) as writer:
        writer.write(made_videos.photo(0), 0)
    with pytest.raises(ValueError, match=r"out.mp4 is closed, or could not be written before"):
        writer.write(made_videos.photo(1), 0.04)
    assert len(list(video.read_frames(tmp_path / "out.mp4"))) == 1


def test_a_source_is_not_overwritten(tmp_path):
    source = made_videos.write_mpeg4(tmp_path / "source.mp4")
    before = source.read_bytes()
    (tmp_path / "link.mp4").symlink_to(source)
    with pytest.raises(ValueError, match=r"link.mp4 is the source: give another file to write"):
        video.Writer(tmp_path / "link.mp4", 25, source)
    assert source.read_bytes() == before


def test_the_sound_of_a_source_that_is_cut_off_is_copied_as_far_as_it_goes(av, tmp_path):
    source = made_videos.write_with_sound(tmp_path / "source.mp4", np.arange(90) / 30, 3)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    with video.Writer(tmp_path / "out.mp4", 30, source) as writer, contextlib.suppress(video.VideoError):
        for _, time, photo in video.read_frames(source):
            writer.write(photo, time)
    assert len(writer.notes) <= 1 and all("damaged and ends early" in note for note in writer.notes)
    assert len(list(video.read_frames(tmp_path / "out.mp4"))) > 10
    assert 0.5 < packets(av, tmp_path / "out.mp4")[-1][0] < 2.5


def test_opencv_writing_nothing_is_an_error(tmp_path, monkeypatch):
    without_av(monkeypatch)
    writer = video.Writer(tmp_path / "out.mp4", 25)
    for index in range(3):
        writer.write(made_videos.photo(index), index / 25)
    monkeypatch.setattr(cv2.VideoWriter, "write", lambda self, photo: None)
    writer.write(made_videos.photo(3), 3 / 25)
    with pytest.raises(ValueError, match=r"cannot be written \(it holds 3 of 4 frames\)"):
        writer.close()
