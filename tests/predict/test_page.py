"""The gallery of a prediction run: its files, and its behaviour in a browser."""

import itertools
import json
import tracemalloc

import cv2
import numpy as np
import pytest
from html_pages import HOSTILE, Reader, overflow

from hrnet_jax import skeletons, visualize
from hrnet_jax.predict import page, page_data

SKELETON = skeletons.COCO
LEFT_WRIST, RIGHT_WRIST = (SKELETON.joints.index(f"{side}_wrist") for side in ("left", "right"))
PICTURE = np.full((60, 80, 3), 130, np.uint8)
HEIGHT, WIDTH = 240, 320
NAMES = [
    *(HOSTILE, "\"quoted\" & 'single'.jpg", "дорога 道 🏃.jpg", "../up/#1?x=%41.jpg", "javascript:alert(1)"),
    *("not utf-8 \udcff.jpg", "`${document.title=1}`.jpg", "*/ alert(1) //\n.jpg", "a" * 200 + ".jpg"),
]


def write(out_dir, skeleton, photos, *, skipped=(), **options):
    """Writes a gallery and returns the path of its page."""
    with page.Writer(out_dir, skeleton, **options) as writer:
        for photo, picture in photos:
            writer.add(photo, picture)
        for source, reason in skipped:
            writer.skip(source, reason)
    return out_dir / "index.html"


def made_person(number=0, **changes):
    """A person whose joint k has score k / 20, so that a threshold hides the first ones."""
    joints = [[20.5 + 10 * k + number, 30 + 5 * k, k / 20] for k in range(SKELETON.num_joints)]
    return {"box": [10 + number, 20, 200, 180], "box_score": 0.9, "score": 0.4, "joints": joints, **changes}


def made_photo(source="photo.jpg", people=1, **changes):
    entries = {"source": source, "frame": None, "time": None, "height": HEIGHT, "width": WIDTH}
    return {**entries, "people": [made_person(12 * i) for i in range(people)], **changes}


def made_run(count, people=lambda i: i % 3):
    return ((made_photo(f"street/photo_{i:05d}.jpg", people(i)), PICTURE) for i in range(count))


@pytest.fixture
def show(open_tab, tmp_path):
    """Writes a gallery and opens it."""
    numbers = itertools.count()

    def show_gallery(photos, skipped=(), title="Poses", fragment="", expected_error=None, **options):
        path = write(tmp_path / str(next(numbers)), SKELETON, photos, skipped=skipped, title=title)
        return open_tab(path, expected_error, fragment=fragment, **options)

    return show_gallery


def names(tab):
    return tab.locator("#grid .name").all_text_contents()


def path_of(tab, kind, where="#grid"):
    """The drawn path of a kind of limb or dot of the first person."""
    return tab.locator(f"{where} path.{kind}:not(.outline)").first


def loaded_files(tab):
    return sorted(tab.evaluate("[...received.poses.keys()]"))


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def set_threshold(tab, value):
    tab.locator("#threshold").fill(str(value))


# Files.


def test_few_photos_are_in_the_page_itself(tmp_path):
    path = write(tmp_path / "new" / "out", SKELETON, made_run(page.PHOTOS_PER_FILE))
    assert files(path.parent) == ["index.html"]
    assert all(not {"src", "srcset"} & set(attributes) for _, attributes in Reader(path.read_text()).tags)


def test_many_photos_are_beside_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PHOTOS_PER_FILE", 3)
    write(tmp_path, SKELETON, made_run(7))
    poses = [f"page/poses_0000{i}.js" for i in range(3)]
    assert files(tmp_path) == [
        "index.html",
        "page/photos.js",
        *poses,
        *(f"thumbnails/00000{i}.jpg" for i in range(7)),
    ]
    assert cv2.imread(str(tmp_path / "thumbnails/000006.jpg")).shape == PICTURE.shape


def test_a_gallery_replaces_an_earlier_one_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PHOTOS_PER_FILE", 3)
    write(tmp_path, SKELETON, made_run(7))
    others = ["poses.json", "thumbnails/mine.jpg", "page/mine.js"]
    for name in others:
        (tmp_path / name).write_text("")
    write(tmp_path, SKELETON, made_run(2))
    assert files(tmp_path) == sorted(["index.html", *others])


def test_pictures_are_shrunk_to_thumbnails(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PHOTOS_PER_FILE", 1)
    shapes = [(900, 1280), (2000, 1), (5, 7)]
    write(tmp_path, SKELETON, ((made_photo(), np.zeros((*shape, 3), np.uint8)) for shape in shapes))
    found = [cv2.imread(str(path)).shape[:2] for path in sorted(tmp_path.glob("thumbnails/*"))]
    assert found == [(450, page_data.THUMBNAIL_SIZE), (page_data.THUMBNAIL_SIZE, 1), (5, 7)]


def test_thumbnails_keep_the_colours(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PHOTOS_PER_FILE", 1)
    red = np.zeros((16, 16, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    write(tmp_path, SKELETON, [(made_photo(), red)] * 2)
    blue_green_red = cv2.imread(str(tmp_path / "thumbnails/000000.jpg")).mean(axis=(0, 1))
    np.testing.assert_allclose(blue_green_red, [0, 0, 200], atol=4)


def test_other_joints_than_the_skeleton_are_an_error_that_names_the_photo(tmp_path):
    wrong = made_photo("street.jpg", people=0) | {"people": [made_person(joints=[[1, 2, 0.5]] * 3)]}
    with pytest.raises(ValueError, match=r"'street.jpg': a person has 3 joints, but skeleton 'coco'"):
        write(tmp_path, SKELETON, [(wrong, PICTURE)])


def test_an_error_leaves_a_page_of_the_photos_until_then(open_tab, tmp_path):
    def interrupted():
        yield from made_run(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, SKELETON, interrupted())
    assert len(names(open_tab(tmp_path / "index.html"))) == 2


def test_memory_is_the_same_for_more_photos(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PHOTOS_PER_FILE", 10)
    peaks = []
    for count in (30, 300):
        tracemalloc.start()
        write(tmp_path, SKELETON, made_run(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


# The grid.


def test_the_summary_counts_and_lists_what_was_skipped(show):
    tab = show(made_run(7), skipped=[("notes.txt", "is not a picture"), ("b.png", "ends early")], title="Street")
    assert tab.title() == tab.locator("h1").inner_text() == "Street"
    assert tab.locator("#summary").inner_text() == "7 photos · 6 people · 3 photos without people"
    tab.locator("#skipped summary", has_text="2 photos skipped").click()
    assert tab.locator("#skipped li").all_inner_texts() == ["notes.txt is not a picture", "b.png ends early"]


def test_thousands_of_skipped_photos_are_counted(show):
    tab = show(made_run(1), skipped=((f"{i}.jpg", "is empty") for i in range(3000)))
    assert tab.locator("#skipped summary").inner_text() == "3,000 photos skipped"
    assert tab.locator("#skipped li").last.text_content() == "and 2,800 more"


def test_a_run_without_photos_is_shown(show):
    tab = show([])
    assert tab.locator("#grid").inner_text() == "There are no photos in this run."
    assert tab.locator("#skipped").is_hidden()


def test_skeletons_lie_on_the_photos(show):
    tab = show([(made_photo(), PICTURE)])
    image, picture = tab.locator("#grid img"), tab.locator("#grid svg")
    image.evaluate("image => image.decode()")
    assert image.evaluate("image => image.naturalWidth") == PICTURE.shape[1]
    assert image.bounding_box() == picture.bounding_box()
    # A joint at (x, y) is the centre of pixel (x, y).
    assert picture.get_attribute("viewBox") == f"-0.5 -0.5 {WIDTH} {HEIGHT}"
    x, y, _ = made_person()["joints"][LEFT_WRIST]
    assert f"M{x:g} {y:g}h0" in path_of(tab, "dot.left").get_attribute("d")


def test_left_and_right_differ_in_colour_and_form(show):
    tab = show([(made_photo(), PICTURE)])
    style = "path => {const s = getComputedStyle(path); return [s.stroke, s.strokeDasharray, s.strokeLinecap]}"
    left, right = (path_of(tab, f"limb.{side}").evaluate(style) for side in ("left", "right"))
    for found, color in ((left, visualize.LEFT), (right, visualize.RIGHT)):
        assert found[0] == f"rgb{color}"
    assert left[1] == "none" and right[1] != "none"
    assert [path_of(tab, f"dot.{side}").evaluate(style)[2] for side in ("left", "right")] == ["round", "square"]
    assert tab.locator("#legend").inner_text().split() == ["left", "right"]


def test_the_slider_and_the_switch_act_at_once(show):
    tab = show([(made_photo(), PICTURE)])

    def shown():
        return sum(path.count("h0") for path in tab.locator("#grid .dot:not(.outline)").evaluate_all(
            "paths => paths.map((path) => path.getAttribute('d'))"))  # fmt: skip

    for threshold in (0.2, 0.5, 0.8, 0):
        if threshold != 0.2:  # the first of `write`
            set_threshold(tab, threshold)
        assert shown() == sum(k / 20 >= threshold for k in range(SKELETON.num_joints))
        assert tab.locator("#threshold-value").inner_text() == f"{threshold:.2f}"
    tab.locator("#skeletons").uncheck()
    assert tab.locator("#grid path").count() == 0
    tab.locator("#skeletons").check()
    assert shown() == SKELETON.num_joints


def test_photos_are_found_by_name_and_number_of_people(show):
    tab = show(made_run(9))
    status = tab.get_by_role("status").first
    assert status.inner_text() == "9 photos"
    tab.get_by_role("searchbox", name="Search file names").fill("STREET 0004")
    assert names(tab) == ["photo_00004.jpg"] and status.inner_text() == "1 of 9 photos"
    tab.locator("#search").fill("beach")
    assert tab.locator("#grid").inner_text().split() == ["No", "photo", "matches.", "Show", "all"]
    tab.get_by_role("button", name="Show all").click()
    assert len(names(tab)) == 9
    choice = tab.get_by_role("combobox", name="Number of people")
    assert choice.locator("option").all_inner_texts() == ["all photos", "no people", "1 person", "2 people"]
    choice.select_option("no people")
    assert names(tab) == [f"photo_0000{i}.jpg" for i in (0, 3, 6)]


def test_many_people_are_one_entry_of_the_filter(show):
    tab = show(made_run(8, people=lambda i: i))
    tab.locator("#people").select_option("5 or more")
    assert names(tab) == [f"photo_0000{i}.jpg" for i in (5, 6, 7)]


def test_ten_thousand_photos_are_loaded_a_page_at_a_time(show):
    tab = show(made_run(10_000, people=lambda i: int(i == 8765)))
    tab.locator("#grid li:nth-child(60) img").wait_for()
    assert tab.locator("#grid li").count() == 60
    assert tab.evaluate("document.querySelectorAll('*').length") < 1500
    assert loaded_files(tab) == [0]
    assert tab.get_by_role("status").first.inner_text() == "10,000 photos, 1 to 60 shown"
    tab.get_by_label("Page", exact=True).first.fill("167")
    tab.keyboard.press("Enter")
    assert names(tab)[-1] == "photo_09999.jpg"
    tab.locator("#people").select_option("1 person")
    assert names(tab) == ["photo_08765.jpg"]
    tab.locator("#grid path").first.wait_for()
    assert loaded_files(tab) == [0, 87, 99]


def test_pages_turn(show, monkeypatch):
    monkeypatch.setattr(page, "PHOTOS_PER_FILE", 30)
    tab = show(made_run(130))
    first = tab.get_by_role("navigation", name="Pages", exact=True)
    assert first.get_by_role("button", name="Previous page").is_disabled()
    tab.get_by_role("navigation", name="Pages, below the photos").get_by_role("button", name="Next page").click()
    assert names(tab)[0] == "photo_00060.jpg"
    assert first.get_by_role("button", name="Next page").evaluate("b => b === document.activeElement")
    tab.keyboard.press("Enter")
    assert names(tab) == [f"photo_{i:05d}.jpg" for i in range(120, 130)]
    assert tab.get_by_label("Page", exact=True).first.evaluate("input => input === document.activeElement")
    tab.locator("#search").fill("0012")
    assert len(names(tab)) == 11 and first.is_hidden()


# The large photo.


def test_a_photo_opens_with_its_people(show):
    tab = show([(made_photo("dir/a.jpg", people=2), PICTURE), (made_photo("dir/b.jpg", people=0), PICTURE)])
    tab.locator("#grid button").first.click()
    dialog = tab.get_by_role("dialog", name="a.jpg")
    assert dialog.get_by_role("img", name="a.jpg, 2 people").is_visible()
    assert dialog.locator("#place").inner_text() == "1 of 2 · 2 people"
    assert dialog.locator("#path").inner_text() == "dir/a.jpg"
    assert dialog.locator("summary").all_inner_texts()[0].split() == [
        "1",
        "Person",
        "box",
        "0.90",
        "score",
        "0.40",
    ]
    dialog.locator("summary").first.click()
    rows = dialog.get_by_role("row").filter(has=tab.locator("td:visible")).all_inner_texts()
    assert [row.split("\t")[0].split(",")[0].strip() for row in rows] == [
        n.replace("_", " ") for n in SKELETON.joints
    ]
    assert rows[LEFT_WRIST].endswith(f"{LEFT_WRIST / 20:.2f}")
    dialog.get_by_role("button", name="Next photo").click()
    tab.get_by_role("dialog", name="b.jpg").get_by_text("No people were found.").wait_for()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_role("button", name="Close").click()
    assert dialog.is_hidden()


def test_a_person_in_the_list_is_emphasized_in_the_photo(show):
    tab = show([(made_photo(people=3), PICTURE)])
    tab.locator("#grid button").click()
    opacities = "groups => groups.map((group) => getComputedStyle(group).opacity)"
    people = tab.locator("#frame .person")
    assert people.evaluate_all(opacities) == ["1", "1", "1"]
    tab.locator("#persons summary").nth(1).hover()
    assert people.evaluate_all(opacities) == ["0.22", "1", "0.22"]
    assert float(tab.locator("#frame rect.box").first.get_attribute("x")) == made_person(12)["box"][0]
    tab.mouse.move(300, 300)
    assert people.evaluate_all(opacities) == ["1", "1", "1"] and tab.locator("#frame rect.box").count() == 0
    tab.locator("#persons summary").nth(2).focus()
    assert people.evaluate_all(opacities) == ["0.22", "0.22", "1"]
    tab.locator("#frame .tag").first.click()
    assert people.evaluate_all(opacities) == ["1", "0.22", "0.22"]
    tab.locator("#persons tr:visible", has_text="left wrist").hover()
    assert tab.locator("#frame .mark").inner_text() == "left wrist"


def test_controls_of_the_skeletons_act_in_the_large_photo(show):
    tab = show([(made_photo(), PICTURE)])
    tab.locator("#grid button").click()
    row = tab.locator("#persons tr[data-joint]").nth(RIGHT_WRIST)
    assert "not drawn" not in row.text_content()
    set_threshold(tab, 0.9)
    assert "not drawn" in row.text_content() and tab.locator("#frame .person path").count() == 0
    tab.locator("#skeletons").uncheck()
    tab.keyboard.press("Escape")
    assert not tab.locator(".tools #skeletons").is_checked()
    assert tab.locator("#threshold-value").inner_text() == "0.90"


def test_numbers_of_people_do_not_cover_each_other(show):
    tab = show([(made_photo(people=0) | {"people": [made_person() for _ in range(6)]}, PICTURE)])
    tab.locator("#grid button").click()
    boxes = [tag.bounding_box() for tag in tab.locator("#frame .tag").all()]
    assert len(boxes) == 6
    for a, b in itertools.combinations(boxes, 2):
        apart = max(abs(a["x"] - b["x"]) / a["width"], abs(a["y"] - b["y"]) / a["height"])
        assert apart >= 1


def test_everything_works_by_keyboard(show, monkeypatch):
    monkeypatch.setattr(page, "PHOTOS_PER_FILE", 20)
    tab = show(made_run(70), skipped=[("a", "b")])

    def focused(expression="id"):
        return tab.evaluate(f"document.activeElement.{expression}")

    press = tab.keyboard.press
    order = []
    for _ in range(7):
        press("Tab")
        order.append(focused() or focused("tagName"))
    assert order == ["SUMMARY", "search", "people", "skeletons", "threshold", "INPUT", "BUTTON"]
    press("Tab")
    assert "photo_00000" in focused("textContent")
    press("End")
    assert "photo_00059" in focused("textContent")
    press("ArrowLeft")
    press("Enter")
    heading = tab.locator("#name")
    assert heading.inner_text() == "photo_00058.jpg" and focused() == "name"
    for _ in range(3):  # beyond the page of the grid
        press("ArrowRight")
        tab.wait_for_timeout(50)
    assert heading.inner_text() == "photo_00061.jpg"
    press("ArrowLeft")
    tab.wait_for_function("document.getElementById('name').textContent === 'photo_00060.jpg'")
    press("ArrowRight")
    tab.wait_for_function("document.getElementById('name').textContent === 'photo_00061.jpg'")
    tab.locator("#threshold").focus()
    press("ArrowRight")
    assert heading.inner_text() == "photo_00061.jpg" and tab.locator("#threshold-value").inner_text() == "0.25"
    press("Tab")
    assert focused("tagName") == "SUMMARY" and tab.locator("#frame.picked").count() == 1
    press("Escape")
    assert tab.get_by_role("dialog").is_hidden() and "photo_00061" in focused("textContent")


def test_focus_is_visible(show):
    tab = show(made_run(2))
    tab.locator("#search").focus()
    outline = "node => getComputedStyle(node).outlineStyle"
    for selector in ("#people", "#skeletons", "#threshold"):
        tab.keyboard.press("Tab")
        assert tab.locator(selector).evaluate(outline) != "none"
    tab.keyboard.press("Tab")
    assert tab.locator("#grid .frame").first.evaluate(outline) == "solid"


def test_the_address_leads_to_a_photo_and_back(show):
    tab = show(made_run(5), fragment="#4")
    assert tab.locator("#name").inner_text() == "photo_00003.jpg"
    tab.keyboard.press("Escape")
    tab.wait_for_function("location.hash === '' && !viewer.open")
    tab.locator("#grid button").nth(1).click()
    tab.wait_for_url("**#2")
    tab.go_back()
    tab.locator("#viewer").wait_for(state="hidden")


def test_the_original_photo_takes_the_place_of_its_thumbnail(show, tmp_path):
    turned, plain = tmp_path / "turned.jpg", tmp_path / "a #1?%41 ü.jpg"
    cv2.imwrite(str(turned), np.zeros((WIDTH, HEIGHT, 3), np.uint8))
    cv2.imwrite(str(plain), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    tab = show([(made_photo(str(path)), PICTURE) for path in (plain, turned)])
    width = "image => image.decode().then(() => image.naturalWidth)"
    tab.locator("#grid button").first.click()
    tab.wait_for_function(f"document.querySelector('#frame img').naturalWidth === {WIDTH}")
    tab.keyboard.press("ArrowRight")
    tab.locator("#name", has_text="turned.jpg").wait_for()
    tab.wait_for_timeout(300)
    assert tab.locator("#frame img").evaluate(width) == PICTURE.shape[1]


def test_frames_of_a_video_have_number_and_time(show, tmp_path):
    video = tmp_path / "walk.mp4"
    video.write_bytes(b"")
    tab = show([(made_photo(str(video), frame=75, time=62.5), PICTURE)])
    assert names(tab) == ["walk.mp4 frame 75, 1:02.50"]


# Robustness.


@pytest.mark.parametrize("per_file", [100, 2])
def test_names_are_inserted_as_text(show, monkeypatch, per_file):
    monkeypatch.setattr(page, "PHOTOS_PER_FILE", per_file)
    photos = [(made_photo(f"dir/{name}"), PICTURE) for name in NAMES]
    tab = show(photos, skipped=[(HOSTILE, HOSTILE)], title=HOSTILE)
    assert tab.title() == tab.locator("h1").text_content() == HOSTILE
    assert names(tab) == [name.split("/")[-1] for name in NAMES]
    tab.locator("#grid .person").last.wait_for(state="attached")
    assert tab.locator("#grid .person").count() == len(NAMES)
    assert tab.locator("img").count() == len(NAMES) and tab.locator("body script").count() == 4
    assert tab.locator("#skipped li").text_content() == f"{HOSTILE} {HOSTILE}"
    tab.locator("#grid button").first.click()
    assert tab.locator("#path").text_content() == f"dir/{HOSTILE}"
    assert HOSTILE.split("/")[-1] in tab.locator("#frame img").get_attribute("alt")
    tab.keyboard.press("Escape")
    tab.locator("#search").fill("道")
    assert names(tab) == [NAMES[2]]


def test_numbers_that_are_not_finite_are_missing(show):
    joints = [[float("nan"), float("inf"), float("nan")], *made_person()["joints"][1:]]
    person = made_person(joints=joints, box_score=float("nan"), score=None, box=[float("nan")] * 4)
    tab = show([(made_photo(people=0) | {"people": [person]}, PICTURE)])
    tab.locator("#grid button").click()
    assert "box \N{EN DASH}" in tab.locator("#persons summary").inner_text()
    assert tab.locator("#persons tr[data-joint] td").first.inner_text() == "\N{EN DASH}"
    tab.locator("#persons tr[data-joint]").first.hover()
    assert tab.locator("#frame .mark").count() == tab.locator("#frame rect").count() == 0
    assert "NaN" not in tab.locator("#frame").inner_html()


def test_filled_joints_are_not_drawn_and_there_is_no_box_score(show):
    """Of people found without boxes. The score of joint 0 is 0, so that it is missing."""
    filled = [k == LEFT_WRIST for k in range(SKELETON.num_joints)]
    tab = show([(made_photo(people=0) | {"people": [made_person(filled=filled)]}, PICTURE)])
    set_threshold(tab, 0)
    drawn = tab.locator("#grid path.dot:not(.outline)").evaluate_all(
        "all => all.map((path) => path.getAttribute('d'))"
    )
    assert "".join(drawn).count("M") == SKELETON.num_joints - 2
    tab.locator("#grid button").click()
    assert tab.locator("#persons summary").inner_text().split() == ["1", "Person", "score", "0.40"]
    assert tab.locator("#persons tr[data-joint].below").count() == 2


def test_missing_files_are_named_and_the_rest_is_shown(open_tab, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PHOTOS_PER_FILE", 2)
    path = write(tmp_path, SKELETON, made_run(5))
    (tmp_path / "page/poses_00001.js").unlink()
    (tmp_path / "thumbnails/000000.jpg").unlink()
    tab = open_tab(path, expected_error="ERR_FILE_NOT_FOUND")
    tab.locator("#grid li", has_text="thumbnail is missing").wait_for()
    assert tab.locator("#grid li", has_text="poses are missing").count() == 2
    tab.locator("#grid button").nth(2).click()
    assert tab.locator("#frame").inner_text() == "poses are missing"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_window_does_not_scroll_sideways(show, width):
    photos = [(made_photo(name, people=2), PICTURE) for name in NAMES[::-1]]
    photos += [
        (made_photo(people=1, width=w, height=h), np.zeros((h, w, 3), np.uint8)) for w, h in ((640, 9), (9, 640))
    ]
    tab = show(photos, skipped=[("b" * 200, "c" * 200)], viewport={"width": width, "height": 700})
    tab.locator("#skipped summary").click()
    assert overflow(tab) <= 0
    tab.locator("#grid button").first.click()
    assert tab.evaluate("viewer.scrollWidth - viewer.clientWidth") <= 0
    frame = tab.locator("#frame").bounding_box()
    assert frame["x"] >= 0 and frame["x"] + frame["width"] <= width and frame["height"] > 100
    controls = [button.bounding_box() for button in tab.locator(".heading button").all()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] >= 36 for box in controls)


def test_the_page_has_light_and_dark_colours(show):
    colors = "[document.body, document.getElementById('viewer')].flatMap("
    colors += "(node) => {const style = getComputedStyle(node);"
    colors += "return [style.backgroundColor, style.color].map((color) => Number(color.match(/[0-9]+/)[0]))})"
    light, dark = (show(made_run(1), color_scheme=scheme).evaluate(colors) for scheme in ("light", "dark"))
    assert min(light[::2]) > 240 and max(light[1::2]) < 60
    assert max(dark[::2]) < 40 and min(dark[1::2]) > 200


def test_the_data_are_strict_json(tmp_path):
    path = write(tmp_path, SKELETON, made_run(1), skipped=[(HOSTILE, "\u2028")], title=HOSTILE)
    run = json.loads(dict(Reader(path.read_text(encoding="utf-8")).texts)["application/json"])
    assert run["title"] == HOSTILE and run["skipped"] == [[HOSTILE, "\u2028"]]
    assert run["skeleton"]["sides"][LEFT_WRIST] == "left" and run["skeleton"]["sides"][RIGHT_WRIST] == "right"
