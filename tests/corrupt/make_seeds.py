#!/usr/bin/env python3
"""Writes seeds/png/: one small PNG of each colour type, with texts. The seeds of
the other fuzzers are tests/golden/formats/small.*. Python's standard library only."""
import pathlib
import struct
import zlib

HERE = pathlib.Path(__file__).parent


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(color_type, channels, extra=b"", interlace=0):
    rows = b"".join(b"\0" + bytes(range(3 * channels)) for _ in range(3))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 3, 8, color_type, 0, 0, interlace)) +
            extra + chunk(b"tEXt", b"parameters\0a lamp") + chunk(b"iTXt", b"parameters\0\0\0\0\0\xe9\x89\x84") +
            chunk(b"zTXt", b"key\0\0" + zlib.compress(b"text")) + chunk(b"IDAT", zlib.compress(rows)) +
            chunk(b"IEND", b""))


folder = HERE / "seeds" / "png"
folder.mkdir(parents=True, exist_ok=True)
for name, seed in {"gray": png(0, 1), "rgb": png(2, 3), "palette": png(3, 1, chunk(b"PLTE", bytes(48))),
                   "gray_alpha": png(4, 2), "rgba": png(6, 4)}.items():
    (folder / f"{name}.png").write_bytes(seed)
