"""The section of the model card about what the model writes: its figures, and ten prompts with replies. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from thumbwheel.chat_messages import readable_prompt

from app.checkpoints.samples.files import Row
from app.checkpoints.samples.ten import RULE, ten

#: Figures of one model: name, meaning.
FIGURES = {
    "length_mean": "tokens of a reply",
    "empty_share": "share of empty replies",
    "refusal_share": "share of refusals",
    "repetition_share": "share of repeated 4-grams",
    "distinct_2": "share of distinct pairs of words",
    "unfinished_share": "share cut off at the limit",
}
#: Figures of the candidate against another model.
AGAINST = {
    "length_ratio": "length of the replies, as a ratio",
    "refusal_difference": "refusals, difference",
    "empty_difference": "empty replies, difference",
    "repetition_difference": "repetition, difference",
    "distinct_2_difference": "distinct pairs, difference",
    "unchanged_share": "share of unchanged most probable replies",
    "kl_nats_per_token": "KL, nats per token",
    "kl_nats_per_completion": "KL, nats per reply",
}
#: Characters of a prompt (its end) and of a reply (its beginning) on the card.
PROMPT, REPLY = 300, 500

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]<>#|!~&])")


def section(scores: Mapping[str, Any], sets: Sequence[Mapping[str, Row]], seed: int) -> list[str]:
    """Returns the blocks of the section; none for a checkpoint without samples."""
    samples = scores.get("samples")
    if not samples:
        return []
    chosen = ten(sets, seed)
    blocks = ["## What it writes", _introduction(samples), _by_model(samples), _against(samples)]
    if chosen:
        rows = [
            (why, prompt_in_brief(of["candidate"]["prompt"]), *(_reply(of[name]) for name in ("candidate", "shipped")))
            for why, of in chosen
        ]
        blocks += [RULE, _table(("chosen", "prompt", "candidate", "shipped"), rows)]
    return blocks


def prompt_in_brief(prompt: str, most: int = PROMPT) -> str:
    """Returns the end of a prompt, which is JSON of a text or of messages, as one line."""
    content = json.loads(prompt)
    if not isinstance(content, str):
        content = "\n".join(f"{who}: {text}" for who, text in readable_prompt(content))
    line = _line(content)
    return line if len(line) <= most else f"…{line[-most:]}"


def _introduction(samples: Mapping[str, Any]) -> str:
    prompts = samples["prompts"]
    stopped = f" Sampling was stopped by its limit of {samples['stopped_by']}." if samples["stopped_by"] else ""
    return (
        f"Replies to {prompts['holdout']:,} held-out prompts, sampled at temperature {samples['temperature']:g}, of at "
        f"most {samples['max_new_tokens']:,} tokens, and to {prompts['suites']:,} prompts of suites.{stopped}"
    )


def _by_model(samples: Mapping[str, Any]) -> str:
    models = ("candidate", "shipped", "ancestor")
    rows = [(words, *(_figure(samples[model].get(name)) for model in models)) for name, words in FIGURES.items()]
    return _table(("figure", *models), rows)


def _against(samples: Mapping[str, Any]) -> str:
    others = ("against_shipped", "against_ancestor")
    rows = [(words, *(_figure(samples[other].get(name)) for other in others)) for name, words in AGAINST.items()]
    return _table(("candidate against", "shipped", "ancestor"), rows)


def _figure(figure: Mapping[str, Any] | None) -> str:
    if not figure or figure.get("value") is None:
        return "none"
    return f"{figure['value']:.4g} ({figure['low']:.4g} … {figure['high']:.4g})"


def _reply(row: Row) -> str:
    line = _line(row["completion"])
    return line if len(line) <= REPLY else f"{line[:REPLY]}…"


def _line(text: str) -> str:
    return " ⏎ ".join(part.strip() for part in text.strip().splitlines())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    escaped = [[_PUNCTUATION.sub(r"\\\1", cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *escaped])
