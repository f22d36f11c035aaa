"""Files with damage: bytes flipped, cut, doubled, or exchanged for what headers fear most."""

import random
import struct

# Numbers at which sizes, offsets and counts go wrong.
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
LARGEST = 4_000_000


def mutate(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """One to four changes of a file's content.

    Args:
        content: of the file.
        other: of another one, to splice in.
        draw: decides; the same seed gives the same file.
    """
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if not data:
            break
        draw.choice((_flip, _flip, _number, _number, _cut, _remove, _double, _digits))(data, draw)
        if draw.random() < 0.05 and other:
            start = draw.randrange(len(data) + 1)
            data[start:] = other[draw.randrange(len(other)) :]
    return bytes(data[:LARGEST])


def _place(data: bytearray, draw: random.Random) -> int:
    """Anywhere, but more often where headers are."""
    return draw.randrange(min(len(data), draw.choice((64, 512, len(data)))))


def _flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 8, 64))):
        data[_place(data, draw)] ^= 1 << draw.randrange(8)


def _number(data: bytearray, draw: random.Random) -> None:
    start, value = _place(data, draw), draw.choice(EXTREMES)
    layout = draw.choice(("<I", ">I", "<H", ">H", "B"))
    packed = struct.pack(layout, value & (256 ** struct.calcsize(layout) - 1))
    data[start : start + len(packed)] = packed


def _cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def _remove(data: bytearray, draw: random.Random) -> None:
    start = _place(data, draw)
    del data[start : start + draw.choice((1, 2, 4, 100))]


def _double(data: bytearray, draw: random.Random) -> None:
    start = _place(data, draw)
    piece = data[start : start + draw.choice((1, 4, 64, 1000))]
    data[start:start] = piece * draw.choice((1, 2, 200))


def _digits(data: bytearray, draw: random.Random) -> None:
    """What texts are read from: digits, brackets and quotes change places."""
    start = _place(data, draw)
    words = (b"1e999", b"-1", b"NaN", b"[" * 3000, b"{", b'"', b"null", b"\xff\xfe", b"\n")
    data[start : start + draw.choice((0, 1, 4))] = draw.choice(words)
