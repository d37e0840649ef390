import pathlib
import sys

import forking
import pytest

from hrnet_jax import models, rows

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.long
def test_the_readme_has_the_table_of_all_rows():
    """Run ``python -m hrnet_jax.rows --markdown`` to update it."""
    command = [sys.executable, "-m", "hrnet_jax.rows", "--markdown"]
    table = forking.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert table.count("\n") == 2 + sum(len(rows.load(name)) for name in rows.TABLES)
    assert table in (ROOT / "README.md").read_text()


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
