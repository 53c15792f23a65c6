"""Compares the replay of a checkpoint by the hidden rule, which no product has: a judge stands in for it elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from thumbwheel import wire

from worker.demo.language import Ticket, good
from worker.demo.measure import Figure, share


@dataclass(frozen=True)
class Replay:
    """The share of the disliked answers that were bad and whose new reply is good, and the share of the liked answers
    that were good and whose new reply is bad.
    """

    disliked: int
    mended: Figure
    liked: int
    broken: Figure

    def sentence(self) -> str:
        mended, broken = round(self.disliked * self.mended.value), round(self.liked * self.broken.value)
        return (
            f"Of {self.disliked} replies that users disliked, {mended} are mended ({_range(self.mended)}); of "
            f"{self.liked} that they liked, {broken} are broken ({_range(self.broken)})."
        )


def replay_of(samples: Iterable[wire.PromptSamples], ticket_of: Mapping[str, Ticket]) -> Replay | None:
    """Returns the replay in the samples of a checkpoint; None if users disliked no answer, or liked none.

    ticket_of  the ticket of each prompt that was shown to users
    """
    mended, broken = [], []
    for item in samples:
        ticket = ticket_of.get(item.prompt) if isinstance(item.prompt, str) else None
        if ticket is None or item.answer is None:
            continue
        was_good, is_good = good(ticket, item.answer), good(ticket, item.candidate.completion)
        if item.source == "disliked":
            mended.append(is_good and not was_good)
        elif item.source == "liked":
            broken.append(was_good and not is_good)
    return Replay(len(mended), share(mended), len(broken), share(broken)) if mended and broken else None


def _range(figure: Figure) -> str:
    return f"{100 * figure.low:.0f} … {100 * figure.high:.0f} %"
