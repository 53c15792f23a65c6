"""Rows with the lengths of real chats, and the tokenizer that gives them those lengths.

If ../shared/data exists next to the project's root, prompts and completions are real ones, read with GPT-2's tokenizer:
prompts of 30 to 300 tokens, completions of 20 to 400, three harmless-chat rows to one of topical chat, which makes two
fifths of a random batch of 8 padding. Otherwise lengths are log-normal within the same bounds.

The chosen rows are evenly spaced over all lengths, so that a few rows have the same spread as all.

A model with a smaller vocabulary reads words w0, w1, …: the token ids, folded into its vocabulary.
"""

import gzip
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PROMPT, COMPLETION = (30, 300), (20, 400)
END = "<|end|>"
SEED = 7


@dataclass(frozen=True)
class TextRow:
    prompt: str
    completion: str
    desirable: bool
    prompt_tokens: int
    completion_tokens: int  # with the end token

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Chats:
    source: str  # a sentence
    rows: tuple[TextRow, ...]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Chats":
        content = json.loads(path.read_text())
        return cls(content["source"], tuple(TextRow(**row) for row in content["rows"]))


def chats(count: int, vocabulary: int) -> tuple[Chats, Any]:
    """Returns `count` rows in random order, without repeated prompts or completions, and their tokenizer."""
    if (DATA / "tokenizers" / "gpt2").is_dir() and (DATA / "trl").is_dir():
        from transformers import AutoTokenizer

        gpt2 = AutoTokenizer.from_pretrained(DATA / "tokenizers" / "gpt2", local_files_only=True)
        conversations = _real(gpt2)
        source = "real chats (hh_harmless and topical_chat, 3 to 1), lengths by GPT-2's tokenizer"
        if vocabulary >= len(gpt2):
            rows = [
                TextRow(prompt, completion, desirable, len(p), len(c) + 1)
                for prompt, completion, desirable, p, c in conversations
            ]
            return Chats(source, tuple(_evenly_spaced(rows, count))), gpt2
        ids = [(p, c, desirable) for _, _, desirable, p, c in conversations]
    else:
        ids, source = _synthetic(), "synthetic chats, log-normal lengths"
    return Chats(source, tuple(_evenly_spaced(_in_words(ids, vocabulary), count))), word_tokenizer(vocabulary)


def of_length(count: int, prompt: int, completion: int, vocabulary: int) -> Chats:
    """Returns rows of random words for `word_tokenizer`, all of the same lengths."""
    generator = np.random.default_rng(SEED)
    ids = [
        (
            generator.integers(0, 50_000, prompt).tolist(),
            generator.integers(0, 50_000, completion - 1).tolist(),
            k % 2 == 0,
        )
        for k in range(count)
    ]
    return Chats(f"synthetic, prompts of {prompt} and completions of {completion}", tuple(_in_words(ids, vocabulary)))


def padding_share(lengths: Sequence[int], rows_per_step: int) -> float:
    """Returns the share of padding in batches of `rows_per_step` rows in this order, padded to their longest."""
    batches = [lengths[start : start + rows_per_step] for start in range(0, len(lengths), rows_per_step)]
    return 1 - sum(lengths) / sum(max(batch) * len(batch) for batch in batches)


def word_tokenizer(vocabulary: int) -> Any:
    """Returns a tokenizer with one token for each of the words w0 … w(vocabulary − 2), and an end token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"w{number}": number for number in range(vocabulary - 1)} | {END: vocabulary - 1}
    raw = Tokenizer(models.WordLevel(words, unk_token="w0"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END, pad_token=END)


Ids = list[int]


def _real(gpt2: Any) -> list[tuple[str, str, bool, Ids, Ids]]:
    harmless = _read("hh_harmless.unpaired.train.jsonl.gz", gpt2, lines=None)
    topical = _read("topical_chat.unpaired.train.jsonl.gz", gpt2, lines=4_000)
    return harmless + topical[: len(harmless) // 3]


def _read(name: str, gpt2: Any, lines: int | None) -> list[tuple[str, str, bool, Ids, Ids]]:
    """Returns rows within the bounds, alternately desirable and undesirable, without repeated texts."""
    with gzip.open(DATA / "trl" / name) as file:
        content = [json.loads(line) for line in file.readlines()[:lines]]
    histories = ["\n\n".join(f"{m['role'].capitalize()}: {m['content']}" for m in row["prompt"]) for row in content]
    prompts = [f"{history}\n\nAssistant:" for history in histories]
    completions = [f" {row['completion'][0]['content'].strip()}" for row in content]
    seen: set[str] = set()
    rows: list[tuple[str, str, bool, Ids, Ids]] = []
    ids = zip(gpt2(prompts)["input_ids"], gpt2(completions)["input_ids"], strict=True)
    for prompt, completion, row, (p, c) in zip(prompts, completions, content, ids, strict=True):
        fits = PROMPT[0] <= len(p) <= PROMPT[1] and COMPLETION[0] <= len(c) + 1 <= COMPLETION[1]
        wanted = row["label"] is (len(rows) % 2 == 0)
        if fits and wanted and not {prompt, completion} & seen:
            seen |= {prompt, completion}
            rows.append((prompt, completion, row["label"], p, c))
    return rows


def _synthetic(count: int = 1_000) -> list[tuple[Ids, Ids, bool]]:
    generator = np.random.default_rng(SEED)
    prompts = np.clip(generator.lognormal(4.75, 0.6, count), *PROMPT).astype(int)
    completions = np.clip(generator.lognormal(3.9, 0.8, count), *COMPLETION).astype(int)
    return [
        (generator.integers(0, 50_000, p).tolist(), generator.integers(0, 50_000, c - 1).tolist(), bool(k % 2))
        for k, (p, c) in enumerate(zip(prompts, completions, strict=True))
    ]


def _in_words(rows: Sequence[tuple[Ids, Ids, bool]], vocabulary: int) -> list[TextRow]:
    def words(ids: Ids) -> str:
        return " ".join(f"w{number % (vocabulary - 1)}" for number in ids)

    return [TextRow(words(p), f" {words(c)}", desirable, len(p), len(c) + 1) for p, c, desirable in rows]


def _evenly_spaced(rows: Sequence[TextRow], count: int) -> list[TextRow]:
    ordered = sorted(rows, key=lambda row: (row.tokens, row.prompt))
    chosen = [ordered[int((number + 0.5) * len(ordered) / count)] for number in range(count)]
    return [chosen[index] for index in np.random.default_rng(SEED).permutation(count)]
