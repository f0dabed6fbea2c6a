# SPDX-License-Identifier: GPL-2.0-only
"""Who may import whom, and how long things may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"
TOP = BUNDLE.parent
PACKAGE = "page_alloc_bench"
RUNNER, RESULT = f"{PACKAGE}.runner", f"{PACKAGE}.runner.result"
MOST_LINES_OF_FILE, MOST_LINES_OF_FUNCTION = 400, 50


def name_of(path: Path) -> str:
    parts = path.relative_to(BUNDLE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in BUNDLE.rglob("*.py")}


def imports_of(name: str) -> set[str]:
    """The modules of ours that a module imports, wherever in it; also for its types only."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = base if node.level else []
            base += [node.module] if node.module else []
            found |= {".".join(base)} | {".".join([*base, alias.name]) for alias in node.names}
    # A package stands for its __init__.py, which matters to a circle only if something is in it.
    return {each for each in found if each in MODULES and each != name}


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def test_analysis_imports_of_the_runner_only_what_a_result_is() -> None:
    wrong = {
        f"{name} imports {other}"
        for name in MODULES
        if is_in(name, f"{PACKAGE}.analysis")
        for other in imports_of(name)
        if is_in(other, RUNNER) and other != RUNNER and not is_in(other, RESULT)
    }
    assert not wrong


def test_what_a_result_is_imports_no_other_room() -> None:
    ours = {name for name in MODULES if is_in(name, RESULT)}
    assert len(ours) > 5
    above = {PACKAGE, RUNNER}
    wrong = {
        f"{name} imports {other}" for name in ours for other in imports_of(name) - ours - above
    }
    assert not wrong


def test_the_runner_imports_nothing_that_stays_at_home() -> None:
    wrong = {
        f"{name} imports {other}"
        for name in MODULES
        if is_in(name, RUNNER)
        for other in imports_of(name)
        if not is_in(other, RUNNER) and other != PACKAGE
    }
    assert not wrong


def test_only_the_command_line_imports_what_reaches_many_hosts() -> None:
    rooms = (f"{PACKAGE}.fleet", f"{PACKAGE}.cli")
    assert any(is_in(name, rooms[0]) for name in MODULES)
    wrong = {
        f"{name} imports {other}"
        for name in MODULES
        if not any(is_in(name, room) for room in rooms)
        for other in imports_of(name)
        if is_in(other, rooms[0])
    }
    assert not wrong


def circles() -> Iterator[list[str]]:
    """Every circle that a walk along the imports comes to."""
    # Python imports the packages above a module too, but nothing of ours is done in most of them.
    edges = {
        name: sorted(o for o in imports_of(name) if not is_in(name, o)) for name in sorted(MODULES)
    }
    done: set[str] = set()

    def walk(name: str, above: list[str]) -> Iterator[list[str]]:
        if name in above:
            yield [*above[above.index(name) :], name]
            return
        if name in done:
            return
        for other in edges[name]:
            yield from walk(other, [*above, name])
        done.add(name)

    for name in edges:
        yield from walk(name, [])


def test_no_imports_go_in_a_circle() -> None:
    assert [" -> ".join(circle) for circle in circles()] == []


def sources() -> list[Path]:
    """Our own program text, in whatever language."""
    found = [*BUNDLE.rglob("*.py"), *(TOP / "kmod").rglob("*.[ch]")]
    found += [path for path in (TOP / "tests").rglob("*") if path.suffix in (".py", ".c", ".h")]
    found += [path for path in (TOP / "scripts").iterdir() if path.is_file()]
    return sorted(found)


@pytest.mark.parametrize("top", ["bundle", "kmod", "scripts", "tests"])
def test_no_file_is_long(top: str) -> None:
    long = {
        str(path.relative_to(TOP)): lines
        for path in sources()
        if path.is_relative_to(TOP / top)
        and (lines := len(path.read_text().splitlines())) > MOST_LINES_OF_FILE
    }
    assert not long


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a file and how many lines each has, without its docstring."""
    text = path.read_text()
    return functions_of_c(text) if path.suffix in (".c", ".h") else functions_of_python(text)


def functions_of_python(text: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno
            first = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno - 1
            assert first is not None
            yield node.name, node.end_lineno - first


def functions_of_c(text: str) -> Iterator[tuple[str, int]]:
    """Those of the kernel's style: both braces of the body, and nothing else, begin a line."""
    lines = text.splitlines()
    for start in (number for number, line in enumerate(lines) if line == "{"):
        head = "\n".join(lines[:start]).rpartition("\n\n")[2]
        names = re.findall(r"(\w+)\(", head)
        yield names[-1] if names else f"line {start}", lines.index("}", start) - start + 1


def test_thefunctions_of_c_are_found() -> None:
    text = "struct a {\n\tint b;\n};\n\nint one(void)\n{\n}\n\n"
    text += "int two(int a,\n\tint b)\n{\n\tif (a)\n\t{\n\t}\n}\n"
    assert list(functions_of_c(text)) == [("one", 2), ("two", 5)]


@pytest.mark.parametrize("top", ["bundle", "kmod", "tests"])
def test_no_function_is_long(top: str) -> None:
    measured = [
        (f"{path.relative_to(TOP)}: {name}", lines)
        for path in sources()
        if path.is_relative_to(TOP / top)
        for name, lines in functions(path)
    ]
    assert measured
    assert [each for each in measured if each[1] > MOST_LINES_OF_FUNCTION] == []
