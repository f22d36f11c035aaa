"""Large tensors of a training are made of memory that earlier ones have left."""

import json
import platform
import subprocess
import sys

import pytest

from lessons_lib.training.memory import keep_memory

# New pages that three tensors of 38 MiB need, one after the other, before and after.
COUNT = """
import json, resource
import torch
from lessons_lib.training.memory import keep_memory

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(json.dumps([[new_pages() for _ in range(3)], keep_memory(), [new_pages() for _ in range(3)]]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems allocate otherwise")
def test_what_a_tensor_leaves_is_taken_by_the_next():
    printed = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=True
    ).stdout
    before, kept, (_, *after) = json.loads(printed)
    assert kept
    # Of 4 KiB each, or of 64; or the system gives 2 MiB at once.
    assert min(before) >= 15
    assert max(after) < min(before) / 10


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_memory()
