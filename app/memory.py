"""Memory that goes back to the system. What a whole log takes for a moment, the process should not keep."""

import ctypes

import pyarrow as pa

#: Blocks of so many bytes are the system's again as soon as they are freed.
LARGE_BLOCK = 256 * 1024
#: Of mallopt(3).
M_MMAP_THRESHOLD = -3


def settle() -> None:
    """For the whole process. Arrow's own allocator would keep what was freed, and so would glibc, whose bound for
    blocks of their own rises to 32 MiB as soon as one was freed, unless it is set. Another C library is left as it is.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def give_back() -> None:
    """What smaller blocks have left free, between two steps of which each takes much: malloc_trim(3)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
