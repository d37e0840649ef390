"""The HTML report: its content, and its behaviour in a browser."""

import copy
import itertools
import json
import pathlib

import pytest
from html_pages import HOSTILE, Reader, overflow

from hrnet_jax.compare import page

FAULT = 7
PRECISIONS = {"float64": 1e-16, "highest": 6e-8, "default": 5e-4, "bfloat16": 4e-3}
TITLES = {
    "evaluation": "layers in evaluation mode",
    "training": "layers in training mode",
    "gradients": "gradients of the loss",
    "statistics": "running statistics after a step",
    "parameters": "parameters after a step",
}


def layer_names(count):
    inner = [f"stage{2 + i // 10}.{i % 10}.conv{1 + i % 2}" for i in range(max(0, count - 4))]
    return ["conv1", "layer1.0.conv1", "layer1.0.conv2", *inner, "final_layer"][:count]


def made_section(name, deviations, tolerance, noise_floors):
    rows = [
        {
            "name": layer,
            "kind": "Conv",
            "shape": [2, 64, 8, 6],
            "deviation": value,
            "isolated": value,
            "noise_floor": other,
        }
        for layer, value, other in zip(layer_names(len(deviations)), deviations, noise_floors, strict=True)
    ]
    above = [i for i, value in enumerate(deviations) if isinstance(value, str) or (value or 0) > tolerance]
    largest = max(
        rows,
        key=lambda row: float("inf") if isinstance(row["deviation"], str) else row["deviation"] or 0,
        default={},
    )
    first = {"index": above[0], **{key: rows[above[0]][key] for key in ("name", "deviation")}} if above else None
    return {
        **{"name": name, "title": TITLES[name], "tolerance": tolerance, "held": not above, "rows": rows},
        **{"first": first, "worst": largest.get("deviation"), "worst_name": largest.get("name")},
    }


def made_run(precision="float64", rows=24, changes=None):
    """Makes results in one precision. `changes` maps a section to {row: deviation}."""
    rounding = PRECISIONS[precision]
    sections = []
    for name in TITLES:
        deviations = [rounding * (1 + i / 4) for i in range(rows)]
        for i, value in (changes or {}).get(name, {}).items():
            deviations[i] = value
        noise_floors = [None if precision == "float64" else rounding * (2 + i / 2) for i in range(rows)]
        sections.append(made_section(name, deviations, 1e6 * rounding, noise_floors))
    return {"precision": precision, "held": all(s["held"] for s in sections), "sections": sections, "steps": STEPS}


STEPS = {
    **{"ours": [0.5, 0.25, 0.125], "reference": [0.5, 0.25, 0.125], "deviation": [0.0, 1e-12, 1e-5]},
    **{"tolerance": [1e-8, 1e-8, 1e-3], "drift": [1e-15, 1e-12, 1e-7], "held": True},
}


def made_report(*runs, **changes):
    return {
        **{
            "title": "HRNet-W32, 17 joints, 256x192",
            "config": "configs/coco_hrnet_w32_256x192.py",
            "device": "cpu",
        },
        **{"weights": "drawn from the names of the parameters", "batch": "2 random images, seed 0"},
        **{"reference": "PyTorch in float64", "made": "2026-11-20 23:50 UTC", "command": "python -m ..."},
        **{"versions": {"python": "3.11.7", "torch": None}, "held": all(run["held"] for run in runs)},
        **{"runs": list(runs), **changes},
    }


def diverged():
    return made_report(made_run(changes={"evaluation": {i: 0.3146 for i in range(FAULT, 24)}}))


def hostile():
    report = diverged()
    section = report["runs"][0]["sections"][0]
    section["rows"][FAULT]["name"] = section["first"]["name"] = section["worst_name"] = HOSTILE
    section["rows"][FAULT]["kind"] = section["title"] = HOSTILE
    return report | {"title": HOSTILE, "command": HOSTILE, "versions": {HOSTILE: HOSTILE}}


@pytest.mark.parametrize(
    "report", [made_report(made_run()), hostile(), made_report()], ids=["held", "hostile", "empty"]
)
def test_the_report_is_embedded_unchanged(report):
    texts = Reader(page.render(report)).texts
    assert [kind for kind, _ in texts] == ["title", "application/json", "module"]
    assert json.loads(dict(texts)["application/json"]) == report


def test_the_title_gives_the_verdict():
    titles = [dict(Reader(page.render(report)).texts)["title"] for report in (made_report(made_run()), hostile())]
    assert titles == ["Held: HRNet-W32, 17 joints, 256x192", f"Not held: {HOSTILE}"]


def test_numbers_that_are_not_finite_are_named():
    report = made_report(
        made_run(), versions={"a": float("nan"), "b": (float("inf"), -float("inf"), None, 0.5, 1)}
    )
    given = copy.deepcopy(report["versions"])
    embedded = json.loads(dict(Reader(page.render(report)).texts)["application/json"])
    assert embedded["versions"] == {"a": "nan", "b": ["inf", "-inf", None, 0.5, 1]}
    assert repr(report["versions"]) == repr(given)


def test_the_page_is_self_contained():
    for tag, attributes in Reader(page.render(made_report(made_run()))).tags:
        assert not {"src", "srcset", "data"} & set(attributes), tag
        assert attributes.get("href", "data:").startswith("data:")
        assert tag not in ("iframe", "object", "embed", "base", "form")


@pytest.fixture
def show(open_tab, tmp_path):
    """Opens a report in the browser."""
    numbers = itertools.count()

    def show_report(report, **options):
        path = tmp_path / f"{next(numbers)}.html"
        path.write_text(page.render(report), encoding="utf-8")
        return open_tab(path, **options)

    return show_report


def names(tab):
    return tab.locator("#rows tbody td.name").all_inner_texts()


def test_a_held_comparison_names_the_row_closest_to_its_tolerance(show):
    tab = show(made_report(made_run()))
    verdict = tab.locator("#verdict").inner_text()
    assert verdict.startswith("Held at float64")
    assert "final_layer, 6.8e-16 of 1e-10 allowed" in verdict
    facts = tab.locator(".facts").inner_text()
    assert "drawn from the names of the parameters" in facts and "torch not installed" in facts


def test_the_first_row_above_its_tolerance_is_shown_with_its_neighbours(show):
    tab = show(diverged())
    name = layer_names(24)[FAULT]
    assert tab.locator("#verdict h2").inner_text() == f"First above 1e-10: {name}, 0.31, evaluation mode"
    assert "Introduced here" in tab.locator("#verdict").inner_text()
    assert tab.locator(".neighbours .name").all_inner_texts() == layer_names(24)[FAULT - 2 : FAULT + 3]
    assert tab.locator(".neighbours .first .name").inner_text() == name
    assert tab.locator("#plot-evaluation .first text").text_content() == f"first above 1e-10: {name}, 0.31"
    assert tab.locator("#plot-training .first").count() == 0


def test_a_deviation_of_earlier_layers_is_called_propagated(show):
    report = diverged()
    report["runs"][0]["sections"][0]["rows"][FAULT]["isolated"] = 2e-16
    verdict = show(report).locator("#verdict").inner_text()
    assert "Propagated: with" in verdict and "this layer deviates by 2.0e-16." in verdict


def test_losses_that_differ_are_named(show):
    run = made_run()
    run |= {"held": False, "steps": STEPS | {"deviation": [0.0, 0.02, "nan"], "held": False}}
    tab = show(made_report(run))
    assert "Losses differ at step 2: 0.02, 1e-8 allowed" in tab.locator("#verdict").inner_text()
    assert tab.locator("#steps .point.above").count() == 1
    assert tab.locator("#steps .point.nonfinite").count() == 1


def test_missing_rows_are_named(show):
    run = made_run(changes={"statistics": {4: None, 9: None}}) | {"held": False}
    run["sections"][3]["held"] = False
    verdict = show(made_report(run)).locator("#verdict h2").inner_text()
    assert verdict == f"2 missing in {TITLES['statistics']}, first {layer_names(24)[4]}"


def test_differences_and_notes_are_listed(show):
    texts = {
        "differences": ["the state after step 4: its fingerprint was 0a"],
        "notes": ["config.seed was 0", HOSTILE],
    }
    for report in (diverged() | texts, made_report() | texts | {"held": False}):
        tab = show(report)
        assert tab.locator("#verdict .differences li").all_text_contents() == texts["differences"]
        assert tab.locator(".facts li").all_text_contents() == texts["notes"]
    assert tab.locator("#verdict h2").inner_text() == "Not held"
    assert show(diverged()).locator(".facts li").count() == 0


def test_every_row_has_a_point(show):
    tab = show(made_report(made_run(rows=40)))
    for name in TITLES:
        assert tab.locator(f"#plot-{name} .point").count() == 40
    assert tab.locator("#plot-evaluation .part").all_text_contents()[-3:] == ["stage3", "stage4", "stage5"]
    assert tab.locator("#steps .point").count() == 3 * 3
    assert tab.locator("#overview tbody svg").count() == len(TITLES)


def test_zero_missing_and_not_finite_values_have_lanes(show):
    tab = show(made_report(made_run(changes={"gradients": {2: 0.0, 3: None, 4: "nan", 5: "inf"}})))
    heights = {
        kind: tab.locator(f"#plot-gradients .point.{kind}").first.bounding_box()["y"]
        for kind in ("zero", "missing", "nonfinite")
    }
    others = [
        point.bounding_box()["y"]
        for point in tab.locator("#plot-gradients .point:not(.zero, .missing, .nonfinite)").all()
    ]
    assert len(others) == 20
    assert heights["nonfinite"] < min(others) and max(others) < heights["zero"] < heights["missing"]
    assert "1 missing" in tab.locator("#plot-gradients figcaption").inner_text()
    assert "nan, gradients" in tab.locator("#verdict h2").inner_text()
    assert tab.locator("#plot-training text", has_text="equal").count() == 0


def test_empty_sections_and_runs_are_shown(show):
    run = made_run() | {"steps": None}
    run["sections"] = [made_section(name, [], 1e-9, []) for name in TITLES]
    tab = show(made_report(run))
    assert "no rows to compare" in tab.locator("#plot-evaluation").inner_text()
    assert tab.locator(".chart").count() == 0
    assert "Held" in show(made_report()).locator("#verdict").inner_text()
    assert "Held" in show(made_report(run | {"sections": []})).locator("#verdict").inner_text()


def test_pointing_at_a_layer_shows_a_tooltip(show):
    tab = show(made_report(made_run("highest")))
    chart = tab.locator("#plot-evaluation .chart")
    assert not tab.locator("#tip").is_visible()
    tab.locator("#plot-evaluation .point").nth(9).hover(force=True)
    text = tab.locator("#tip").inner_text()
    sizes = "2\u00d764\u00d78\u00d76"
    for word in (layer_names(24)[9], sizes, "10 of 24", "1.9e-7", "3.9e-7 (ours \u00d70.5)", "0.06"):
        assert word in text
    tab.mouse.move(1, 1)
    assert not tab.locator("#tip").is_visible()
    chart.focus()
    tab.keyboard.press("End")
    tab.keyboard.press("ArrowLeft")
    assert layer_names(24)[22] in tab.locator("#tip").inner_text()
    assert chart.get_attribute("aria-valuetext").startswith(layer_names(24)[22])
    tab.keyboard.press("Escape")
    assert not tab.locator("#tip").is_visible()


def test_a_click_finds_the_row_and_a_part_can_be_shown_alone(show):
    tab = show(made_report(made_run()))
    tab.locator("#plot-training .point").nth(12).click(force=True)
    assert tab.locator("#section").input_value() == "training"
    assert tab.locator("#rows .picked td.name").inner_text() == layer_names(24)[12]
    tab.locator("#part").select_option("stage3")
    assert tab.locator("#plot-training .point").count() == 10
    tab.locator("#plot-training button", has_text="at final_layer").click()
    assert tab.locator("#plot-training .point").count() == 24
    assert "final_layer" in tab.locator("#tip").inner_text()


def test_every_precision_has_a_tab(show):
    runs = [made_run(precision) for precision in PRECISIONS]
    runs[2] = made_run("default", changes={"gradients": {5: "inf"}})
    tab = show(made_report(*runs))
    assert tab.locator("#verdict h2").inner_text().endswith("inf, gradients, at default")
    assert "Held at float64, highest and bfloat16." in tab.locator("#verdict").inner_text()
    assert tab.locator("#overview tbody svg").count() == len(TITLES) * len(PRECISIONS)
    tabs = tab.get_by_role("tab")
    assert tabs.count() == 4 and tabs.nth(2).get_attribute("aria-selected") == "true"
    tabs.nth(0).click()
    assert tabs.nth(0).get_attribute("aria-selected") == "true"
    assert tab.locator("#plot-evaluation .noise_floor").count() == 0
    tab.keyboard.press("ArrowRight")
    assert tabs.nth(1).evaluate("tab => tab === document.activeElement")
    assert tab.locator("#plot-evaluation path.noise_floor").is_visible()
    tab.locator(".key", has_text="PyTorch").click()
    assert not tab.locator("#plot-evaluation path.noise_floor").is_visible()
    tab.locator("#overview button", has_text="bfloat16").first.click()
    assert tabs.nth(3).get_attribute("aria-selected") == "true"


def test_rows_are_filtered_and_sorted(show):
    tab = show(made_report(made_run(changes={"evaluation": {3: 0.5, 4: None, 5: "nan", 6: 0.0}})))
    assert names(tab) == layer_names(24)
    assert tab.locator("#rows tbody td.place").all_inner_texts() == [str(i + 1) for i in range(24)]
    tab.locator("#filter").fill("stage3 CONV2")
    assert names(tab) == [name for name in layer_names(24) if name.startswith("stage3") and name.endswith("conv2")]
    assert tab.locator("#count").inner_text() == "5 of 24"
    tab.locator("#filter").fill("")
    tab.locator("#rows th.deviation button").click()
    found = tab.locator("#rows tbody td.bar").all_inner_texts()
    assert found[:2] == ["nan", "0.5"] and found[-2:] == ["0", "missing"]
    tab.locator("#rows th.deviation button").click()
    found = tab.locator("#rows tbody td.bar").all_inner_texts()
    assert found[0] == "0" and found[-2:] == ["nan", "missing"]
    assert tab.locator("#rows th.deviation").get_attribute("aria-sort") == "ascending"
    tab.locator("#rows th.name button").click()
    assert names(tab) == sorted(layer_names(24))
    tab.locator("#above").check()
    assert names(tab) == sorted(layer_names(24)[i] for i in (3, 4, 5))
    tab.locator("#section").select_option("training")
    assert names(tab) == []


def test_the_report_can_be_downloaded(show):
    report = diverged()
    tab = show(report)
    with tab.expect_download() as waiting:
        tab.locator("#download").click()
    assert waiting.value.suggested_filename == "hrnet-w32-17-joints-256x192.json"
    assert json.loads(pathlib.Path(waiting.value.path()).read_text()) == report


def test_names_are_inserted_as_text(show):
    tab = show(hostile())
    assert tab.title().startswith("Not held: </script>")
    assert tab.locator("img").count() == 0 and tab.locator("script").count() == 2
    assert HOSTILE in tab.locator("#verdict h2").text_content()
    assert HOSTILE in tab.locator("#rows tbody td.name").nth(FAULT).text_content()


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_window_does_not_scroll_sideways(show, width):
    runs = [made_run(precision, changes={"evaluation": {FAULT: 9.0}}) for precision in PRECISIONS]
    tab = show(made_report(*runs), viewport={"width": width, "height": 800})
    assert overflow(tab) <= 0
    tab.locator("#plot-evaluation .chart").hover(position={"x": width / 2, "y": 60})
    box = tab.locator("#tip").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert overflow(tab) <= 0


def test_plots_follow_the_window(show):
    tab = show(made_report(made_run()))
    tab.set_viewport_size({"width": 500, "height": 800})
    tab.wait_for_function("document.querySelector('#plot-evaluation .chart svg').clientWidth < 500")
    assert overflow(tab) <= 0


def test_the_page_has_light_dark_and_print_colours(show):
    paper = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"
    light, dark = (show(diverged(), color_scheme=scheme) for scheme in ("light", "dark"))
    assert min(light.evaluate(paper)) > 240
    assert max(dark.evaluate(paper)) < 40
    assert min(dark.evaluate(paper.replace("backgroundColor", "color"))) > 200
    dark.emulate_media(media="print", color_scheme="dark")
    assert dark.evaluate(paper) == [255, 255, 255]
    assert not dark.locator("#rows").is_visible()


def test_a_large_report_is_drawn_sparingly(show):
    tab = show(made_report(*(made_run(precision, rows=900) for precision in PRECISIONS)))
    tab.get_by_role("tab").nth(3).click()
    assert tab.locator("#rows tbody tr").count() == 900
    assert tab.locator(".point").count() < 5 * 900 + 200
