# SPDX-License-Identifier: GPL-2.0-only
"""Leave out of a file what only its readers need: of a Python source comments and docstrings; of
the JSON Schema descriptions, and what each metric is; of a shared object what no loader reads.

A bundle is copied to many hosts, and each start of it parses all of this. Lines keep their numbers,
so that a traceback points into the whole source, whose digest the manifest has.
"""

from __future__ import annotations

import ast
import functools
import io
import json
import tokenize
from typing import Any

from elftools.elf.elffile import ELFFile

from page_alloc_bench.runner.result.case import SUFFIX

DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)


@functools.cache
def slim(source: str) -> str:
    """Return the source without comments and docstrings; each bundle of many has the same.

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
        if isinstance(node, DOCUMENTED):
            _leave_out_docstring(node, lines)
    return "\n".join(lines)


def slim_schema(text: str) -> str:
    """Return a schema that takes the same results: one pattern with the names of all metrics."""
    whole = json.loads(text)
    metrics = whole["patternProperties"]
    names = "|".join(pattern[1 : -len(f"{SUFFIX}$")] for pattern in metrics)
    types = {json.dumps({k: each[k] for k in ("type", "items")}) for each in metrics.values()}
    whole["patternProperties"] = {f"^({names}){SUFFIX}$": json.loads(one) for one in types}
    return json.dumps(_without_descriptions(whole), separators=(",", ":"))


def slim_library(data: bytes) -> bytes:
    """Return a shared object up to the end of its segments: no debug information, no sections.

    The loader goes by the segments (elf(5)). Not by strip, which knows the machines that it was
    built for, and whose output depends on its version.
    """
    elf = ELFFile(io.BytesIO(data))
    end = max(each["p_offset"] + each["p_filesz"] for each in elf.iter_segments())
    header = elf.header
    header.e_shoff = header.e_shnum = header.e_shstrndx = 0
    built: bytes = elf.structs.Elf_Ehdr.build(header)
    return built + data[len(built) : end]


def _without_descriptions(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_descriptions(each) for each in part]
    if not isinstance(part, dict):
        return part
    text = isinstance(part.get("description"), str)
    return {
        key: _without_descriptions(each)
        for key, each in part.items()
        if not (text and key == "description")
    }


def stand_in(node: ast.AST) -> str:
    """Return what stands where a docstring was: before __future__ nothing but one may."""
    return '""' if isinstance(node, ast.Module) else "..."


def _leave_out_docstring(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module, lines: list[str]
) -> None:
    if ast.get_docstring(node, clean=False) is None:
        return
    first = node.body[0]
    end = first.end_lineno or first.lineno
    before, after = lines[first.lineno - 1][: first.col_offset], lines[end - 1]
    alone = not before.strip() and not after[first.end_col_offset or 0 :].strip()
    if alone:
        lines[first.lineno - 1] = before + stand_in(node)
        lines[first.lineno : end] = [""] * (end - first.lineno)
