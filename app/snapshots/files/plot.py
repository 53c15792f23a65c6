"""Plots two classes as bars of characters, left and right of a line. Pure; every viewer shows it alike."""

from collections.abc import Sequence
from typing import NamedTuple

#: Characters of the longest bar and of the longest name.
WIDTH, NAME = 24, 40


class Bar(NamedTuple):
    name: str
    left: int
    right: int


def diverging(left: str, right: str, parts: Sequence[Sequence[Bar]]) -> list[str]:
    """Returns the lines of the plot, with an empty one between parts. The longest bar of a part has `WIDTH` characters;
    every count above 0 has a bar."""
    shown = [[bar._replace(name=_short(bar.name)) for bar in part] for part in parts if part]
    bars = [bar for part in shown for bar in part]
    names = max((len(bar.name) for bar in bars), default=0)
    digits = max((len(str(bar.left)) for bar in bars), default=1)
    room = names + 2 + max(WIDTH + 1 + digits, len(left))
    lines = [f"{left:>{room}} │ {right}"]
    for number, part in enumerate(shown):
        if number:
            lines.append(f"{'':{room}} │")
        most = max(max(bar.left, bar.right) for bar in part)
        for bar in part:
            to_the_left = f"{_bar(bar.left, most, '▐')} {bar.left:>{digits}}"
            lines.append(f"{bar.name:{names}}{to_the_left:>{room - names}} │ {bar.right} {_bar(bar.right, most, '▌')}")
    return [line.rstrip() for line in lines]


def _bar(count: int, most: int, half: str) -> str:
    if not count:
        return ""
    halves = max(1, round(2 * WIDTH * count / most))
    full = "█" * (halves // 2)
    return (half + full if half == "▐" else full + half) if halves % 2 else full


def _short(name: str) -> str:
    text = " ".join(name.replace("`", "'").split())
    return text if len(text) <= NAME else f"{text[: NAME - 1]}…"
