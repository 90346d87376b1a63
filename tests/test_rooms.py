"""Imports go down from room to room, and never in a circle; late ones and those for annotations count, too."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "textlrp"

#: From low to high; a room imports those before it.
ROOMS = """errors basics rule_json rules results render text guard lrp explain data evaluate check report annotate
export serve commands cli""".split()

#: The one import that goes up: results show themselves.
LATE = ("textlrp.results.rendering", "textlrp.render.explanations")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "textlrp"


@cache
def imports() -> dict[str, set[str]]:
    """Return what each module of textlrp imports of textlrp."""
    paths = {name_of(path): path for path in PACKAGE.rglob("*.py")}
    found: dict[str, set[str]] = {module: set() for module in paths}
    for module, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} has a relative import"
                names = [full if (full := f"{node.module}.{name}") in paths else str(node.module) for name in names]
            found[module] |= {name for name in names if name in paths}
    return found


def test_imports_go_down() -> None:
    order = [*ROOMS, "textlrp"]
    arrows = {(module, other) for module, others in imports().items() for other in others}
    up = {(a, b) for a, b in arrows if order.index(room_of(a)) < order.index(room_of(b))}
    assert up == {LATE}


def test_no_module_imports_itself_by_way_of_others() -> None:
    late, other = LATE
    graph = {module: others - {other} if module == late else others for module, others in imports().items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_every_room_says_what_it_is_for() -> None:
    for room in (*ROOMS, "lrp/difference", "lrp/hidden", "evaluate/methods"):
        page = PACKAGE / room / "__init__.py"
        if page.exists():
            said = ast.get_docstring(ast.parse(page.read_text(encoding="utf-8"))) or ""
            assert "may import" in said, room
            assert "Start with" in said, room
