# SPDX-License-Identifier: GPL-2.0-only
"""What travels of a file does the same; of a Python source, on the same lines."""

from __future__ import annotations

import ast
import ctypes
import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest

from page_alloc_bench.packager import libraries, zipapp
from page_alloc_bench.packager.slim import DOCUMENTED, slim, slim_library, slim_schema, stand_in
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
    names = {f"{name}_order4_gfp_user-comp" for name in metrics.every()}
    for schema in (whole, short):
        del schema["required"], schema["properties"]["run"]
        validator = jsonschema.Draft202012Validator({**schema, "additionalProperties": False})
        assert validator.is_valid({name: [0, 7] for name in names})
        for wrong in ([-1], 7):
            errors = validator.iter_errors(dict.fromkeys(names, wrong))
            assert {error.path[0] for error in errors} == names
        unknown = [*(f"no_{name}" for name in names), *(f"{name}_" for name in names)]
        (error,) = validator.iter_errors({name: [7] for name in unknown})
        assert error.validator == "additionalProperties"
        assert set(re.findall(r"'(\w[\w-]*)'", error.message)) == set(unknown)
    assert len(json.dumps(short)) < len(json.dumps(whole)) / 2


def test_a_shared_object_without_what_no_loader_reads_is_small_and_does_the_same(
    tmp_path: Path,
) -> None:
    source, whole, short = (tmp_path / name for name in ("a.c", "whole.so", "short.so"))
    source.write_text(
        "int table[1000] = {[999] = -7}, abs(int);\nint seven(void) { return abs(table[999]); }\n"
    )
    gcc = shutil.which("gcc") or ""
    subprocess.run(
        [gcc, "-g3", "-fno-builtin", "-shared", "-fPIC", "-o", whole, source], check=True
    )
    short.write_bytes(slim_library(whole.read_bytes()))
    assert ctypes.CDLL(str(short)).seven() == ctypes.CDLL(str(whole)).seven() == 7
    assert short.stat().st_size < whole.stat().st_size
    assert b"a.c" in whole.read_bytes()
    assert b"a.c" not in short.read_bytes()
    assert libraries.read(short).needed == libraries.read(whole).needed == ("libc.so.6",)
