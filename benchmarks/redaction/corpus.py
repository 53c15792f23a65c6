"""Made texts with known spans: `positives` have one value of a kind each, `negatives` only what looks like one."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from benchmarks.redaction.sentences import AROUND, MAKERS, NEGATIVES, SENTENCES

FILLERS = (
    "", "", "", "Thanks a lot for the help! ", "Das hat gestern noch funktioniert. ", "Merci beaucoup. ", "I ordered 3 of them on 4 May. ",
    "好的。", "The answer was wrong in line 12: ", "> ", "1. ",
)  # fmt: skip


class MadeText(NamedTuple):
    """`group` names the row of the table: a kind, or what looks like one; `start` and `end` are equal without a value."""

    text: str
    group: str
    kind: str | None
    start: int
    end: int


def positives(seed: int, each: int) -> Iterator[MadeText]:
    for group, sentences in SENTENCES.items():
        random = Random(f"redaction {seed} {group}")
        for _ in range(each):
            value = MAKERS[group](random)
            if group == "url_credentials":
                sentence = random.choice(sentences)
            else:
                sentence = random.choice(sentences)
            before, _, after = sentence.replace("{{", "\x01").replace("}}", "\x02").partition("{}")
            before, after = (part.replace("\x01", "{").replace("\x02", "}") for part in (before, after))
            start = len(filler := random.choice(FILLERS)) + len(before)
            text = f"{filler}{before}{value}{after}"
            yield MadeText(text, group, group.partition(",")[0], start, start + len(value))


def negatives(seed: int, each: int) -> Iterator[MadeText]:
    for group, maker in NEGATIVES.items():
        random = Random(f"redaction {seed} {group}")
        for _ in range(each):
            text = random.choice(FILLERS) + random.choice(AROUND).format(maker(random))
            yield MadeText(text, group, None, 0, 0)
