"""TensorFlow's checkpoints: small ones written here byte by byte, and damaged ones."""

import random
import struct

import pytest
import torch
from torch import Tensor

from lessons_lib.published.tensorflow import read_variables


def varint(value: int) -> bytes:
    parts = []
    while True:
        value, low = value >> 7, value & 0x7F
        parts.append(low | (0x80 if value else 0))
        if not value:
            return bytes(parts)


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(8 * number) + varint(value)
    return varint(8 * number + 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Keys that share their beginnings, a whole one every 16, and where those stand."""
    content, restarts, before = b"", [], b""
    for k, (key, value) in enumerate(entries):
        shared = 0
        if k % 16 == 0:
            restarts.append(len(content))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value))
        content += key[shared:] + value
        before = key
    restarts = restarts or [0]
    return content + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def checkpoint(
    variables: dict[str, Tensor], per_block: int = 5, dtype: int = 1
) -> tuple[bytes, bytes]:
    """The two files that TensorFlow would write."""
    data, entries = b"", [(b"", field(1, 1) + field(3, field(1, 1)))]
    for name in sorted(variables):
        values = variables[name].numpy().astype("<f4").tobytes()
        shape = b"".join(field(2, field(1, n)) for n in variables[name].shape)
        entry = field(1, dtype) + field(2, shape) + field(4, len(data)) + field(5, len(values))
        entries.append((name.encode(), entry + varint(6 * 8 + 5) + b"\0\0\0\0"))
        data += values
    index, places = b"", []
    for start in range(0, len(entries), per_block):
        some = block(entries[start : start + per_block])
        key = entries[min(start + per_block, len(entries)) - 1][0]
        places.append((key, varint(len(index)) + varint(len(some))))
        index += some + b"\0" * 5

    def put(some: bytes) -> bytes:
        nonlocal index
        place = varint(len(index)) + varint(len(some))
        index += some + b"\0" * 5
        return place

    footer = put(block([])) + put(block(places))
    return index + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db"), data


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


VARIABLES = {
    f"model/layer_{k}/{part}": draw(*shape, seed=k)
    for k in range(40)
    for part, shape in (("kernel", (3, 3, 2, k + 1)), ("bias", (k + 1,)), ("scale", ()))
}


@pytest.mark.parametrize("per_block", [1, 5, 200])
def test_all_variables_are_read(per_block):
    found = read_variables(*checkpoint(VARIABLES, per_block))
    assert found.keys() == VARIABLES.keys()
    for name, tensor in VARIABLES.items():
        assert torch.equal(found[name], tensor), name


def test_what_is_no_checkpoint_of_float32_is_refused():
    index, data = checkpoint(VARIABLES)
    with pytest.raises(ValueError, match="no sorted string table"):
        read_variables(index[:-1], data)
    with pytest.raises(ValueError, match="no sorted string table"):
        read_variables(b"", data)
    with pytest.raises(ValueError, match="data end before"):
        read_variables(index, data[:-1])
    with pytest.raises(ValueError, match="not one piece of float32"):
        read_variables(*checkpoint(VARIABLES, dtype=3))


def test_damage_is_refused_or_changes_numbers_only():
    index, data = checkpoint({name: VARIABLES[name] for name in list(VARIABLES)[:9]})
    draws, refused = random.Random(0), 0
    for _ in range(2000):
        damaged = bytearray(index)
        for _ in range(draws.choice((1, 1, 4))):
            damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        if draws.random() < 0.2:
            del damaged[draws.randrange(len(damaged)) :]
        try:
            found = read_variables(bytes(damaged), data)
        except ValueError:
            refused += 1
        else:
            assert sum(tensor.numel() for tensor in found.values()) <= 100 * len(data)
    assert 500 < refused < 2000
