"""Memory that each step, or each tile, asks for again stays with the process."""

import ctypes
import sys

# Of glibc's mallopt: sizes above which an allocation is a mapping of its own, and above which free
# memory at the end of the heap goes back to the system.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1
# The largest threshold for mappings that glibc takes before version 2.35.
LARGEST_OF_OLD = 2**25


def keep_memory() -> bool:
    """Let large tensors be made of memory that earlier ones have left.

    By itself glibc gives what is 32 MiB or larger back to the system when a tensor is deleted. The
    next one is then made of new pages, which the system clears one by one: half the time of a
    training step of a small `NLRN`, a twelfth of one of `DnCNN`, half the time in which `NSR`
    restores a photograph. The price is that the process stays as large as it once was.

    Returns:
        Whether that was done: not on systems with another C library.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    # Mappings first: the other by itself would have all of 128 KiB and more mapped from now on.
    mapped = mallopt(MMAP_THRESHOLD, LARGEST) or mallopt(MMAP_THRESHOLD, LARGEST_OF_OLD)
    return bool(mapped and mallopt(TRIM_THRESHOLD, LARGEST))
