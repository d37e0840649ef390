"""The page of a tracked video: its files, and its behaviour in a browser."""

import json

import made_posetrack
import made_tracks as made
import numpy as np
import pytest
from html_pages import HOSTILE, Reader, overflow

from hrnet_jax import skeletons, visualize
from hrnet_jax.predict import sequences, track_page
from hrnet_jax.predict.track_options import TrackOptions
from hrnet_jax.predict.track_truth import Comparison

COCO = skeletons.COCO
NAME = "000001_mpii_test"


@pytest.fixture
def folder(tmp_path):
    return made.write_folder(tmp_path / NAME)


def lines(folder, tracks):
    """Lines of frames with people of these track ids, side by side."""
    for frame, ids in enumerate(tracks):
        people = [
            {"id": i, "joints": [[20 * place + k, 10 + 3 * k, k / 20] for k in range(COCO.num_joints)]}
            for place, i in enumerate(ids)
        ]
        source = str(folder / f"{frame:06d}.jpg")
        yield {"source": source, "frame": frame, "time": frame / 10, "height": 96, "width": 200, "people": people}


def write(folder, tracks, out=None, name=None, truth=None):
    """Writes a page and returns its path."""
    numbers = tuple(range(len(tracks)))
    sequence = sequences.Sequence(str(folder), name or folder.name, ("",) * len(tracks), numbers)
    page = track_page.Writer(out or folder.parent / "tracks", sequence, COCO, truth=truth)
    for line in lines(folder, tracks):
        page.add(line)
    page.close()
    return (out or folder.parent / "tracks") / f"{sequence.name}.html"


def run(path) -> dict:
    return json.loads(dict(Reader(path.read_text()).texts)["application/json"])


# Files.


def test_runs_of_tracks_are_those_of_the_frames(folder):
    found = run(write(folder, [[0], [0, 1], [1], [1, 0], []]))
    assert [(track["id"], track["runs"]) for track in found["tracks"]] == [(0, [[0, 1], [3, 3]]), (1, [[1, 3]])]
    assert tuple(found["tracks"][1]["color"]) == visualize.track_color(1)
    assert found["frames"][3] == [3, 0.3, 200, 96, f"../{NAME}/000003.jpg"] and found["truth"] is None


def test_the_people_of_many_frames_are_beside_the_page(folder, monkeypatch):
    monkeypatch.setattr(track_page, "FRAMES_PER_FILE", 3)
    path = write(folder, [[0]] * 7)
    write(folder, [[0]] * 4)
    names = sorted(str(file.relative_to(path.parent)) for file in path.parent.rglob("*") if file.is_file())
    assert names == [f"{NAME}.html", f"{NAME}/people_00000.js", f"{NAME}/people_00001.js"]


def test_names_never_become_markup(tmp_path):
    path = write(tmp_path / "a", [[0]], name="page")
    hostile = track_page.Writer(tmp_path, sequences.Sequence("x", "page", ("x",), (0,)), COCO)
    hostile._run["title"] = HOSTILE
    hostile.close()
    tags = [tag for tag, _ in Reader((tmp_path / "page.html").read_text()).tags]
    assert tags == [tag for tag, _ in Reader(path.read_text()).tags]


# In the browser.


def clock(tab) -> str:
    return tab.locator("#clock").inner_text()


def wait_for_frame(tab, number):
    tab.locator("#clock", has_text=f"frame {number} ").wait_for()


def drawn(tab) -> list[str]:
    return tab.locator("#frame .person").evaluate_all("groups => groups.map((group) => group.dataset.track)")


def press(tab, *keys):
    for key in keys:
        tab.keyboard.press(key)


def test_frames_are_shown_with_skeletons_and_ids(open_tab, folder):
    tab = open_tab(write(folder, [[0], [0, 12], [12]]))
    assert tab.title() == NAME and tab.locator("#summary").inner_text() == "3 frames · 2 tracks"
    image = tab.locator("#frame img")
    image.evaluate("image => image.decode()")
    assert clock(tab) == "frame 0 · 0:00.00" and drawn(tab) == ["0"]
    assert tab.get_by_role("button", name="Frame before").is_disabled()
    press(tab, "ArrowRight")
    assert clock(tab) == "frame 1 · 0:00.10" and drawn(tab) == ["0", "12"]
    assert image.get_attribute("src") == f"../{NAME}/000001.jpg"
    assert tab.locator("#frame .tag").all_inner_texts() == ["0", "12"]
    strokes = tab.locator("#frame .person[data-track='12'] .limb:not(.outline)").evaluate_all(
        "paths => paths.map((path) => getComputedStyle(path).stroke)"
    )
    assert set(strokes) == {"rgb" + str(visualize.track_color(12))}
    press(tab, "End")
    assert drawn(tab) == ["12"] and tab.get_by_role("button", name="Next frame").is_disabled()
    press(tab, "Home")
    assert clock(tab).startswith("frame 0")


def test_it_plays_to_the_end_and_again(open_tab, folder):
    tab = open_tab(write(folder, [[0]] * 5))
    tab.get_by_role("button", name="Play", exact=True).click()
    wait_for_frame(tab, 4)
    tab.get_by_role("button", name="Play", exact=True).click()
    tab.get_by_role("button", name="Pause").click()
    assert not clock(tab).startswith("frame 4")


def test_the_timeline_has_a_bar_for_each_track_and_gap(open_tab, folder):
    tab = open_tab(write(folder, [[3], [3], [], [5], [3, 5]]))
    rows = tab.locator("#tracks .row")
    assert rows.locator("button").all_inner_texts() == ["3", "5"]
    bars = (
        "bars => bars.map((bar) => [bar.getAttribute('class'), bar.getAttribute('x'), bar.getAttribute('width')])"
    )
    assert rows.first.locator("rect").evaluate_all(bars) == [
        ["run", "0", "2"],
        ["run", "4", "1"],
        ["gap", "2", "2"],
    ]
    assert rows.first.locator(".gap title").text_content() == "lost in frames 2 to 3"
    assert rows.first.get_attribute("title") == "Track 3: 3 frames, frames 0 to 4, 1 gap"
    colors = [
        rows.first.locator(f".{kind}").first.evaluate("bar => getComputedStyle(bar).fill")
        for kind in ("run", "gap")
    ]
    assert colors[0] == "rgb" + str(visualize.track_color(3)) and colors[0] != colors[1]


def test_the_timeline_leads_to_frames_and_tracks(open_tab, folder):
    tab = open_tab(write(folder, [[3], [3], [], [5], [3, 5]]))
    chart = tab.locator("#tracks .chart").first
    width = chart.bounding_box()["width"]
    chart.click(position={"x": width * 0.5, "y": 5})
    assert clock(tab).startswith("frame 2") and drawn(tab) == []
    row = tab.locator("#tracks .row").nth(1)
    row.locator("button").click()
    assert clock(tab).startswith("frame 3") and row.get_attribute("class") == "row picked"
    press(tab, "End")
    opacities = tab.locator("#frame .person").evaluate_all(
        "g => g.map((group) => getComputedStyle(group).opacity)"
    )
    assert opacities == ["0.22", "1"]
    tab.locator("#frame .tag", has_text="5").click()
    assert row.get_attribute("class") == "row"


def test_switches_and_misses_against_truth_are_in_colour(open_tab, folder):
    places = [[0], [0], [1], [], [1]]
    truth = made_posetrack.video([[person_at(0)]] * 5)
    tab = open_tab(write(folder, places, truth=Comparison(truth, COCO)))
    assert tab.locator("#summary").inner_text() == (
        "5 frames · 2 tracks · 1 person in truth · 1 switch · 1 of 5 missed"
    )
    row = tab.locator("#truth .row")
    assert row.count() == 1 and row.locator("path.switch").get_attribute("d") == "M2 0V1"
    assert row.locator(".missed title").text_content() == "missed in frame 3"
    red = row.locator("path.switch").evaluate("path => getComputedStyle(path).stroke")
    assert red == "rgb(197, 48, 31)"
    tab.get_by_role("button", name="frame 2: person 9 goes from track 0 to 1").click()
    assert clock(tab).startswith("frame 2")


def person_at(place):
    """A person of the ground truth where `lines` puts the one at a place."""
    joints = np.zeros((made_posetrack.K, 2))
    for row, name in enumerate(made_posetrack.JOINTS):
        k = COCO.joints.index(name) if name in COCO.joints else 0
        joints[row] = 20 * place + k, 10 + 3 * k
    return made_posetrack.Person(9, joints, np.ones(made_posetrack.K, bool), np.ones(made_posetrack.K), 10.0)


def test_files_of_people_are_loaded_when_they_are_shown(open_tab, folder, monkeypatch):
    monkeypatch.setattr(track_page, "FRAMES_PER_FILE", 2)
    tab = open_tab(write(folder, [[0], [0], [1], [1], [2]]))
    tab.locator("#frame .person").wait_for()
    assert tab.evaluate("[...received.keys()]") == [0]
    press(tab, "End")
    tab.locator("#frame .person[data-track='2']").wait_for()
    assert tab.evaluate("[...received.keys()]") == [0, 2]


def test_controls_of_the_skeletons(open_tab, folder):
    tab = open_tab(write(folder, [[0]]))
    limbs = tab.locator("#frame .limb:not(.outline)")
    tab.locator("#by-side").check()
    strokes = limbs.evaluate_all("paths => paths.map((path) => getComputedStyle(path).stroke)")
    assert {f"rgb{visualize.LEFT}", f"rgb{visualize.RIGHT}"} <= set(strokes)
    before = tab.locator("#frame .dot").first.get_attribute("d")
    tab.locator("#threshold").fill("0.7")
    assert len(tab.locator("#frame .dot").first.get_attribute("d")) < len(before)
    tab.locator("#skeletons").uncheck()
    assert tab.locator("#frame .person").count() == tab.locator("#frame .tag").count() == 0


def test_a_video_is_played_with_its_skeletons(open_tab, tmp_path):
    pytest.importorskip("av", reason="av is not installed: OpenCV's videos are not played by browsers")
    clip = made.write_video(tmp_path / "clip #1%.mp4")
    made.follow(clip, tmp_path / "out", write=("tracks",))
    tab = open_tab(tmp_path / "out" / "tracks" / "clip #1%.mp4.html")
    tab.locator("#message:not([hidden]), #frame .person").first.wait_for()
    if not tab.evaluate("document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.42E01E\"')"):
        pytest.skip("this browser has no decoder of H.264")
    for frame in range(4):
        assert tab.evaluate("document.querySelector('video').currentTime") == pytest.approx(frame / 10, abs=0.05)
        press(tab, "ArrowRight")
    assert clock(tab).startswith("frame 4") and drawn(tab) == ["0", "1"]
    tab.get_by_role("button", name="Play", exact=True).click()
    wait_for_frame(tab, made.FRAMES - 1)
    tab.get_by_role("button", name="Play", exact=True).wait_for()


def test_a_video_that_cannot_be_played_leaves_the_skeletons(open_tab, tmp_path):
    clip = made.write_video(tmp_path / "clip.mp4")
    made.follow(clip, tmp_path / "out", write=("tracks",))
    clip.write_bytes(b"no video any more")
    tab = open_tab(tmp_path / "out" / "tracks" / "clip.mp4.html", expected_error="ERR_")
    tab.get_by_text("This browser cannot play the video: the skeletons stand alone.").wait_for()
    press(tab, "ArrowRight")
    assert drawn(tab) == ["0", "1"]
    tab.get_by_role("button", name="Play", exact=True).click()
    wait_for_frame(tab, made.FRAMES - 1)


def test_photos_that_are_gone_are_told(open_tab, folder):
    path = write(folder, [[0], [0]])
    (folder / "000000.jpg").unlink()
    tab = open_tab(path, expected_error="ERR_FILE_NOT_FOUND")
    tab.get_by_text("A photo is not beside the page any more.").wait_for()
    assert drawn(tab) == ["0"]


def test_the_page_fits_a_phone(open_tab, folder):
    tab = open_tab(write(folder, [[0], [0]]), viewport={"width": 360, "height": 740})
    assert overflow(tab) == 0


def test_the_truth_of_a_run_is_found_by_name(folder, tmp_path):
    content = made_posetrack.content([[person_at(0)]] * made.FRAMES)
    path = made_posetrack.write(tmp_path / "truth", content)
    out, track = tmp_path / "out", TrackOptions(truth=tmp_path / "truth", frame_rate=10)
    made.follow(folder, out, write=("tracks",), track=track)
    assert run(out / "tracks" / f"{NAME}.html")["truth"]["labelled"] == made.FRAMES
    path.rename(path.with_name("other.json"))
    with pytest.raises(ValueError, match=rf"has a file for none of the 1 videos, such as {NAME}.json"):
        made.follow(folder, out, resume=True, write=("tracks",), track=track)
    path.with_name("other.json").rename(path)
    for frame in folder.iterdir():
        frame.rename(frame.with_name(f"{int(frame.stem) + 1:08d}.jpg"))
    with pytest.raises(
        ValueError, match=r"has none of the frames of .*000000\.jpg, not 00000001\.jpg; those of 2017"
    ):
        made.follow(folder, tmp_path / "2017", write=("tracks",), track=track)
    assert made.follow(folder, tmp_path / "none", write=("json",), track=track, process=1, processes=2) == 0
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        made.follow(folder, out, write=("tracks",), track=TrackOptions(truth=tmp_path / "nowhere"))
