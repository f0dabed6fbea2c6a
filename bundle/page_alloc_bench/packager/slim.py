# SPDX-License-Identifier: GPL-2.0-only
"""Leave out of a Python source what only its readers need: comments, and docstrings of functions.

A bundle is copied to many hosts, and each start of it parses all of this. Lines keep their numbers,
so that a traceback points into the whole source, whose digest the manifest has.
"""

from __future__ import annotations

import ast
import io
import tokenize


def slim(source: str) -> str:
    """Return the source without comments and docstrings of functions.

    The comments that a file begins with, which say whose it is, stay.
    """
    lines = source.split("\n")
    begun = False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and begun:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
        begun = begun or token.type not in (tokenize.COMMENT, tokenize.NL)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            _leave_out_docstring(node, lines)
    return "\n".join(lines)


def _leave_out_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> None:
    first = node.body[0]
    end = first.end_lineno or first.lineno
    before, after = lines[first.lineno - 1][: first.col_offset], lines[end - 1]
    alone = not before.strip() and not after[first.end_col_offset or 0 :].strip()
    if ast.get_docstring(node, clean=False) is not None and alone:
        lines[first.lineno - 1] = before + "..."
        lines[first.lineno : end] = [""] * (end - first.lineno)
