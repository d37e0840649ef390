"""What docs/reproducibility.md names is there: tests, options, files."""

import ast
import functools
import pathlib
import re

import pytest

from hrnet_jax import configuration, models, rows

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reproducibility.md"
TEXT = PAGE.read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| \d.*\|$", TEXT, re.M)]
TESTS = {
    int(number): re.findall(r"`([^`]+)`", names)
    for number, names in re.findall(r"^(\d+)\. ((?:`.*\n?\s*)+)", TEXT, re.M)
}


@functools.cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_rows_are_numbered_and_whole():
    assert [row[0] for row in ROWS] == [str(number) for number in range(1, len(ROWS) + 1)]
    assert len(ROWS) > 70
    for row in ROWS:
        assert len(row) == 5 and all(row), row
        assert re.match(r"(Same|Differs)\b", row[3]), row


def test_every_row_names_its_tests():
    assert list(TESTS) == [int(row[0]) for row in ROWS]
    assert all(TESTS.values())
    assert sum(map(len, TESTS.values())) == TEXT.count("::test_"), "a test is named outside of the lists"


@pytest.mark.parametrize("name", sorted({name for names in TESTS.values() for name in names}))
def test_a_test_that_is_named_exists(name):
    path, function = name.split("::")
    assert re.fullmatch(r"tests/(\w+/)?test_\w+\.py", path) and function.startswith("test_")
    assert function in functions(path)


def test_options_that_are_named_exist():
    options = set(re.findall(r"`config\.([\w.]+)`", TEXT))
    assert len(options) > 20
    for option in options:
        assert any(option in configuration.fields(network) for network in models.NETWORKS), option


def test_rows_that_are_referred_to_are_about_the_same():
    for number, words in {29: "int(x / 4", 42: "weight 0", 54: "quarter"}.items():
        assert words in ROWS[number - 1][1] and re.search(rf"\(?\b{number}\b\)?", TEXT)


def test_files_that_are_linked_exist():
    links = re.findall(r"\]\((?!https:)([^)#]+)\)", TEXT)
    assert links
    for link in links:
        assert (PAGE.parent / link).exists(), link


def test_the_readme_leads_here():
    assert "](docs/reproducibility.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_pages_are_finished_and_name_what_there_is(page):
    text = page.read_text()
    assert not re.search(r"^[A-Z]{4,}$|\bTODO\b", text, re.M)
    assert not re.findall(r"(?:coco|mpii)_(?:hrnet|resnet)\w+\.py", text)  # paths of version 0.1
    for table, row in re.findall(r"(\w+)\.py:(\w+)", text):
        assert row in rows.load(table) or (table, row) == ("coco", "hrnet_"), row
    assert f"](docs/{page.name})" in (ROOT / "README.md").read_text()


def test_the_code_in_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    small = code.replace("configuration.default()", "small()").replace("256, 192", "64, 64")

    def small_config():
        config = configuration.default()
        config.model.update(width=4, stem=4, units=(1, 0, 0), blocks=1)
        return config

    names: dict = {"small": small_config}
    lines = compile(small, "README.md", "exec")
    exec(lines, names)
    assert names["heatmaps"].shape == (1, 16, 16, 17) and names["saliency"].shape == (1, 64, 64, 3)
