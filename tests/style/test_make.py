# SPDX-License-Identifier: GPL-2.0-only
"""Nothing starts make, or tar, with the environment that the user happens to have.

make takes every variable of it for one of its own, and tar takes TAR_OPTIONS for options.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "bundle/page_alloc_bench"
# What starts a program, of whatever module it is; what a file defines itself is looked at there.
STARTERS = ("Popen", "run", "call", "check_call", "check_output")


def first_word(node: ast.AST) -> str:
    """The program of a command: of a list of words, or of need("make", ...)."""
    words: list[ast.expr] = []
    if isinstance(node, ast.List | ast.Tuple):
        words = node.elts
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "need":
        words = node.args
    return str(words[0].value) if words and isinstance(words[0], ast.Constant) else ""


def calls(tree: ast.AST) -> list[ast.Call]:
    """The calls that start a program; a function of the file's own gets its environment inside."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in set(STARTERS) - own)
            or (isinstance(node.func, ast.Attribute) and node.func.attr in STARTERS
                and ast.unparse(node.func.value) in ("subprocess", "process"))
        )
    ]  # fmt: skip


def is_clean(call: ast.Call) -> bool:
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    return given.get("env") in ("environment()", "kbuild_environment.environment()")


def names(tree: ast.AST, program: str) -> bool:
    return any(first_word(node) == program for node in ast.walk(tree))


def unclean(text: str) -> list[int]:
    """The lines of a file that start something with all of the environment, and must not.

    A command of make may be put together anywhere in its file, one of tar in the same function.
    """
    file = ast.parse(text)
    suspects = calls(file) if names(file, "make") else []
    for node in ast.walk(file):
        if isinstance(node, ast.FunctionDef) and names(node, "tar"):
            within = calls(node)
            suspects += [call for call in within if names(call, "tar")] or within
    return sorted({call.lineno for call in suspects if not is_clean(call)})


FILES = {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")}
STARTING = {
    name: text
    for name, text in FILES.items()
    if names(ast.parse(text), "make") or names(ast.parse(text), "tar")
}


def test_what_starts_make_or_tar_is_found() -> None:
    assert set(STARTING) >= {
        "campaign/kernel_make.py", "packager/kbuild.py", "runner/bundle_file/target_build.py",
        "targets/source_kernel.py", "targets/host/install.py", "targets/host/shell.py",
    }  # fmt: skip
    for name, text in STARTING.items():
        assert calls(ast.parse(text)), f"{name}: how does it start what it names?"


@pytest.mark.parametrize("name", sorted(STARTING))
def test_what_starts_make_hands_on_no_more_of_the_environment_than_it_needs(name: str) -> None:
    lines = unclean(STARTING[name])
    assert not lines, f"{name}: give them env=kbuild_environment.environment(): lines {lines}"


@pytest.mark.parametrize(
    "text",
    [
        "subprocess.run(['make', 'x'])",
        "words = ('make', 'x')\ndef f():\n    run(words)",
        "words = [need('make', 'make'), 'x']\nprocess.run([*words], cwd=here)",
        "def f():\n    subprocess.Popen(['tar', 'x'], env=os.environ)",
        "subprocess.check_output(['make'], env={**os.environ})",
    ],
)
def test_one_that_forgets_would_be_found(text: str) -> None:
    assert unclean(text)
