import io
import json

import pytest

from hrnet_jax.predict import shards

RUN = {"checkpoint": "a.pth", "size": (1, 2)}


def photo(source: str, frame: int | None = None) -> dict:
    return {"source": source, "frame": frame, "people": []}


@pytest.fixture
def out(tmp_path):
    shards.prepare(tmp_path / "out", RUN, 0, resume=False)
    return tmp_path / "out"


def write(out, *names: str, process: int = 0) -> None:
    writer = shards.Writer(out, process)
    for name in names:
        writer.add(photo(name))
    writer.close()


def sources(out, **options) -> list[str]:
    return [line["source"] for line in shards.read(out, **options)]


def test_lines_are_read_back_in_order(out, monkeypatch):
    monkeypatch.setattr(shards, "LINES", 3)
    names = [f"{number}.jpg" for number in range(8)]
    write(out, *names)
    assert sources(out) == names and shards.done(out) == set(names)
    assert sorted(path.name for path in (out / "shards").iterdir()) == [f"000-0000{i}.jsonl" for i in range(3)]


def test_each_line_is_on_disk_when_it_is_added(out):
    writer = shards.Writer(out, 0)
    writer.add(photo("a.jpg"))
    assert sources(out) == ["a.jpg"]
    writer.close()


def test_a_torn_line_does_not_count(out):
    write(out, "a.jpg", "b.jpg")
    path = out / "shards" / "000-00000.jsonl"
    path.write_text(path.read_text()[:-9])
    assert shards.done(out) == {"a.jpg"}
    write(out, "b.jpg")
    assert sources(out) == ["a.jpg", "b.jpg"]


def test_a_video_counts_when_it_is_complete(out):
    def frames(until: int):
        yield from (photo("clip.mp4", frame) for frame in range(3))
        if until:
            raise KeyboardInterrupt

    writer = shards.Writer(out, 0)
    writer.add(photo("a.jpg"))
    with pytest.raises(KeyboardInterrupt):
        writer.add_video(frames(until=1))
    assert shards.done(out) == {"a.jpg"}
    assert sources(out) == ["a.jpg", *["clip.mp4"] * 3]
    shards.prepare(out, RUN, 0, resume=True)
    assert sources(out) == ["a.jpg"]
    shards.Writer(out, 0).add_video(frames(until=0))
    assert shards.done(out) == {"a.jpg", "clip.mp4"} and len(sources(out)) == 4


def test_processes_do_not_touch_each_others_lines(out):
    shards.prepare(out, RUN, 1, resume=False)
    write(out, "a.jpg", process=0)
    write(out, "b.jpg", process=1)
    assert sources(out) == ["a.jpg", "b.jpg"]
    assert not shards.finish(out, 1, 2)
    assert shards.finish(out, 0, 2)
    assert not shards.finish(out, 1, 2)  # one process writes the files of the whole run


def test_what_no_process_could_read_is_known(out):
    for process, name in ((0, "a\udcff.jpg"), (1, "b.jpg")):
        shards.prepare(out, RUN, process, resume=False)
        shards.Writer(out, process).skip(name, "no photo")
    assert shards.skipped(out) == [("a\udcff.jpg", "no photo"), ("b.jpg", "no photo")]
    shards.prepare(out, RUN, 0, resume=True)  # which tries again
    assert shards.skipped(out) == [("b.jpg", "no photo")]


def test_a_full_disk_is_said_once(out, monkeypatch):
    monkeypatch.setattr(shards, "_open", lambda *_: io.FileIO("/dev/full", "w"))
    writer = shards.Writer(out, 0)
    with pytest.raises(
        ValueError, match=r"cannot be written \(No space left on device\).* continue with --resume"
    ):
        writer.add(photo("a.jpg"))
    writer.close()


def test_errors_of_reading_a_video_are_not_those_of_writing(out):
    def frames():
        yield photo("clip.mp4", 0)
        raise FileNotFoundError("clip.mp4 does not exist")

    with pytest.raises(FileNotFoundError):
        shards.Writer(out, 0).add_video(frames())


def test_earlier_results_are_not_mixed_with_others(out):
    write(out, "a.jpg")
    with pytest.raises(ValueError, match="holds results: continue them with --resume, or give another folder"):
        shards.prepare(out, RUN, 0, resume=False)
    shards.prepare(out, RUN, 0, resume=True)
    with pytest.raises(ValueError, match=r"is of another run: `checkpoint` is 'a.pth' there and 'b.pth' here"):
        shards.prepare(out, {**RUN, "checkpoint": "b.pth"}, 0, resume=True)
    assert sources(out) == ["a.jpg"]
    assert json.loads((out / "run.json").read_text())["checkpoint"] == "a.pth"


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file: give a folder"):
        shards.prepare(tmp_path / "file", RUN, 0, resume=False)
    with pytest.raises(ValueError, match="cannot be written"):
        shards.prepare(tmp_path / "file" / "out", RUN, 0, resume=False)


def test_an_unfinished_video_is_found_and_gone_on_with(out):
    def frames(first, last):
        yield from (photo("clip.mp4", frame) for frame in range(first, last))
        if last < 5:
            raise KeyboardInterrupt

    writer = shards.Writer(out, 0)
    with pytest.raises(KeyboardInterrupt):
        writer.add_video(frames(0, 3), writer.new_partial())
    with pytest.raises(KeyboardInterrupt):
        writer.add_video(frames(0, 0), writer.new_partial())
    (path,) = (out / "shards").glob("*00000*.partial")
    with open(path, "a") as file:
        file.write('{"source": "cl')
    shards.prepare(out, RUN, 0, True, True)
    found = shards.unfinished(out, 0)
    assert list(found) == ["clip.mp4"] and len(list((out / "shards").glob("*.partial"))) == 1
    shards.truncate(found["clip.mp4"], 2)
    finished = []
    shards.Writer(out, 0).add_video(frames(2, 5), found["clip.mp4"], lambda: finished.append(1))
    assert [line["frame"] for line in shards.read(out, with_partial=False)] == [0, 1, 2, 3, 4] and finished


def test_a_video_whose_end_fails_does_not_count(out):
    writer, path = shards.Writer(out, 0), None

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.add_video(iter([photo("clip.mp4", 0)]), path, fail)
    assert shards.done(out) == set()


def test_what_a_tracker_remembered_is_removed_with_the_frames(out):
    path = shards.Writer(out, 0).new_partial()
    for name in (path, shards.state_path(path)):
        name.touch()
    shards.prepare(out, RUN, 0, resume=True)
    assert not list((out / "shards").iterdir())
