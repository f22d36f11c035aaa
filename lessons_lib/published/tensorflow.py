"""The variables of a TensorFlow checkpoint, read from its two files without TensorFlow.

The *index* is a sorted string table: blocks of keys and values, in which a key gives only what it
does not share with the key before; a block of blocks says where they are; a footer says where that
one is. Each value is a protocol buffer: numbered fields, each a number or a string of bytes. It
tells a variable's type, its shape, and where its numbers begin in the *data*, which is nothing but
numbers. Nothing in either file can be executed.

Format: ``tensorflow/core/protobuf/tensor_bundle.proto`` and LevelDB's ``doc/table_format.md``.
"""

from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from torch import Tensor

FOOTER = 48
MAGIC = bytes.fromhex("57fb808b247547db")
TRAILER = 5  # after a block: how it is compressed, and a checksum
FLOAT = 1  # in TensorFlow's list of types

# Kinds of fields of a protocol buffer.
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5


class _Reader:
    """Reads on through bytes.

    Raises:
        ValueError: at their end.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def __bool__(self) -> bool:
        return self.place < len(self.content)

    def take(self, count: int) -> bytes:
        """The next so many bytes."""
        taken = self.content[self.place : self.place + count]
        if len(taken) < count:
            raise ValueError("the index ends too soon")
        self.place += count
        return taken

    def number(self) -> int:
        """The next number: seven bits a byte, lowest first; the eighth is set if more follow."""
        value = shift = 0
        while shift < 64:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ValueError("a number in the index is too long")


def read_variables(index: bytes, data: bytes) -> dict[str, Tensor]:
    """The variables of a checkpoint by name.

    Args:
        index: content of the file ``….index``.
        data: content of the file ``….data-00000-of-00001``.

    Returns:
        float32 tensors with TensorFlow's axes: kernels are (height, width, inputs, outputs).

    Raises:
        ValueError: if the files are not a checkpoint, are damaged, or hold anything but float32
            tensors in one piece each.
    """
    footer = _Reader(index[-FOOTER:])
    if len(index) < FOOTER or index[-len(MAGIC) :] != MAGIC:
        raise ValueError("the index is no sorted string table")
    for _ in range(2):  # where a list of filters is, which checkpoints leave empty
        footer.number()
    blocks = _entries(_block(index, footer))
    return {
        name.decode(): _variable(_fields(value), data)
        for _, where in blocks
        for name, value in _entries(_block(index, _Reader(where)))
        if name  # the empty name stands for the checkpoint itself
    }


def _block(index: bytes, where: _Reader) -> bytes:
    """A block, from its place and its size."""
    start, size = where.number(), where.number()
    block = index[start : start + size]
    trailer = index[start + size : start + size + TRAILER]
    if len(block) < size or len(trailer) < TRAILER or size < 4:
        raise ValueError("a block of the index ends too soon")
    if trailer[0] != 0:
        raise ValueError("the index is compressed")
    return block


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; at its end stands where keys are whole, for who searches."""
    restarts = int.from_bytes(block[-4:], "little")
    reader = _Reader(block[: max(0, len(block) - 4 * (restarts + 1))])
    key = b""
    while reader:
        shared, own, size = reader.number(), reader.number(), reader.number()
        if shared > len(key):
            raise ValueError("a name in the index shares more than there is")
        key = key[:shared] + reader.take(own)
        yield key, reader.take(size)


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """The fields of a protocol buffer by number, in their order."""
    reader, found = _Reader(message), dict[int, list[int | bytes]]()
    while reader:
        number, kind = divmod(reader.number(), 8)
        value: int | bytes
        if kind == VARINT:
            value = reader.number()
        elif kind == BYTES:
            value = reader.take(reader.number())
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            value = reader.take(8 if kind == EIGHT_BYTES else 4)
        else:
            raise ValueError(f"a field in the index is of unknown kind {kind}")
        found.setdefault(number, []).append(value)
    return found


def _variable(entry: dict[int, list[int | bytes]], data: bytes) -> Tensor:
    """A variable: its type is field 1, shape 2, shard 3, place 4, size 5; slices are field 7."""

    def number(field: int) -> int:
        value = entry.get(field, [0])[-1]
        if not isinstance(value, int):
            raise ValueError(f"field {field} of a variable is no number")
        return value

    if number(1) != FLOAT or number(3) != 0 or 7 in entry:
        raise ValueError("a variable is not one piece of float32 in the one file of data")
    shape = []
    for described in entry.get(2, []):
        for dimension in _fields(_as_bytes(described)).get(2, []):
            size = _fields(_as_bytes(dimension)).get(1, [0])[-1]
            if not isinstance(size, int) or size > len(data):
                raise ValueError("a variable has an impossible shape")
            shape.append(size)
    start, size = number(4), number(5)
    if size != 4 * prod(shape) or start + size > len(data):
        raise ValueError("the data end before a variable does")
    values = np.frombuffer(data, "<f4", count=prod(shape), offset=start)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def _as_bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a shape in the index is no message")
    return value
