"""Figures 5 and 6: published points, points of runs, and the files."""

import json
import xml.etree.ElementTree as ET

import pytest
from ml_collections import ConfigDict

from hrnet_jax import configuration, console, figures, rows
from hrnet_jax.evaluation import charts

SVG = "{http://www.w3.org/2000/svg}"


def run(folder, config: ConfigDict, metrics: dict[str, float]):
    """Writes what a run directory has of an evaluated run."""
    (folder / "eval").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "eval" / "metrics.json").write_text(json.dumps(metrics))
    return folder


def tiny(name: str = "hrnet", **fields) -> ConfigDict:
    config = configuration.default(name)
    config.image_size = (64, 64)
    config.model.update(fields)
    return config


def points(found) -> set[tuple]:
    return {(point.series, point.source, round(point.x, 3), round(point.score, 4)) for point in found}


def test_published_points_are_those_that_the_paper_states():
    published = figures.published()
    found = points(figures.by_resolution(published))
    scores = {"HRNet-W32": (0.744, 0.689, 0.55), "HRNet-W48": (0.751, 0.696, 0.554)}
    assert found == {
        (name, "published", x, ap) for name, each in scores.items() for x, ap in zip((1, 2, 4), each, strict=True)
    }
    heights, operations = map(points, figures.by_size(published))
    ours, theirs = ("HRNet-W32", "published"), ("SimpleBaseline ResNet-50", "published")
    assert heights == {(*ours, 256, 0.744), (*ours, 384, 0.758), (*theirs, 256, 0.704), (*theirs, 384, 0.722)}
    four_times = (f"{theirs[0]}, deconvolutions counted four times", "published")
    assert operations == {
        *((*ours, 7.12, 0.744), (*ours, 16.02, 0.758), (*theirs, 5.054, 0.704), (*theirs, 11.371, 0.722)),
        *((*four_times, 8.991, 0.704), (*four_times, 20.23, 0.722)),
    }


def test_heads_of_runs_are_points_together_and_apart(tmp_path):
    together = {"val2017/detector_boxes/AP": 0.5, "val2017/detector_boxes_4x/AP": 0.2, "val2017/gt_boxes/AP": 0.6}
    runs = [
        run(tmp_path / "a", tiny("hrnet_resolutions", heads=(0, 2)), together),
        run(tmp_path / "b", tiny("hrnet_resolutions", heads=(3,)), {"val2017/gt_boxes/AP": 0.1}),
        run(tmp_path / "c", tiny("hrnet_resolutions", heads=(3,)), {"val2017/gt_boxes/AP": 0.3}),
    ]
    found = figures.average(figures.by_resolution(map(figures.read, runs)))
    name = "HRNet-W32, 64x64, heads"
    assert points(found) == {
        (f"{name} together", "runs, detector boxes, from scratch", 1, 0.5),
        (f"{name} together", "runs, detector boxes, from scratch", 4, 0.2),
        (f"{name} apart", "runs, gt boxes, from scratch", 8, 0.2),  # the mean of two runs
    }


def test_only_runs_of_the_same_codec_loss_start_and_split_are_averaged(tmp_path):
    changes = [{}, {}, {"codec": "udp"}, {"loss": "ohkm"}, {"init_from": "x.pth"}, {"data.val_split": "test"}]
    runs = []
    for number, fields in enumerate(changes):
        config = tiny(width=4, stem=4)
        config.update_from_flattened_dict(fields)
        score = {f"{config.data.val_split}/gt_boxes/AP": number / 10}
        runs.append(run(tmp_path / str(number), config, score))
    heights, _ = map(figures.average, figures.by_size(map(figures.read, runs)))
    boxes, scratch = "runs, gt boxes", "runs, gt boxes, from scratch"
    assert points(heights) == {
        ("HRNet-W4", scratch, 64, 0.05),
        ("HRNet-W4, udp", scratch, 64, 0.2),
        ("HRNet-W4, ohkm", scratch, 64, 0.3),
        ("HRNet-W4", boxes, 64, 0.4),
        ("HRNet-W4", f"{scratch}, test", 64, 0.5),
    }


def test_a_run_of_other_joints_is_refused(tmp_path):
    config = tiny()
    config.skeleton = "crowdpose"
    with pytest.raises(ValueError, match=r"is of skeleton 'crowdpose': the figures are of AP of COCO's joints"):
        figures.read(run(tmp_path / "crowdpose", config, {"val2017/gt_boxes/AP": 0.7}))


def test_a_run_without_ap_is_refused(tmp_path):
    pckh = run(tmp_path / "mpii", tiny(), {"val2017/gt_boxes/PCKh@0.5/Mean": 80.0})
    with pytest.raises(ValueError, match=r"mpii has no AP on 'val2017'"):
        figures.read(pckh)
    (pckh / "eval/metrics.json").unlink()
    with pytest.raises(ValueError, match=r"`RUN` \(=.*mpii\): it has no metrics.json; evaluate that run"):
        figures.read(pckh)


def test_the_command_draws_all_points(tmp_path, capsys):
    of_run = run(tmp_path / "run", tiny(width=4, stem=4), {"val2017/gt_boxes/AP": 0.321})
    with pytest.raises(SystemExit) as ended:
        console.run(lambda: figures.main([str(of_run), "--out", str(tmp_path / "out")]))
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.count("0.321") == 2 and str(tmp_path / "out" / "figure6.svg") in printed
    for name, count in (("figure5", 6), ("figure6", 2 * 4 + 2 + 2)):
        root = ET.fromstring((tmp_path / "out" / f"{name}.svg").read_text())
        dots = [dot for dot in root.iter(f"{SVG}circle")]
        assert len(dots) == count and all("AP 0." in "".join(dot.itertext()) for dot in dots)
    assert "HRNet-W4 (runs, gt boxes, from scratch)" in "".join(root.itertext())


def test_a_figure_is_as_wide_as_its_legend():
    def width(label: str) -> int:
        line = charts.Line(label, [1.0], [0.5], "color0")
        return int(ET.fromstring(charts.standalone(["<svg />"], [line])).attrib["viewBox"].split()[2])

    assert width("HRNet-W32 (published)") == charts.WIDTH
    assert width(100 * "x") > 100 * charts.CHARACTER


@pytest.mark.parametrize(("values", "expected"), [([0.55, 0.75], [0.55, 0.6, 0.65, 0.7, 0.75]), ([3, 3], None)])
def test_ticks_are_round_and_include_all_values(values, expected):
    found = charts.ticks(values)
    assert found[0] <= min(values) and max(values) <= found[-1] and 2 <= len(found) <= 9
    assert expected is None or found == expected


def test_rows_of_the_figures_are_there():
    assert {f"{name}_{size}" for name in ("hrnet_w32", "resnet50") for size in ("128x96", "320x224")} <= rows.load(
        "ablations"
    ).keys()
