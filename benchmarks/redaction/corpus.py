"""Made texts with known spans: positive ones have a value of a kind each, negative ones only what looks like one."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml

from benchmarks.redaction import negatives as lookalikes
from benchmarks.redaction import values

TEXTS: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8"))
MAKERS: Mapping[str, Callable[[Random], str]] = {
    "email": values.email,
    "phone, international": values.phone(TEXTS["phones"]["abroad"]),
    "phone, national": values.phone(TEXTS["phones"]["national"]),
    "phone, plain with its name": values.phone(TEXTS["phones"]["plain"]),
    "phone, plain without a name": values.phone(TEXTS["phones"]["plain"]),
    "phone, as typed": values.phone(TEXTS["phones"]["typed"]),
    "card": values.card,
    "card, as typed": values.typed_card,
    "iban": values.iban,
    "api_key": values.api_key,
    "private_key": values.private_key,
    "jwt": values.jwt,
    "token": values.token,
    "token, without its name": values.token,
    "password, a word": lambda random: random.choice(TEXTS["words"]),
    "email, written out": lambda random: random.choice(TEXTS["written_out"]),
    "password": values.password,
    "url_credentials": values.credentials,
    "ip_address": values.ip_address,
}
PLACE = "{}"


class MadeText(NamedTuple):
    """A text. `group` names a row of the table; `kind` and the span are those of its value, None and 0 without one."""

    text: str
    group: str
    kind: str | None
    start: int
    end: int


def positives(seed: int, each: int) -> Iterator[MadeText]:
    """Yields `each` texts of every group of values."""
    for group, sentences in TEXTS["sentences"].items():
        random = Random(f"redaction {seed} {group}")
        for _ in range(each):
            value = MAKERS[group](random)
            before, _, after = random.choice(sentences).partition(PLACE)
            before = random.choice(TEXTS["fillers"]) + before
            kind = group.partition(",")[0]
            yield MadeText(f"{before}{value}{after}", group, kind, len(before), len(before) + len(value))


def negatives(seed: int, each: int) -> Iterator[MadeText]:
    """Yields `each` texts of every group of lookalikes."""
    for group, maker in lookalikes.makers(TEXTS["code"]).items():
        random = Random(f"redaction {seed} {group}")
        for _ in range(each):
            text = random.choice(TEXTS["around"]).replace(PLACE, maker(random))
            yield MadeText(random.choice(TEXTS["fillers"]) + text, group, None, 0, 0)
