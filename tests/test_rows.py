import pathlib
import sys

import forking
import numpy as np
import pytest

from hrnet_jax import devices, models, rows

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.long
def test_the_readme_has_the_table_of_all_rows():
    """Run ``python -m hrnet_jax.rows --markdown`` to update it."""
    command = [sys.executable, "-m", "hrnet_jax.rows", "--markdown"]
    table = forking.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert table.count("\n") == 2 + sum(len(rows.load(name)) for name in rows.TABLES)
    assert table in (ROOT / "README.md").read_text()


def test_a_step_is_estimated_from_counts():
    """By hand: 28.5 M weights, 7.645 G multiply-adds and 19.12 M outputs a person, 128 people."""
    found = rows.count(rows.load("coco")["hrnet_w32_256x192"].config())
    memory, seconds = found.step(128, devices.CHIPS["TPU v5e"])
    np.testing.assert_allclose(memory, 16 * 28.536e6 + 4 * 128 * 19.12e6, rtol=1e-3)
    np.testing.assert_allclose(seconds, 128 / 980, rtol=0.01)


def test_codecs_and_losses_are_told_apart():
    coco = rows.load("coco")
    names = {
        "hrnet_w32_256x192": "HRNet-W32",
        "hrnet_w32_256x192_udp": "HRNet-W32, udp",
        "cpn_resnet50_256x192": "CPN ResNet-50",
        "cpn_ohkm_resnet50_256x192": "CPN ResNet-50, ohkm",
    }
    assert {name: rows.title(coco[name].config()) for name in names} == names


@pytest.mark.parametrize("table", rows.TABLES)
def test_rows_differ_and_name_their_source(table):
    loaded = rows.load(table)
    assert len({row.config().to_json() for row in loaded.values()}) == len(loaded)
    assert all(row.source for row in loaded.values())


def test_an_unknown_row_is_refused_by_name():
    with pytest.raises(ValueError, match=r"no row 'hrnet_w64': choose one of hrnet_w32_256x192_scratch, "):
        rows.select(rows.load("coco"), "hrnet_w64")


def test_published_figures_belong_to_their_rows():
    coco, mpii = rows.load("coco"), rows.load("mpii")
    assert rows.load("ablations")["across_stages_w32_256x192"].published == {"AP": 0.719}
    assert (
        coco["hrnet_w32_256x192"].published["AP"] == 0.744 and coco["hrnet_w48_384x288"].published["AP"] == 0.763
    )
    assert coco["resnet152_384x288"].published["AR"] == 0.797
    assert mpii["resnet152_384x384"].published == {"PCKh@0.5": 90.2, "Mean@0.1": 39.4}
    assert models.title(coco["resnet101_256x192"].config().model) == "SimpleBaseline ResNet-101"
