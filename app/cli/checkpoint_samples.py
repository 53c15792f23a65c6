"""`thumbwheel checkpoints samples` and `compare`: what checkpoints write, side by side, and their figures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer
from thumbwheel import wire
from thumbwheel.chat_messages import readable_prompt

from app.cli.connection import AsJson, Project, connected, find_id, short_id
from app.cli.listing import as_table, console, figure, print_json

if TYPE_CHECKING:
    from thumbwheel import Client

commands = typer.Typer(rich_markup_mode=None)

Which = Annotated[str, typer.Argument(help="Its id, or its last characters.")]
Source = Annotated[
    Literal["holdout", "suite", "disliked", "liked"] | None,
    typer.Option(help="Only prompts from here; disliked and liked: those of answers that users judged so."),
]
OfSuite = Annotated[str | None, typer.Option("--suite", help="Only prompts of the suite with this name.")]
Decoding = Annotated[Literal["greedy", "sampled"] | None, typer.Option(help="Only replies of this kind.")]

#: Resamples and coverage of the intervals that `compare` computes.
RESAMPLES, CONFIDENCE = 1000, 0.95


@commands.command()
def samples(
    checkpoint: Which,
    source: Source = None,
    suite: OfSuite = None,
    decoding: Decoding = None,
    limit: Annotated[int, typer.Option(min=1, help="Show this number of prompts at most.")] = 20,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show the replies of a checkpoint, beside those of the shipped one and of the first base model."""
    with connected(project) as client:
        checkpoint_id = find_id(checkpoint, client.checkpoints.list(), "checkpoint")
        found = client.checkpoints.samples(checkpoint_id, source=source, suite=suite, decoding=decoding)
        shown = [item for item, _ in zip(found, range(limit), strict=False)]
    if not as_table(as_json):
        print_json([item.model_dump(mode="json") for item in shown])
        return
    if not shown:
        console().print("none yet")
    for item in shown:
        replies = {"checkpoint": item.candidate, "shipped": item.shipped, "base model": item.ancestor}
        _print_side_by_side(item, {name: _shown(reply) for name, reply in replies.items()})


@commands.command()
def compare(
    checkpoint: Which,
    other: Which,
    show_samples: Annotated[bool, typer.Option("--samples", help="Show the replies to the same prompts, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show replies to this number of prompts at most.")] = 20,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Compare two checkpoints: their figures, and their replies to the same held-out prompts."""
    with connected(project) as client:
        listed = list(client.checkpoints.list())
        ids = [find_id(name, listed, "checkpoint") for name in (checkpoint, other)]
        first, second = (client.checkpoints.get(checkpoint_id) for checkpoint_id in ids)
        pairs = _same_prompts(*(_held_out(client, checkpoint_id) for checkpoint_id in ids))
    figures = {
        path: (_at(first.scores, path), _at(second.scores, path))
        for path in dict.fromkeys([*_paths(first.scores), *_paths(second.scores)])
    }
    differences = _differences(pairs)
    shown = pairs[:limit] if show_samples else []
    if not as_table(as_json):
        print_json(
            {
                "checkpoints": [str(first.id), str(second.id)],
                "figures": {".".join(path): list(both) for path, both in figures.items()},
                "same_prompts": differences,
                "samples": [[item.model_dump(mode="json") for item in pair] for pair in shown],
            }
        )
        return
    names = (short_id(first.id), short_id(second.id))
    rows = [(".".join(path), *(figure(value) for value in both)) for path, both in figures.items()]
    _print_table(("figure", *names), rows)
    prompts = differences.pop("prompts")
    console().print(f"\n{names[0]} against {names[1]}, on {prompts:,} held-out prompts that both answered:")
    _print_table(("figure", "value"), [(name, figure(value)) for name, value in differences.items()])
    for item, of_other in shown:
        _print_side_by_side(item, dict(zip(names, map(_shown, (item.candidate, of_other.candidate)), strict=True)))


def _held_out(client: "Client", checkpoint_id: UUID) -> list[wire.PromptSamples]:
    """Returns the samples of held-out prompts; none for a checkpoint without samples."""
    from thumbwheel import ApiError

    try:
        return list(client.checkpoints.samples(checkpoint_id, source="holdout"))
    except ApiError as error:
        if error.code != "samples_missing":
            raise
        return []


def _same_prompts(
    first: Sequence[wire.PromptSamples], second: Sequence[wire.PromptSamples]
) -> list[tuple[wire.PromptSamples, wire.PromptSamples]]:
    """Returns the samples of the prompts and decodings that both have."""
    others = {(item.group, item.decoding): item for item in second}
    pairs = ((item, others.get((item.group, item.decoding))) for item in first)
    return [(item, other) for item, other in pairs if other is not None]


def _differences(pairs: Sequence[tuple[wire.PromptSamples, wire.PromptSamples]]) -> dict[str, Any]:
    """Returns the number of prompts, and figures of the first checkpoint's replies against the second's."""
    from app.checkpoints.samples.figures import Replies, compared, over_prompts_of, unchanged

    def replies(decoding: str, side: int) -> Replies:
        own = [pair[side].candidate for pair in pairs if pair[0].decoding == decoding]
        return Replies.of(*zip(*((reply.completion, reply.tokens, reply.finished) for reply in own), strict=True))

    if not pairs:
        return {"prompts": 0}
    sampled, greedy = ([replies(decoding, side) for side in (0, 1)] for decoding in ("sampled", "greedy"))
    over_prompts = over_prompts_of(len(sampled[0].texts), RESAMPLES, CONFIDENCE, seed=0)
    return {
        "prompts": len(sampled[0].texts),
        **compared(sampled[0], sampled[1], over_prompts),
        **unchanged(greedy[0].texts, greedy[1].texts, over_prompts),
    }


def _paths(document: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the path of each figure in the scores."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from [(*above, name)] if "value" in value else _paths(value, (*above, name))


def _at(document: Any, path: Sequence[str]) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    console().print(table)


def _print_side_by_side(item: wire.PromptSamples, replies: Mapping[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    place = item.group if item.suite else "held-out"
    if item.answer is not None:
        place = f"{item.completion_id} ({item.split})"
        replies = {f"{item.source} answer": item.answer, **replies}
    table = Table(*replies, title=Text(f"{place}, {item.decoding}: {_text(item.prompt)}"), title_justify="left")
    table.add_row(*map(Text, replies.values()))
    console().print(table)


def _shown(reply: wire.ModelReply) -> str:
    return reply.completion + ("" if reply.finished else " […]")


def _text(prompt: str | list[dict[str, Any]] | dict[str, Any]) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{who}: {text}" for who, text in readable_prompt(prompt))
