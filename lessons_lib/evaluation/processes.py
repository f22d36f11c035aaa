"""Several processes that evaluate together, as torchrun starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from lessons_lib.memory import keep_memory


@dataclass(frozen=True)
class Place:
    """Where a process works: its device, and whether it is the one that speaks for all."""

    device: str
    speaks: bool


def choose_device(device: str) -> str:
    """Where this process computes: "cpu", or "cuda:0" and so on, of torchrun's each its own.

    Args:
        device: "auto", "cpu" or "cuda". "auto" is a GPU of NVIDIA's or the processor; Apple's have
            no double precision, in which PSNRs are computed.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device


def describe_device(device: str) -> str:
    """What computes there, for tables of seconds."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads, {torch.backends.cpu.get_cpu_capability()}"


@contextmanager
def together(device: str) -> Iterator[Place]:
    """Join the other processes of torchrun, if there are any, for the time of the context.

    What is then computed on processors keeps its memory, see `keep_memory`.

    Args:
        device: see `choose_device`.
    """
    device = choose_device(device)
    if device == "cpu":
        keep_memory()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Place(device, speaks=True)
        return
    # Only scores are exchanged, which needs no GPU.
    distributed.init_process_group("gloo")
    try:
        yield Place(device, speaks=distributed.get_rank() == 0)
    finally:
        distributed.destroy_process_group()
