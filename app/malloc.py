"""Makes malloc and Arrow return freed memory to the system, so that a process does not keep the peak of a whole log."""

import ctypes

import pyarrow as pa

#: Blocks of at least this size, in bytes, return to the system as soon as they are freed.
LARGE_BLOCK = 256 * 1024
#: The parameter of mallopt(3) for the threshold of separate blocks.
M_MMAP_THRESHOLD = -3


def settle() -> None:
    """Configures the allocators of this process to return freed memory. Called by the main functions of processes that
    read whole logs.

    Arrow's own allocator would keep freed memory. So would glibc, which raises its threshold for separate blocks to
    32 MiB once such a block was freed, unless the threshold is set. Other C libraries are not changed.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def give_back() -> None:
    """Returns the free memory of smaller blocks to the system by malloc_trim(3), between two steps that need much."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
