"""Who may import whom, how long things may be, and what must never stand in the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "passion_components"
FLOORS = (
    {"files", "modalities", "presence"},
    {"datasets"},
    {"backbones"},
    {"losses"},
    {"preference"},
    {"objectives"},
    {"data"},
    {"hub"},
    {"transforms"},
    {"engines", "handlers", "inferers", "metrics"},
    {"reports"},
    {"predict"},
    {"cli"},
    {"__main__"},
)
ROOMS_OF_DATA = ({"reading"}, {"layouts"}, {"lists"}, {"checks", "phantoms", "training"})
ROOM_FLOORS = {room: floor for floor, rooms in enumerate(ROOMS_OF_DATA, 1) for room in rooms}
"""Files that lie in no room of ``data/`` stand on floor 0."""

FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
UNAWARE_OF_RUNS = {"inferers", "metrics"}
RUNS = {"engines", "handlers"}
NEUTRAL = {"backbones", "losses", "objectives", "engines", "handlers", "inferers"}
DATASET_WORDS = ("brats", "myops", "lgg")
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))
OURS = MODULES + sorted((ROOT / "scripts").rglob("*.py")) + sorted((ROOT / "tests").rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(module: Path) -> str:
    """Top-level part that a module of the package belongs to; empty for the package's own ``__init__``."""
    inside = module.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return "" if inside == ("__init__",) else inside[0]


def imported_names(source: str, package: str) -> list[list[str]]:
    """What a module imports, as words between the dots; ``package`` is the dotted one that the module lies in."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    return [name.split(".") for name in names]


def imported_parts(source: str, package: str) -> set[str]:
    """Top-level parts of the package that a module imports."""
    names = imported_names(source, package)
    return {words[1] for words in names if words[0] == PACKAGE and len(words) > 1 and not words[1].startswith("__")}


def higher_rooms(source: str, package: str) -> set[str]:
    """Rooms of ``data/`` that a module of it imports although they stand on a higher floor than its own."""
    own = ROOM_FLOORS.get((package.split(".") + [""])[2], 0)
    rooms = {words[2] for words in imported_names(source, package) if words[:2] == [PACKAGE, "data"] and words[2:]}
    return {room for room in rooms if ROOM_FLOORS.get(room, 0) > own}


def breaches(part: str, imported: set[str]) -> set[str]:
    """What ``part`` imports although it stands on a higher floor, or although it must not know of runs."""
    higher = {other for other in imported if FLOOR_OF[other] > FLOOR_OF[part]}
    return higher | (imported & RUNS if part in UNAWARE_OF_RUNS else set())


def code_strings(source: str) -> Iterator[str]:
    """String literals of a module, docstrings and other bare strings left out."""
    tree = ast.parse(source)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.value


def executed_data(source: str) -> list[str]:
    """What could run code out of data: eval and exec, pickles, loaders that are not told to refuse them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"import {a.name}" for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found.append(f"import {node.module}")
        elif isinstance(node, ast.Call):
            function, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            if function in ("eval", "exec", "yaml.load", "yaml.unsafe_load"):
                found.append(function)
            if function == "torch.load" and keywords.get("weights_only") != "True":
                found.append("torch.load without weights_only=True")
            if keywords.get("allow_pickle", "False") != "False":
                found.append("allow_pickle")
    return found


def long_functions(source: str, limit: int) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno + 1 > limit]


class TestFloors:
    def test_the_guide_for_contributors_lists_them(self):
        lines = re.findall(r"^\d+\. (.*)$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
        assert [set(re.findall(r"`(\w+)`", line)) for line in lines] == list(FLOORS[:-1])

    def test_every_part_has_a_floor(self):
        assert {part_of(module) for module in MODULES} - {""} <= set(FLOOR_OF)

    @pytest.mark.parametrize("module", MODULES, ids=relative)
    def test_imports_come_from_the_same_floor_or_from_below(self, module):
        imported = imported_parts(module.read_text(), ".".join(module.relative_to(ROOT).parent.parts))
        part = part_of(module)
        assert not (breaches(part, imported) if part else imported)

    @pytest.mark.parametrize(
        ("part", "source", "expected"),
        [
            ("losses", "from passion_components.backbones.base import Features", set()),
            ("losses", "import passion_components.objectives.passion", {"objectives"}),
            ("losses", "from passion_components import preference, __version__", {"preference"}),
            ("losses", "def late():\n    from ..data import errors", {"data"}),
            ("losses", "from . import segmentation", set()),
            ("engines", "from passion_components.handlers import checkpoint", set()),
            ("metrics", "from passion_components.handlers import checkpoint", {"handlers"}),
            ("metrics", "from passion_components.inferers import subsets", set()),
        ],
    )
    def test_a_breach_is_found_however_it_is_written(self, part, source, expected):
        assert breaches(part, imported_parts(source, f"{PACKAGE}.{part}")) == expected


class TestRoomsOfData:
    def test_every_room_has_a_floor(self):
        folders = {path.parent.name for path in (ROOT / PACKAGE / "data").glob("*/*.py")}
        assert folders == set(ROOM_FLOORS)

    @pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) == "data"], ids=relative)
    def test_imports_come_from_the_same_floor_or_from_below(self, module):
        assert not higher_rooms(module.read_text(), ".".join(module.relative_to(ROOT).parent.parts))

    @pytest.mark.parametrize(
        ("room", "source", "expected"),
        [
            ("reading", "from passion_components.data.layouts import lgg", {"layouts"}),
            ("reading", "from passion_components.data.errors import CaseError", set()),
            ("layouts", "def late():\n    from ..lists.datalist import Datalist", {"lists"}),
            ("lists", "from passion_components.data import layouts", set()),
            ("checks", "import passion_components.data.training.cache", set()),
        ],
    )
    def test_a_room_above_is_found_however_it_is_written(self, room, source, expected):
        assert higher_rooms(source, f"{PACKAGE}.data.{room}") == expected

    def test_what_lies_in_no_room_imports_none(self):
        assert higher_rooms("from passion_components.data.reading import grid", f"{PACKAGE}.data") == {"reading"}


class TestSizes:
    @pytest.mark.parametrize("path", OURS, ids=relative)
    def test_files_have_at_most_400_lines_and_functions_60(self, path):
        source = path.read_text()
        assert len(source.splitlines()) <= 400
        assert not long_functions(source, limit=60)

    def test_the_length_of_a_function_counts_its_first_and_last_line(self):
        source = (
            "class A:\n    def two(self):\n        return 1\n\n    def three(self):\n        a = 1\n        return a\n"
        )
        assert long_functions(source, limit=2) == ["three"]


class TestNeutrality:
    @pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) in NEUTRAL], ids=relative)
    def test_no_data_set_is_named(self, module):
        named = [text for text in code_strings(module.read_text()) if any(w in text.lower() for w in DATASET_WORDS)]
        assert not named

    def test_docstrings_may_name_data_sets_and_code_may_not(self):
        source = '"""As in BraTS."""\nname = "brats2020"\nlabel = f"myops {name}"\n'
        assert list(code_strings(source)) == ["brats2020", "myops "]


class TestDataIsNeverExecuted:
    @pytest.mark.parametrize("module", MODULES, ids=relative)
    def test_nothing_in_the_package_runs_data(self, module):
        assert not executed_data(module.read_text())

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("eval(cell)", ["eval"]),
            ("network.eval()", []),
            ("import pickle as p", ["import pickle"]),
            ("from pickle import loads", ["import pickle"]),
            ("torch.load(path)", ["torch.load without weights_only=True"]),
            ("torch.load(path, weights_only=False)", ["torch.load without weights_only=True"]),
            ("torch.load(path, weights_only=True)", []),
            ("np.load(path, allow_pickle=True)", ["allow_pickle"]),
            ("np.load(path, allow_pickle=False)", []),
        ],
    )
    def test_what_would_run_data_is_found(self, source, expected):
        assert executed_data(source) == expected
