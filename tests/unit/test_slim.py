# SPDX-License-Identifier: GPL-2.0-only
"""What travels of a file does the same; of a Python source, on the same lines."""

from __future__ import annotations

import ast
import json

import jsonschema
import pytest

from page_alloc_bench.packager import zipapp
from page_alloc_bench.packager.slim import DOCUMENTED, slim, slim_schema, stand_in
from page_alloc_bench.runner.result import document, metrics

SOURCES = {n: d.decode() for n, d in zipapp.runner_sources().items() if n.endswith(".py")}


def without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = isinstance(node, DOCUMENTED)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.parse(stand_in(node)).body[0]
    return ast.dump(tree)


@pytest.mark.parametrize("name", SOURCES)
def test_the_program_and_its_lines_are_the_same(name: str) -> None:
    whole, travels = SOURCES[name], slim(SOURCES[name])
    assert without_docstrings(travels) == without_docstrings(whole)
    assert whole.count("\n") == travels.count("\n")
    lines = [[node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
             for text in (whole, travels)]  # fmt: skip
    assert lines[0] == lines[1]


def test_what_is_left_out_and_what_stays() -> None:
    source = (
        "# Whose it is\n# and by which licence\n\n"
        '"""The module."""\nNAME = "# no comment"  # a comment\n\n\n'
        'class Kept:\n    """The class."""\n\n    def one(self):\n        """One line."""\n\n'
        '    def two(self):  # here\n        """Two\n        lines."""\n        return """# 3"""\n'
    )
    expected = (
        "# Whose it is\n# and by which licence\n\n"
        '""\nNAME = "# no comment"\n\n\n'
        "class Kept:\n    ...\n\n    def one(self):\n        ...\n\n"
        '    def two(self):\n        ...\n\n        return """# 3"""\n'
    )
    assert slim(source) == expected


def test_the_schema_that_travels_takes_the_same_results() -> None:
    whole = document.schema()
    short = json.loads(slim_schema(json.dumps(whole)))
    for schema in (whole, short):
        del schema["required"], schema["properties"]["run"]
        check = jsonschema.Draft202012Validator({**schema, "additionalProperties": False}).is_valid
        names = [f"{name}_order4_gfp_user-comp" for name in metrics.every()]
        assert check({name: [0, 7] for name in names})
        for name in names:
            assert not check({name: [-1]})
            assert not check({name: 7})
            assert not check({f"no_{name}": [7]})
            assert not check({f"{name}_": [7]})
    assert len(json.dumps(short)) < len(json.dumps(whole)) / 2
