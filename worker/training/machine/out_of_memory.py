"""What a machine lacks, told by the errors that want of it raises; and the micro-batches that need less memory.

No torch in here: the process that supervises the trainer asks, too.
"""

import errno
from collections.abc import Iterator

from app.runs.recipe import PAIRED, Recipe

#: How torch, cuBLAS and other libraries in C and Rust tell that memory ran out.
NO_MEMORY_IN_WORDS = (
    "can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory", "ALLOC_FAILED",
    "std::bad_alloc",
)  # fmt: skip
#: The disk, a quota, or the largest size of a file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: How safetensors and pyarrow tell it.
FULL_IN_WORDS = ("No space left on device", "StorageFull", "File too large", "Disk quota exceeded")
#: A micro-batch has two rows at least: one alone has nobody to be mismatched with.
FEWEST_ROWS = 2


def is_out_of_memory(error: BaseException) -> bool:
    """Of a GPU or of the machine; also where another error was raised from that one."""
    return any(_lacks_memory(one) for one in _chain(error))


def is_disk_full(error: BaseException) -> bool:
    return any(
        getattr(one, "errno", None) in FULL or any(sign in str(one) for sign in FULL_IN_WORDS) for one in _chain(error)
    )


def _lacks_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # By name, as torch may not be here; it is a RuntimeError, and so is what the CPU's allocator raises.
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    of_a_library = isinstance(error, RuntimeError) or type(error).__name__ == "SafetensorError"
    return of_a_library and any(sign in str(error) for sign in NO_MEMORY_IN_WORDS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def micro_batch_sizes(recipe: Recipe, at_most: int) -> list[int]:
    """What a micro-batch may be: divisors of the batch size from 2 to `at_most`, smallest first; even for pairs."""
    unit = 2 if recipe.objective in PAIRED else 1
    return [
        size for size in range(FEWEST_ROWS, min(recipe.batch_size, at_most) + 1, unit) if recipe.batch_size % size == 0
    ]


def smaller(recipe: Recipe, micro_batch_size: int, *, activations_computed_twice: bool = False) -> Recipe | None:
    """`recipe` with half the rows at once (of an odd batch fewer) and the same batch size; None where there are no
    fewer. What a measurement decided about activations stays decided.
    """
    sizes = micro_batch_sizes(recipe, micro_batch_size // 2)
    if not sizes:
        return None
    changes: dict[str, object] = {"micro_batch_size": sizes[-1]}
    if activations_computed_twice:
        changes["activation_checkpointing"] = "on"
    return recipe.model_copy(update=changes)


def remedies(recipe: Recipe, *, activations_computed_twice: bool = False) -> str:
    """What makes a step need less memory where fewer rows at once do not help."""
    ways = [f"lower max_length (it is {recipe.max_length})"]
    if recipe.method == "full":
        ways.append("set method to lora")
    else:
        ways.append(f"lower lora.rank (it is {recipe.lora.rank})")
    if recipe.activation_checkpointing != "on" and not activations_computed_twice:
        ways.append("set activation_checkpointing to on")
    if recipe.precision == "float32":
        ways.append("set precision to bfloat16")
    return ", ".join(ways) + ", or take a machine with more memory"
