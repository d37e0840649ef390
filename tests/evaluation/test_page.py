"""The HTML report: its numbers, and its looks in a browser."""

import html.parser

import numpy as np
import pytest

from hrnet_jax.evaluation import breakdown, charts, error_costs, gallery, markup, page, sections
from hrnet_jax.evaluation.error_analysis import KINDS
from hrnet_jax.skeletons import COCO

DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
HOSTILE = "</title><script>document.title=1</script><img src=x onerror='document.title=1'> {{title}} &lt;"
THRESHOLDS = [f"{0.5 + 0.05 * i:.2f}" for i in range(10)]


def made_analysis(level: float) -> dict:
    """Numbers as an evaluation has them."""
    rates = [None, *np.linspace(0, level, 9).tolist()]
    reliability = {"score": rates, "hits": rates, "count": [0, *[40_000] * 9], "error": 0.125}
    share = (1 - level) / (len(KINDS) - 1)
    joint = {"count": 9, **dict.fromkeys(KINDS, share), "good": level, "sigmas": [0.2, 0.5, 1.0, 2.0, 70.0]}
    groups = {"1": {"AP": level, "people": 12_345}, "9 or more": {"AP": 0.1, "people": 2}}
    errors = {"count": 123_456, "share": 0.25, "gain": 0.1 * level, "mended_AP": 0.9}
    return {
        "errors": dict.fromkeys(error_costs.MENDED, errors) | {"score": errors | {"gain": 0.2}},
        "precision_recall": {name: {"AP": level, "precision": [level] * 90 + [0.0] * 11} for name in THRESHOLDS},
        "AP_by": dict.fromkeys(sections.PROPERTIES, groups),
        "joints": dict.fromkeys(COCO.joints, joint),
        "calibration": {"people": reliability, "joints": reliability},
    }


def made_metrics(level=0.7, sources=("gt_boxes", "detector_boxes")) -> dict:
    metrics = {}
    for source in sources:
        metrics |= {f"val2017/{source}/AP": level, f"val2017/{source}/AP_L": -1.0}
        metrics |= page.flatten(made_analysis(level), f"val2017/{source}/{page.ANALYSIS}")
    return metrics


def made_report(**changes) -> page.Report:
    picture = gallery.Picture("photo 1, OKS 0.50", people=DOT, heatmaps=DOT)
    pictures = {"gt_boxes": {kind: [picture] * 6 for kind in error_costs.MENDED}}
    fields = {"facts": {"Network": "HRNet-W32"}, "metrics": made_metrics(), "other": {}, "pictures": pictures}
    return page.Report("val2017", "AP", **fields | changes)


def mpii_report() -> page.Report:
    curve = np.linspace(0, 90, 26).tolist()
    joints = {"left_knee": {"count": 3, "PCKh": 66.7, "heads": [0.1, 0.2, 0.3, 0.4, 9.0]}}
    joints |= {"pelvis": {"count": 0, "PCKh": -1.0, "heads": None}}
    analysis = {"curves": {"Head": curve, "Mean": curve}, "joints": joints}
    metrics = {"valid/gt_boxes/PCKh@0.5/Mean": 90.0} | page.flatten(analysis, "valid/gt_boxes/analysis")
    other = {"valid/gt_boxes/PCKh@0.5/Mean": 88.5, "valid/gt_boxes/analysis/curves/Mean": curve}
    pictures = {"gt_boxes": {"worst": [gallery.Picture("photo 1", DOT, "")]}}
    return page.Report("valid", "PCKh@0.5/Mean", {}, metrics, other, pictures)


class Reader(html.parser.HTMLParser):
    """Collects tags with attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data + "\n"


def test_metrics_are_flat_and_nest_again():
    analysis = {"errors": {"miss": {"count": 3, "gain": 0.123456789}}, "curve": [1.0, None, 0.0000004]}
    flat = page.flatten(analysis, "val/gt_boxes/analysis")
    assert flat == {
        "val/gt_boxes/analysis/errors/miss/count": 3,
        "val/gt_boxes/analysis/errors/miss/gain": 0.12346,
        "val/gt_boxes/analysis/curve": [1.0, None, 0.0],
    }
    assert page.nest(flat)["val"]["gt_boxes"]["analysis"]["errors"]["miss"] == {"count": 3, "gain": 0.12346}


def test_the_page_is_self_contained_and_runs_nothing():
    for report in (made_report(), made_report(other=made_metrics(0.5)), mpii_report()):
        for tag, attributes in Reader(page.render(report)).tags:
            assert tag not in ("script", "iframe", "object", "embed", "base", "form")
            assert attributes.get("src", "data:").startswith("data:")
            assert attributes.get("href", "data:").startswith("data:")
            assert not any(name.startswith("on") for name in attributes)
            assert "alt" in attributes if tag == "img" else True
            assert attributes.get("aria-label") if attributes.get("role") == "img" else True


def test_the_page_says_what_is_good_and_what_it_costs():
    text = Reader(page.render(made_report())).text
    assert "AP 0.700 on ground-truth boxes, 0.700 on the detector's boxes" in text
    assert "AP to gain on ground-truth boxes by mending one kind of error: score +0.200, miss +0.070" in text
    for heading in sections.SECTIONS:
        assert (heading in text) == (heading != "PCKh by threshold")
    for words in ("123,456", "25.0%", "OKS 0.95: AP 0.700", "12,345", "9 or more", "calibration error 0.125"):
        assert words in text
    assert "Other run" not in text


def test_two_runs_stand_side_by_side():
    text = Reader(page.render(made_report(other=made_metrics(0.5)))).text
    assert "AP 0.700 (+0.200) on ground-truth boxes" in text
    assert text.count("Other run") == 2 * (1 + 1 + len(sections.PROPERTIES))
    assert "OKS 0.75, other run: AP 0.500" in text and "OKS 0.95" not in text
    assert "median of the other run" in text


def test_another_run_may_lack_the_analysis_or_a_source():
    only = {"val2017/gt_boxes/AP": 0.5}
    text = Reader(page.render(made_report(other=only))).text
    assert "AP 0.700 (+0.200) on ground-truth boxes, 0.700 on the detector's boxes" in text
    assert "other run:" not in text


def test_a_report_without_analysis_has_the_metrics():
    text = Reader(page.render(made_report(metrics={"val2017/gt_boxes/PDJ": 0.25}, pictures={}))).text
    assert "PDJ" in text and "0.250" in text and "What the errors are" not in text and "Galleries" not in text


def test_mpii_has_curves_and_distances_in_heads():
    text = Reader(page.render(mpii_report())).text
    assert "PCKh@0.5/Mean 90.000 (+1.500) on ground-truth boxes" in text
    assert "Mean, other run: 90.0" in text and "error in heads" in text and "left knee median 0.30" in text
    assert (
        "pelvis not labelled" in page.render(mpii_report())
        and "Worst: people with the largest mean errors (1)" in text
    )


def test_names_are_inserted_as_text():
    metrics = {f"val2017/gt_boxes/{HOSTILE.replace('/', '')}": 0.5} | made_metrics()
    report = made_report(
        facts={HOSTILE: HOSTILE},
        metrics=metrics,
        pictures={"gt_boxes": {"miss": [gallery.Picture(HOSTILE, DOT, DOT)]}},
    )
    found = Reader(page.render(report))
    assert [tag for tag, _ in found.tags].count("title") - found.text.count("<title>") >= 1
    assert "script" not in [tag for tag, _ in found.tags]
    assert [attributes["src"] for tag, attributes in found.tags if tag == "img"] == [DOT] * 2
    assert found.text.count("{{title}}") >= 3


def test_differences_have_a_sign_and_zero_has_one_only():
    assert [markup.signed(value) for value in (0.25, -0.25, 0.0, -0.0001)] == [
        "+0.250",
        "-0.250",
        "+0.000",
        "+0.000",
    ]


def test_sections_without_numbers_are_left_out():
    nobody = {"score": [None] * 10, "hits": [None] * 10, "count": [0] * 10, "error": None}
    one = {"score": [0.0, *[None] * 9], "hits": [0.0, *[None] * 9], "count": [7, *[0] * 9], "error": 0.0}
    joint = {"count": 0, **dict.fromkeys(KINDS), "sigmas": None}
    numbers = {"joints": dict.fromkeys(COCO.joints, joint), "calibration": {"people": one, "joints": nobody}}
    assert sections.joint_kinds(numbers, {}) == sections.joint_distances(numbers, {}) == ""
    calibration = Reader(sections.calibration(numbers, {})).text
    assert "Scores of people: calibration error 0.000\n" in calibration and "joints" not in calibration


def test_another_run_without_numbers_has_no_key():
    here, there = made_analysis(0.7), made_analysis(0.5)
    nobody = {"joints": {name: {"sigmas": None} for name in COCO.joints}}
    nobody["calibration"] = {"people": {"score": [], "hits": [], "count": [], "error": None}}
    for draw in (sections.joint_distances, sections.calibration):
        assert "other run" in draw(here, there) and "other run" not in draw(here, nobody)
    there["calibration"]["people"] |= {"error": 0.25}
    assert "calibration error 0.125, of the other run 0.250" in sections.calibration(here, there)


def test_axes_place_values_and_keep_them_inside():
    linear, log = charts.Axis("", (0, 0.5, 2)), charts.Axis("", (0.1, 1, 10), log=True)
    assert [linear.place(value, 0, 100) for value in (-1, 0, 1, 2, 9)] == [0, 0, 50, 100, 100]
    assert [log.place(value, 100, 0) for value in (0.01, 1, 100)] == pytest.approx([100, 50, 0])


def test_lines_leave_out_missing_points():
    axis = charts.Axis("x & y", (0, 1))
    svg = charts.lines([charts.Line("a", [None, 0, 1], [0.5, 0, None], "")], axis, axis, 'an "alt"')
    assert f'points="{charts.LEFT}.0,{charts.HEIGHT - charts.BOTTOM}.0"' in svg
    assert 'aria-label="an &quot;alt&quot;"' in svg and "x &amp; y" in svg


def test_bars_are_as_long_as_their_share():
    text = markup.table(["a", "b"], [["<x>", markup.Bar("0.5", 0.25)], ["y", markup.Bar("-1", -1)]])
    assert "--bar:0.250" in text and "--bar:0.000" in text and "&lt;x&gt;" in text
    assert "tabindex" not in text and "tabindex" in markup.table(["a"] * 5, [])


@pytest.fixture
def show(browser, tmp_path):
    """Opens a report in the browser, and checks for errors and requests at the end."""
    contexts, errors, requests = [], [], []

    def open_page(report, **options):
        path = tmp_path / f"{len(contexts)}.html"
        path.write_text(page.render(report), encoding="utf-8")
        contexts.append(browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options}))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(10_000)
        tab.on("console", lambda message: errors.append(message.text))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("width", [320, 390, 1400])
def test_the_page_fits_the_window(show, width):
    tab = show(made_report(other=made_metrics(0.5)), viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [figure.bounding_box() for figure in tab.locator("#metrics figure").all()]
    assert (boxes[0]["y"] == boxes[1]["y"]) == (width == 1400)  # sources side by side only where there is room
    for svg in tab.locator(".sources svg[role=img]").all():
        assert 250 < svg.bounding_box()["width"] <= min(width, 560)


def test_galleries_open_by_keyboard(show):
    tab = show(made_report())
    galleries = tab.locator("#galleries details:has(.pictures)")
    assert galleries.count() == len(error_costs.MENDED)
    assert (
        galleries.nth(0).locator("img").first.is_visible()
        and not galleries.nth(1).locator("img").first.is_visible()
    )
    galleries.nth(1).locator("summary").first.focus()
    tab.keyboard.press("Enter")
    assert galleries.nth(1).locator("img").first.is_visible()
    assert "Swap" in galleries.nth(1).locator("summary").first.inner_text()
    heatmaps = galleries.nth(1).get_by_alt_text("Heatmaps of the prediction").first
    assert not heatmaps.is_visible()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert heatmaps.is_visible()


def test_charts_have_names_for_screen_readers(show):
    tab = show(made_report())
    names = [svg.get_attribute("aria-label") for svg in tab.get_by_role("img").all()]
    assert sum("OKS 0.50: AP 0.700" in (name or "") for name in names) == 2
    assert tab.get_by_role("heading", level=2).all_inner_texts()[:2] == ["Metrics", "What the errors are"]
    assert tab.get_by_role("rowheader", name="Jitter", exact=True).count() == 2


def test_the_page_has_light_and_dark_colours(show):
    paper = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"
    light, dark = (show(mpii_report(), color_scheme=scheme) for scheme in ("light", "dark"))
    assert min(light.evaluate(paper)) > 240 and max(dark.evaluate(paper)) < 40
    assert min(dark.evaluate(paper.replace("backgroundColor", "color"))) > 200
    line = "getComputedStyle(document.querySelector('polyline.mean')).stroke"
    assert light.evaluate(line) != dark.evaluate(line)


def test_bins_match_the_reliability():
    assert len(made_analysis(0.5)["calibration"]["people"]["count"]) == breakdown.BINS
