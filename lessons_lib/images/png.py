"""PNG files chunk by chunk: what they say of themselves, and how 16 bits are written."""

import struct
import zlib
from pathlib import Path

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# IHDR with its length and checksum comes first; what is inserted stands right after it.
_HEAD = len(_SIGNATURE) + 25

# What the colours mean, and what was written about the picture. All of it holds after restoration.
_COLOURS = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
# XMP and the profiles that ImageMagick keeps as text are read as what they are.
_NOT_TEXT = (b"XML:com.adobe.xmp\0", b"Raw profile type ")
_LONGEST = 2**20

Chunks = tuple[tuple[bytes, bytes], ...]


def kept_chunks(path: Path) -> Chunks:
    """Name and content of the chunks that a restored picture keeps as they are."""
    kept = []
    seen = set()
    with path.open("rb") as file:
        file.seek(len(_SIGNATURE))
        while len(head := file.read(8)) == 8:
            length, name = int.from_bytes(head[:4], "big"), head[4:]
            body = b""
            if name in _TEXTS and length <= _LONGEST:
                body = file.read(length)
                wanted = not body.startswith(_NOT_TEXT)
            elif name in _COLOURS and length <= _LONGEST and name not in seen:
                body = file.read(length)
                wanted = True
            elif name == b"pHYs" and length == 9:
                body = file.read(length)
                # The shape of a pixel without its size; a size is the photograph's dpi.
                wanted = body[8] == 0
            else:
                wanted = False
            if wanted:
                kept.append((name, body))
                seen.add(name)
            file.seek(length - len(body) + 4, 1)
    return tuple(kept)


def with_chunks(data: bytes, chunks: Chunks) -> bytes:
    """A PNG file with more chunks before its pixels."""
    parts = [data[:_HEAD]]
    for name, body in chunks:
        parts.append(_chunk(name, body))
    return b"".join([*parts, data[_HEAD:]])


def profile_chunk(profile: bytes) -> tuple[bytes, bytes]:
    """A colour profile as a chunk."""
    return b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)


def xmp_chunk(packet: bytes) -> tuple[bytes, bytes]:
    """An XMP packet as a chunk."""
    return b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet


def resolution_chunk(dpi: tuple[float, float]) -> tuple[bytes, bytes]:
    """Dots per inch as a chunk, in dots per metre."""
    across, down = (round(value / 0.0254) for value in dpi)
    return b"pHYs", struct.pack(">IIB", across, down, 1)


def encoded16(samples: np.ndarray) -> bytes:
    """Encode (H, W, 1-4) uint16 as a PNG file, which Pillow cannot."""
    height, width, count = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    # Filter 1: each byte minus the same byte of the pixel to its left, modulo 256.
    filtered = np.ones((height, rows.shape[1] + 1), dtype=np.uint8)
    filtered[:, 1:] = rows
    filtered[:, 1 + 2 * count :] -= rows[:, : -2 * count]
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(filtered.data, 6)), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(name, body) for name, body in chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)
