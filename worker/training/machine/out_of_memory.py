"""Recognises errors of exhausted memory and full disks, and chooses smaller micro-batches.

It does not import torch: the process that supervises the trainer uses it too.
"""

import errno
from collections.abc import Iterator

from thumbwheel.wire.recipe import PAIRED, Recipe

#: Words of torch, cuBLAS and other libraries in C and Rust for exhausted memory.
NO_MEMORY_IN_WORDS = (
    "can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory", "ALLOC_FAILED",
    "std::bad_alloc",
)  # fmt: skip
#: The disk, a quota, or the largest size of a file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: Words of safetensors and pyarrow for the same.
FULL_IN_WORDS = ("No space left on device", "StorageFull", "File too large", "Disk quota exceeded")
#: A micro-batch has at least two rows: a single row has no partner to be mismatched with.
FEWEST_ROWS = 2


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether memory of a GPU or of the machine ran out, in `error` or in one that caused it."""
    return any(_lacks_memory(link) for link in _chain(error))


def is_disk_full(error: BaseException) -> bool:
    return any(
        getattr(link, "errno", None) in FULL or any(sign in str(link) for sign in FULL_IN_WORDS)
        for link in _chain(error)
    )


def _lacks_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # By name, as torch may not be imported; it is a RuntimeError, as is the error of the CPU's allocator.
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    of_a_library = isinstance(error, RuntimeError) or type(error).__name__ == "SafetensorError"
    return of_a_library and any(sign in str(error) for sign in NO_MEMORY_IN_WORDS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def micro_batch_sizes(recipe: Recipe, at_most: int) -> list[int]:
    """Returns the possible sizes of a micro-batch, smallest first: divisors of the batch size from 2 to `at_most`.

    For pairs they are even.
    """
    unit = 2 if recipe.objective in PAIRED else 1
    return [
        size for size in range(FEWEST_ROWS, min(recipe.batch_size, at_most) + 1, unit) if recipe.batch_size % size == 0
    ]


def smaller(recipe: Recipe, micro_batch_size: int, *, activations_computed_twice: bool = False) -> Recipe | None:
    """Returns `recipe` with about half the rows in a micro-batch and the same batch size, or None if none is smaller.

    A measurement's decision to compute activations twice is kept.
    """
    sizes = micro_batch_sizes(recipe, micro_batch_size // 2)
    if not sizes:
        return None
    changes: dict[str, object] = {"micro_batch_size": sizes[-1]}
    if activations_computed_twice:
        changes["activation_checkpointing"] = "on"
    return recipe.model_copy(update=changes)


def remedies(recipe: Recipe, *, activations_computed_twice: bool = False) -> str:
    """Returns, as text, the changes that save memory if a smaller micro-batch does not help."""
    ways = [f"lower max_length (it is {recipe.max_length})"]
    if recipe.method == "full":
        ways.append("set method to lora")
    else:
        ways.append(f"lower lora.rank (it is {recipe.lora.rank})")
    if recipe.activation_checkpointing != "on" and not activations_computed_twice:
        ways.append("set activation_checkpointing to on")
    if recipe.precision == "float32":
        ways.append("set precision to bfloat16")
    return ", ".join(ways) + ", or use a machine with more memory"
