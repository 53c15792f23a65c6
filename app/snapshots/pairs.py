"""Which completions of one prompt are compared with each other, for the objectives that learn from pairs. Pure."""

from collections.abc import Hashable, Iterable


def pairs_of(rows: Iterable[tuple[Hashable, bool]]) -> list[tuple[int, int]]:
    """(number of the chosen row, number of the rejected row), rows counted from 0; a row is (prompt, desirable).

    A prompt with rows of one class gives no pair. Of the others, each row of the larger class is used once, and those
    of the rarer class are repeated in turn: no row is left out, and no prompt counts for more than its larger class.
    A preference, one row of each class, is exactly its pair. Prompts in the order of their first row.
    """
    by_prompt: dict[Hashable, tuple[list[int], list[int]]] = {}
    for number, (prompt, desirable) in enumerate(rows):
        rejected, chosen = by_prompt.setdefault(prompt, ([], []))
        (chosen if desirable else rejected).append(number)
    return [
        (chosen[turn % len(chosen)], rejected[turn % len(rejected)])
        for rejected, chosen in by_prompt.values()
        if rejected and chosen
        for turn in range(max(len(rejected), len(chosen)))
    ]
