# SPDX-License-Identifier: GPL-2.0-only
"""Write what a statement returns as Parquet.

DuckDB writes it: pandas and pyarrow would be twenty times as large for this one thing, and whoever
wants Parquet is likely to want `query` too.
"""

from __future__ import annotations

import os
import shutil
from typing import BinaryIO

import duckdb

from page_alloc_bench import outputs

_LEVEL = 3  # of zstd, which is its own default


def write(
    connection: duckdb.DuckDBPyConnection, sql: str, stream: BinaryIO, *, level: int = _LEVEL
) -> None:
    """Write the rows that sql returns to stream. level: of compression, 1 to 22.

    Raises outputs.OutputError.
    """
    # DuckDB writes to a name only; this one leads to memory, and is gone however we end.
    memory = os.memfd_create("rows.parquet")
    with open(memory, "rb") as written:
        try:
            connection.execute(
                f"COPY ({sql}) TO '/proc/self/fd/{memory}' "
                f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {level}, USE_TMP_FILE false)"
            )
        except duckdb.IOException as error:
            raise outputs.OutputError(f"cannot make a Parquet file: {error}") from error
        shutil.copyfileobj(written, stream)
