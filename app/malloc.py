"""How malloc and Arrow return memory to the system: a process should not keep what a whole log took for a moment."""

import ctypes

import pyarrow as pa

#: Blocks of at least this size, in bytes, return to the system as soon as they are freed.
LARGE_BLOCK = 256 * 1024
#: Of mallopt(3).
M_MMAP_THRESHOLD = -3


def settle() -> None:
    """Sets the allocators of this process up to return freed memory: for the mains of processes that read whole logs.

    Arrow's own allocator would keep freed memory. So would glibc, which raises its threshold for separate blocks to
    32 MiB once such a block was freed, unless the threshold is set. Other C libraries stay as they are.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def give_back() -> None:
    """Returns the free memory of smaller blocks to the system: malloc_trim(3), between two steps that need much."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
