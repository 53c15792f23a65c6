"""Reads the rows and pairs of a snapshot as token ids."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from thumbwheel.row_checks import REASONS, RowFault, fault_of
from thumbwheel.wire.recipe import PAIR_SOURCES, PairsFrom

from app.snapshots.files.message_columns import TOOLS, in_normal_form, is_whole
from app.snapshots.files.prompt_key import prompt_key
from worker.training.data.edit_credit import KEPT, EditCredit, credited, keeps_ending, spans_of
from worker.training.data.tokenised import keep, kept, tokens_fingerprint
from worker.training.data.tokens import SHORTEST, Encoded, Fitted, Ids, Tokens, Weights, fit, fit_weights
from worker.training.job import PairsFile, Shard
from worker.training.machine.process import TrainingRefusal

COLUMNS = ("prompt", "completion", "label", "weight", "completion_id", "position")
#: Columns that a shard may lack: several labels of a row, spans of a completion with their own weights, what an edit
#: kept of it, the mean log-prob per token that the completion had when it was sampled, and the tools of the prompt.
OPTIONAL = ("labels", "spans", KEPT, "writer_log_prob", TOOLS)
#: Reasons to drop a row whose remedy lies in the base model's folder.
OF_THE_MODEL = frozenset(
    {
        "no_chat_template", "template_error", "template_changes_prompt", "template_drops_tools",
        "template_drops_tool_calls", "template_drops_tool_results", "template_drops_reasoning",
        "template_generation_prompt", "template_prefill", "template_changes_answer", "tokenizer_changes_answer",
        "end_not_once", "beyond_vocabulary",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    prompt: Ids  # [P] at least one token
    completion: Ids  # [C] at least two, the last one an end token
    desirable: bool
    weight: float
    completion_id: str
    prompt_key: bytes  # equal for equal prompts, however they were cut
    labels: Mapping[str, bool] = field(default_factory=dict)  # by name, for mo_kto
    token_weights: Weights | None = None  # [C], for tkto
    writer_log_prob: float | None = None  # mean per token, nats; None if unknown, or if the row was cut

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.completion)


class Drop(NamedTuple):
    """A row that is neither trained on nor scored, with its fault."""

    split: str
    shard: str
    row: int  # in the shard, from 0
    completion_id: str
    fault: RowFault

    @property
    def line(self) -> dict[str, Any]:
        meaning, remedy = REASONS[self.fault.reason]
        location = {"split": self.split, "shard": self.shard, "row": self.row, "completion_id": self.completion_id}
        return {**location, **self.fault._asdict(), "meaning": meaning, "remedy": remedy}


@dataclass
class TokenisedRows:
    rows: list[Row]
    drops: list[Drop] = field(default_factory=list)
    control_tokens_in_prompts: int = 0  # usable rows with text in the prompt that is read as a control token
    prompts_trimmed: int = 0  # usable rows with prompts whose messages the chat template strips of white space
    truncated: int = 0
    tokens_cut: int = 0
    lengths: list[int] = field(default_factory=list)  # tokens of each usable row before it was cut
    edited: EditCredit = field(default_factory=EditCredit)  # usable rows that are weighed by what an edit kept
    prompts_too_long: int = 0  # usable rows whose prompt alone leaves no room for a completion
    #: shard and row number in the shard → index in `rows`
    places: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        return len(self.drops)

    @property
    def reasons(self) -> dict[str, int]:
        """The number of dropped rows by reason, the most frequent first."""
        return dict(Counter(drop.fault.reason for drop in self.drops).most_common())

    def require_any(self, what: str) -> None:
        """Raises `TrainingRefusal` if all rows are dropped. `what` names them in the message."""
        if self.drops and not self.rows:
            raise self._mostly_dropped(f"all {self.dropped} {what} are dropped")

    def _mostly_dropped(self, fact: str) -> TrainingRefusal:
        """Returns a refusal that states `fact` and the most frequent reason with its first row."""
        reason, count = next(iter(self.reasons.items()))
        first = next(drop for drop in self.drops if drop.fault.reason == reason)
        return TrainingRefusal(
            reason,
            f"{'base_model' if reason in OF_THE_MODEL else 'snapshot'}: {fact}, {count} of them for one reason, first "
            f"{first.completion_id}: {first.fault.sentence}",
        )

    def require_both_classes(self) -> None:
        desirable = sum(row.desirable for row in self.rows)
        if desirable in (0, len(self.rows)):
            if self.dropped > len(self.rows):
                raise self._mostly_dropped(
                    f"{self.dropped} of {self.dropped + len(self.rows)} train rows are dropped, the others are of one "
                    "class"
                )
            kind, missing = ("undesirable", "desirable") if desirable == 0 else ("desirable", "undesirable")
            raise TrainingRefusal(
                "one_class",
                f"snapshot: {len(self.rows)} usable train rows, all {kind}, {self.dropped} dropped: KTO needs "
                f"both classes, collect {missing} feedback" + (" (edits give it)" if missing == "desirable" else ""),
            )


def read_rows(
    folder: Path,
    shards: Sequence[Shard],
    tokens: Tokens,
    max_length: int,
    *,
    weigh_tokens: bool = False,
    kept_weight: float = 1.0,
    tokenised: Path | None = None,
    keeps: bool = True,
    vocabulary: int | None = None,
) -> TokenisedRows:
    """Returns the usable rows of `shards` and the dropped rows with their faults. Raises `TrainingRefusal`.

    The usable rows are in order of position, tokenised and cut to `max_length`. `weigh_tokens` turns the rows' spans
    into token weights, and with a `kept_weight` below 1 also what edits kept. `tokenised` is the file that keeps token
    ids for the next attempt at a run; `keeps` allows this process to write it. `vocabulary` is the number of tokens in
    the model's embedding.
    """
    fingerprint = (
        tokens_fingerprint(shards, tokens, weigh_tokens=weigh_tokens, kept_weight=kept_weight) if tokenised else None
    )
    stored = kept(tokenised, fingerprint) if tokenised and fingerprint else None
    every: list[Encoded | RowFault] = []
    result = TokenisedRows([])
    placed: list[tuple[int, Row, tuple[str, int]]] = []
    dropped: list[tuple[int, Drop]] = []
    for shard in shards:
        first = 0  # row number in the shard of the batch's first row
        for batch in _batches(folder, shard):
            rows = len(batch["completion"])
            if stored is not None:
                encoded = stored[len(every) : len(every) + rows]
            else:
                encoded = _encoded(
                    batch, tokens, chat=shard.format == "chat", weigh_tokens=weigh_tokens, kept_weight=kept_weight
                )
            every += encoded
            for index, row in enumerate(encoded):
                prompt, completion_id = batch["prompt"][index], str(batch["completion_id"][index])
                usable = row if isinstance(row, RowFault) else _fitted(row, max_length, vocabulary)
                if isinstance(row, RowFault) or isinstance(usable, RowFault):
                    drop = Drop(shard.split, shard.path, first + index, completion_id, cast(RowFault, usable))
                    dropped.append((batch["position"][index], drop))
                    continue
                result.truncated += usable.tokens_cut > 0
                result.tokens_cut += usable.tokens_cut
                result.lengths.append(len(row.prompt) + len(row.completion))
                result.prompts_too_long += len(row.prompt) + SHORTEST > max_length
                result.control_tokens_in_prompts += tokens.reads_control_tokens_in(prompt)
                result.prompts_trimmed += tokens.trims(prompt)
                weights = None if row.weights is None else fit_weights(row.weights, len(usable.completion))
                if weights is not None and credited(batch, index, kept_weight):
                    result.edited.add(weights)
                trained = Row(
                    prompt=usable.prompt,
                    completion=usable.completion,
                    desirable=bool(batch["label"][index]),  # a row for pairs alone has none
                    weight=batch["weight"][index],
                    completion_id=completion_id,
                    prompt_key=prompt_key(prompt),
                    labels=_labels(batch, index),
                    token_weights=weights,
                    # What is left of a cut row is not what the server wrote.
                    writer_log_prob=None if usable.tokens_cut else _optional(batch, "writer_log_prob", index),
                )
                placed.append((batch["position"][index], trained, (shard.path, first + index)))
            first += rows
    if tokenised and fingerprint and keeps and stored is None:
        keep(tokenised, fingerprint, every)
    placed.sort(key=lambda item: item[0])
    result.rows = [row for _, row, _ in placed]
    dropped.sort(key=lambda item: item[0])
    result.drops = [drop for _, drop in dropped]
    result.places = {place: index for index, (_, _, place) in enumerate(placed)}
    return result


def fitted_row(prompt: Any, completion: Any, tokens: Tokens, max_length: int, vocabulary: int) -> Fitted | RowFault:
    """Returns the token ids of one row as training reads it, or the fault for which training drops it."""
    batch = {"prompt": [prompt], "completion": [completion]}
    [row] = _encoded(batch, tokens, chat=not isinstance(prompt, str), weigh_tokens=False)
    return row if isinstance(row, RowFault) else _fitted(row, max_length, vocabulary)


def _encoded(
    batch: Mapping[str, list[Any]], tokens: Tokens, *, chat: bool, weigh_tokens: bool, kept_weight: float = 1.0
) -> list[Encoded | RowFault]:
    """Returns the token ids of each row, or its fault. Faults that show without the model are found first."""
    result: list[Any] = [fault_of(*texts) for texts in zip(batch["prompt"], batch["completion"], strict=True)]
    sound = [index for index, fault in enumerate(result) if fault is None]
    encode = tokens.encode_chat if chat else tokens.encode_text
    encoded = encode(
        [batch["prompt"][index] for index in sound],
        [batch["completion"][index] for index in sound],
        [spans_of(batch, index, kept_weight) for index in sound] if weigh_tokens else None,
    )
    for index, row in zip(sound, encoded, strict=True):
        result[index] = row
        if isinstance(row, Encoded) and row.weights is not None and keeps_ending(batch, index, kept_weight):
            row.weights[-1] = kept_weight
    return result


def _fitted(row: Encoded, max_length: int, vocabulary: int | None) -> Fitted | RowFault:
    if vocabulary is not None:
        largest = int(max(row.prompt.max(), row.completion.max()))
        if largest >= vocabulary:
            return RowFault(
                "beyond_vocabulary", f"the tokenizer makes token {largest}, the model knows {vocabulary} tokens"
            )
    return fit(row.prompt, row.completion, max_length) or RowFault("too_long")


def read_pairs(folder: Path, file: PairsFile | None, read: TokenisedRows, pairs: PairsFrom) -> list[tuple[int, int]]:
    """Returns (chosen, rejected) as indices into `read.rows`, for pairs from the sources that `pairs` names.

    Pairs with a dropped row are left out. A snapshot that does not record the sources of its pairs is read whole.
    Raises `TrainingRefusal`.
    """
    if file is None:
        return []
    try:
        table = pq.read_table(folder / file.path)
        if "source" in table.column_names:
            table = table.filter(pc.is_in(table["source"], pa.array(sorted(PAIR_SOURCES[pairs]))))
        names = ("shard", "chosen", "rejected_shard" if "rejected_shard" in table.column_names else "shard", "rejected")
        columns = [table[name].to_pylist() for name in names]
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingRefusal("pairs_unreadable", f"snapshot: {file.path} is not a list of pairs: {reason}") from None
    places = (
        (read.places.get((shard, chosen)), read.places.get((rejected_shard, rejected)))
        for shard, chosen, rejected_shard, rejected in zip(*columns, strict=True)
    )
    return [(chosen, rejected) for chosen, rejected in places if chosen is not None and rejected is not None]


def _batches(folder: Path, shard: Shard) -> Iterator[dict[str, list[Any]]]:
    try:
        file = pq.ParquetFile(folder / shard.path)
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise TrainingRefusal(
                "shard_columns", f"snapshot: {shard.path} lacks the column {missing[0]}: build the snapshot again"
            )
        if not pa.types.is_boolean(file.schema_arrow.field("label").type):
            raise TrainingRefusal(
                "shard_columns", f"snapshot: the label column of {shard.path} is not boolean: build it again"
            )
        if file.metadata.num_rows != shard.rows:
            raise TrainingRefusal(
                "shard_rows",
                f"snapshot: {shard.path} has {file.metadata.num_rows} rows, the manifest says {shard.rows}: rebuild it",
            )
        wanted = [*COLUMNS, *(name for name in OPTIONAL if name in file.schema_arrow.names)]
        whole = is_whole(file.schema_arrow)
        for batch in file.iter_batches(batch_size=2048, columns=wanted):
            yield in_normal_form(batch.to_pydict()) if whole else batch.to_pydict()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        message = f"snapshot: {shard.path} is not a readable parquet file: {reason}"
        raise TrainingRefusal("shard_unreadable", message) from None


def _optional(batch: Mapping[str, list[Any]], column: str, index: int) -> Any:
    """Returns the row's value in a column that the shard may lack."""
    return batch[column][index] if column in batch else None


def _labels(batch: Mapping[str, list[Any]], index: int) -> dict[str, bool]:
    values = _optional(batch, "labels", index)
    return {label["name"]: label["value"] for label in values or () if label["value"] is not None}
