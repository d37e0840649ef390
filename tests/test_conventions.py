"""The house rules that a machine can check."""

import ast
import pathlib
import re

import mutants
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hrnet_jax"
UNITS = [
    *(
        "file_kinds",
        "validation",
        "fields",
        "console",
        "html_page",
        "buckets",
        "distributed",
        "devices",
        "sharding",
    ),
    "state_hash",
    *("skeleton_tables", "skeletons", "geometry", "augment", "datasets", "pipeline"),
    *("cpn_codec", "heatmap", "losses", "udp", "codecs", "views", "optimizer", "models"),
    *(
        "configuration",
        "training",
        "inference",
        "checkpoint_files",
        "checkpoint",
        "visualize",
        "evaluation",
        "bottom_up",
        "tracking",
        "tasks",
    ),
    *(
        "torch_interop",
        "run",
        "rows",
        "figures",
        "doctor",
        "prepare",
        "convert",
        "export",
        "predict",
        "posetrack",
        "track",
    ),
    *("compare", "benchmark"),
]
"""The modules and folders of the package; each imports only those before it."""

MODULES = sorted(PACKAGE.rglob("*.py"))
PROGRAMS = [*sorted((ROOT / "configs").glob("*.py")), *sorted((ROOT / "examples").glob("*.py"))]
SOURCES = [*MODULES, *PROGRAMS, ROOT / "train.py", ROOT / "eval.py"]


def imported_units(path: pathlib.Path) -> set[str]:
    """The modules and folders of the package that a file imports from."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "hrnet_jax":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hrnet_jax."):
            names.add((node.module or "").split(".")[1])
    return names


def test_all_units_are_listed():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert found - {"__init__", "__main__"} == set(UNITS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_import_only_from_units_before_their_own(path):
    unit = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    before = UNITS[: UNITS.index(unit) + 1] if unit in UNITS else UNITS if unit == "__init__" else []  # lazily
    assert imported_units(path) <= set(before)


def test_joints_are_not_counted_by_hand():
    for path in set(SOURCES) - {PACKAGE / "export" / "to_onnx" / "file.py"}:  # a version of ONNX is 17
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


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_has_its_tests(unit):
    assert (ROOT / "tests" / f"test_{unit}.py").is_file() or any((ROOT / "tests" / unit).glob("test_*.py"))


def test_user_facing_assertions_are_errors():
    for path in SOURCES:
        assert not [n.lineno for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Assert)], path


def test_requirements_have_lower_bounds_and_reasons():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1] not in "#"]
    assert len(lines) >= 9
    for line in lines:
        assert re.fullmatch(r"[\w-]+>=[\d.]+(,<\d+)?\s+# .{10,}", line), line


def test_faults_can_be_planted_and_name_tests():
    """Changes to the code would otherwise empty the list of `mutants.py` without a word."""
    faults = mutants.load()
    assert not [fault for fault in faults if (ROOT / fault.file).read_text().count(fault.old) != 1]
    assert not [test for fault in faults for test in fault.tests if not mutants.exists(test)]
