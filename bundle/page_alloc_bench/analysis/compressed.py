# SPDX-License-Identifier: GPL-2.0-only
"""Take apart what gzip made, and say what is wrong with a file that it did not make whole."""

from __future__ import annotations

import zlib

GZIP = b"\x1f\x8b"
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
# How files of other compressors begin, what made them, and what unpacks them.
_OTHERS = (
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"),
    (b"\xfd7zXZ\x00", "xz", "xz -d"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"PK\x03\x04", "zip", "unzip"),
)


class CompressedError(ValueError):
    """Data that cannot be unpacked; the message is what is said after the file's name."""


def plain(data: bytes) -> bytes:
    """Return what was compressed by gzip, in one part or several; other data as it is.

    Raises CompressedError for a gzip file that is cut short, damaged or followed by something else,
    and for what another compressor made.
    """
    for magic, name, command in _OTHERS:
        if data.startswith(magic):
            raise CompressedError(
                f"is compressed by {name}; only gzip is read: unpack it, {command}"
            )
    if not data.startswith(GZIP):
        return data
    parts = []
    while data.startswith(GZIP):
        unpacker = zlib.decompressobj(_GZIP_FORMAT)
        try:
            parts.append(unpacker.decompress(data))
        except zlib.error as error:
            raise CompressedError(
                f"cannot be decompressed, it is damaged ({error}): copy it again"
            ) from error
        if not unpacker.eof:
            raise CompressedError("is cut short (gzip): copy it again, or wait until it is written")
        data = unpacker.unused_data
    if rest := data.strip(b"\0"):  # gzip itself takes zeros at the end for padding
        raise CompressedError(
            f"has {len(rest):,} bytes behind the end of its gzip data: something was written after"
            " it; copy it again"
        )
    return b"".join(parts)
