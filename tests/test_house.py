"""The order of the house: notebooks in reading order, private names inside their modules, no room too
large, names that changed.
"""

import ast
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import genomed_workbench as gw

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, LIBRARY = ROOT / "genomed_workbench", ROOT / "nbs" / "library"
NOTEBOOKS = sorted(LIBRARY.glob("*/*.ipynb"))
ROOMS = sorted({path.parent.name for path in NOTEBOOKS})
NAMESAKES = {  # module -> names of an earlier version that it must not define again
    "analytics.asking": "Books Asking jointly told_apart divided agreed",
    "analytics.counts": "Told tell",
    "analytics.harmony": "Variant",
    "analytics.proportional_hazards": "once",
    "analytics.site_validation": "Exam withheld given",
    "analytics.survival_curves": "Inquiry fate_of",
    "cli.app": "spoken",
    "cli.check": "checked",
    "cli.experiment": "carried_out",
    "cli.job": "work heard plain",
    "cli.map": "proposed",
    "cli.scores": "scored",
    "evaluation.arms": "told",
    "evaluation.compare": "drawn_anew on_common_ground",
    "experiments.results": "held",
    "experiments.run": "tried",
    "federation.app": "spoken agreed Answered",
    "intake.suggest": "Looks",
    "learners.boosting": "held_in",
    "learners.ensemble": "Chosen",
    "learners.newton": "Search",
    "readiness.result": "told",
    "statistics.cox": "lived_hazard",
    "statistics.net_benefit": "alarms",
    "statistics.recalibration": "climb",
    "statistics.stability": "beyond_chance apart",
    "teaching.guide": "told",
    "virtual.design": "planted",
    "virtual.exports": "Habit",
    "virtual.population": "blank",
    "workbench.panel": "overheard",
}


def module_of(path: Path) -> str:
    "The module that a notebook of the library makes, by its place and name."
    return f"{path.parent.name}.{path.stem.partition('_')[2]}"


MODULES = {module_of(path): path for path in NOTEBOOKS}


def code_of(path: Path) -> list[str]:
    "The code cells of a notebook, or a Python file as one."
    if path.suffix == ".py":
        return [path.read_text(encoding="utf-8")]
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@cache
def files() -> list[Path]:
    "All notebooks, the tests and the scripts of the site."
    places = ((ROOT / "nbs", "*.ipynb"), (ROOT / "tests", "*.py"), (ROOT / "docs", "*.py"))
    found = [path for folder, kind in places for path in sorted(folder.rglob(kind))]
    return [p for p in found if not {".ipynb_checkpoints", "_build", "_staged"} & set(p.parts)]


@cache
def imported(path: Path) -> list[tuple[str, str]]:
    "Module below the package and name of everything of ours that a file takes from it."
    return list(
        _imported([node for source in code_of(path) for node in ast.walk(ast.parse(source))])
    )


def _imported(nodes: list[ast.AST]) -> Iterator[tuple[str, str]]:
    "The imports, then the attributes of modules that were imported."
    modules = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genomed_workbench"):
            place = node.module.removeprefix("genomed_workbench").removeprefix(".")
            for name in node.names:
                yield place, name.name
                modules[name.asname or name.name] = f"{place}.{name.name}"
    for node in nodes:
        of_name = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if of_name and (place := modules.get(node.value.id)) in MODULES:
            yield place, node.attr


def definitions(module: str) -> Iterator[str]:
    "What a module defines at its top level, each time that it does."
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        names = (n for t in targets if t is not None for n in ast.walk(t))
        yield from (n.id for n in names if isinstance(n, ast.Name))


def defined(module: str) -> set[str]:
    "What a module defines at its top level."
    return set(definitions(module)) - {"__all__"}


@pytest.mark.parametrize("room", ROOMS)
def test_notebooks_are_numbered_in_reading_order(room):
    numbers = [path.name.partition("_")[0] for path in NOTEBOOKS if path.parent.name == room]
    assert numbers == [f"{k:02d}" for k in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("module", MODULES)
def test_a_notebook_is_named_as_its_module(module):
    assert f"#| default_exp {module}" in code_of(MODULES[module])


@pytest.mark.parametrize("module", MODULES)
def test_no_notebook_imports_a_later_one(module):
    "Not of its own room, and not of a room above."
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("layers = [")[2]
    floors = re.findall(r'"([^"]+)"', contract.partition("]")[0])[::-1]
    floor = {room: k for k, rooms in enumerate(floors) for room in re.findall(r"\w+", rooms)}
    here = MODULES[module]
    taken = {place for place, _ in imported(here)} & set(MODULES) - {module}
    later = [
        other
        for other in sorted(taken)
        if floor[MODULES[other].parent.name] > floor[here.parent.name]
        or (MODULES[other].parent == here.parent and MODULES[other].name > here.name)
    ]
    assert later == []


def test_no_private_name_crosses_a_module():
    crossing = {
        (str(path.relative_to(ROOT)), place, name)
        for path in files()
        for place, name in imported(path)
        if name.startswith("_") and not name.startswith("__")
    }
    assert crossing == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_gives_a_name_once(module):
    "The second of two constants of one name would change what the first one's function does, in silence."
    assert [name for name, times in Counter(definitions(module)).items() if times > 1] == []


def test_public_names_are_used_elsewhere():
    "A definition that no other module, notebook or test uses is private: at most one in ten is not."
    used = defaultdict(set)
    for path in files():
        for place, name in imported(path):
            used[place, name].add(path)
    alone, public = Counter(), 0
    for module, path in MODULES.items():
        for name in defined(module):
            if not name.startswith("_"):
                public += 1
                if name not in gw.__all__ and not used[module, name] - {path}:
                    alone[module] += 1
    assert alone.total() <= public / 10, alone.most_common(5)


@pytest.mark.parametrize("module", NAMESAKES)
def test_no_module_defines_a_name_that_was_replaced(module):
    assert defined(module) & set(NAMESAKES[module].split()) == set()


def test_no_room_holds_more_than_fifteen_percent_of_the_lines():
    lines = {
        room: sum(len(p.read_text().splitlines()) for p in (PACKAGE / room).glob("*.py"))
        for room in ROOMS
    }
    assert max(lines.values()) <= 0.15 * sum(lines.values()), lines


def test_an_old_public_name_warns_and_gives_the_new_one():
    with pytest.warns(FutureWarning, match=r"gw.Chosen is now called gw.BestOf"):
        assert gw.Chosen is gw.BestOf
    with pytest.raises(AttributeError, match="NeverThere"):
        gw.NeverThere  # noqa: B018


def test_a_model_saved_under_its_old_name_can_be_read():
    "A run of version 0.1 holds the path of its class."
    from genomed_workbench.learners.packing import pack, unpack

    saved = pack(gw.BestOf([gw.CoxPH(penalty=0.5)]))
    saved["estimator"] = "genomed_workbench.learners.ensemble:Chosen"
    assert isinstance(unpack(saved), gw.BestOf) and unpack(saved).learners[0].penalty == 0.5
