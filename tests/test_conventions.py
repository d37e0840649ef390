"""The house rules that a machine can check."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hrnet_jax"
SPINE = [
    *("console", "skeletons", "geometry", "augment", "pipeline", "heatmap", "losses", "optimizer", "training"),
    "buckets",
    *("sharding", "memory", "checkpoint", "state_dict", "loading", "convert", "logbook", "inference", "visualize"),
    "runs",
    *("prepare", "compare", "benchmark", "doctor"),
]
FOLDERS = ("comparison", "datasets", "diagnosis", "evaluation", "models", "performance", "running")
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "configs").glob("*.py")), ROOT / "train.py", ROOT / "eval.py"]


def imported_names(path: pathlib.Path) -> set[str]:
    """The spine's modules (or folders) that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "hrnet_jax":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hrnet_jax."):
            names.add((node.module or "").split(".")[1])
    return names


def test_the_spine_is_complete():
    found = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert found == set(SPINE)
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == set(FOLDERS)


@pytest.mark.parametrize("name", SPINE)
def test_modules_import_only_what_stands_above_them(name):
    above = {*SPINE[: SPINE.index(name)], *FOLDERS}
    assert imported_names(PACKAGE / f"{name}.py") <= above


def test_joints_are_not_counted_by_hand():
    for path in SOURCES:
        numbers = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        assert not [node.lineno for node in numbers if node.value == 17 and type(node.value) is int], path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_has_no_eval_and_says_what_it_is_for(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    called = {
        node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"eval", "exec", "__import__"}


def test_every_module_has_its_tests():
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert set(SPINE) <= tested


def test_user_facing_assertions_are_errors():
    for path in SOURCES:
        assert not [n.lineno for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Assert)], path


def test_requirements_have_lower_bounds_and_reasons():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1] not in "#"]
    assert len(lines) >= 9
    for line in lines:
        assert re.fullmatch(r"[\w-]+>=[\d.]+(,<\d+)?\s+# .{10,}", line), line
