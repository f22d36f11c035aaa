"""Large tensors are made of memory that earlier ones have left."""

import json
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lessons_lib import memory
from lessons_lib.memory import keep_memory

# New pages that training steps need, before and after. A layer's output has 65 MiB.
COUNT = """
import json, resource
import torch
from torch import nn
from lessons_lib.memory import keep_memory

network = nn.Sequential(nn.Conv2d(1, 64, 3), nn.ReLU(), nn.Conv2d(64, 1, 3))
image = torch.rand(1, 1, 514, 514)

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(image).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = [new_pages() for _ in range(3)]
print(json.dumps([before, keep_memory(), [new_pages() for _ in range(16)]]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems allocate otherwise")
def test_what_a_tensor_leaves_is_taken_by_the_next():
    printed = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=True
    ).stdout
    before, kept, after = json.loads(printed)
    assert kept
    # Of 4 KiB each, or of 2 MiB.
    assert min(before) >= 65
    # The first ones make room; how threads share the heap may ask for a tensor more, now and then.
    assert sum(after[8:]) / 8 < min(before) / 10


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_memory()


def test_older_systems_are_asked_for_what_they_take(monkeypatch):
    """glibc before 2.35 refuses thresholds above 32 MiB, and must not be left with half of it."""
    asked = {}

    def mallopt(option, value):
        taken = option != memory.MMAP_THRESHOLD or value <= 2**25
        if taken:
            asked[option] = value
        return int(taken)

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    monkeypatch.setattr(sys, "platform", "linux")
    assert memory.keep_memory()
    assert asked == {memory.MMAP_THRESHOLD: 2**25, memory.TRIM_THRESHOLD: 2**31 - 1}
    asked.clear()
    monkeypatch.setattr(memory, "LARGEST_OF_OLD", 2**31 - 1)
    assert not memory.keep_memory()
    assert not asked
