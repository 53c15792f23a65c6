"""Prints previews of policies and explanations of labels at a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from thumbwheel import wire
from thumbwheel.wire.previews import ClassSize, Flip, PolicyEffect, ResolvedLabel

from app.cli.listing import as_table, console, print_json, when

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {"desirable": "green", "undesirable": "red", "nothing": "dim"}
TEXT_CHARACTERS = 160
LABELS: tuple[ResolvedLabel, ...] = ("desirable", "undesirable", "nothing")
NUMBERS = {*LABELS, "before", "after", "change", "weight", "times"}
SIGNAL_COLUMNS = ("signal", "says", *LABELS)


def show_preview(item: wire.Preview, *, as_json: bool) -> None:
    """Prints both policies side by side, the flipped labels and signals without a rule; as JSON, the whole preview."""
    if not as_table(as_json):
        print_json(item.model_dump(mode="json"))
        return
    out = console()
    span = f"snapshot {item.snapshot_id}" if item.snapshot_id else f"feedback since {when(item.since)}"
    out.print(f"{_named(item.after)} against {_named(item.before)}, {span}: {item.completions:,} completions\n")
    out.print(_table("Rows", ("", "before", "after", "change"), _sizes(item.before, item.after)))
    out.print(_table("Signals, and the labels of their completions", SIGNAL_COLUMNS, _signals(item.before, item.after)))
    out.print(_table("Reasons", ("reason", "label", "before", "after", "change"), _reasons(item.before, item.after)))
    out.print(_table("Who flips", ("before ↓   after →", *LABELS), _flips(item.flips)))
    for flip in item.flips:
        if flip.examples:
            head = ("completion", "what was said", "before", "after", "text")
            out.print(_table(f"{flip.before} → {flip.after}: {_of(flip)}", head, _examples(flip), lines=True))
    if item.unheard:
        rows = [(one.kind, one.detail or "", f"{one.signals:,}", one.why) for one in item.unheard]
        out.print(_table("The policy says nothing of", ("signal", "name", "times", "why"), rows))


def show_explanation(item: wire.LabelExplanation, *, as_json: bool) -> None:
    """The sentence, then each signal on its way to the label; as JSON the whole explanation."""
    if not as_table(as_json):
        print_json(item.model_dump(mode="json"))
        return
    out = console()
    out.print(f"{item.sentence}\n")
    rows = [
        (
            when(one.occurred_at),
            one.actor,
            _words(one.signal),
            one.says or "–",
            one.label,
            f"{one.weight:g}" if one.says else "",
            "✓" if one.counts else "",
            one.why,
        )
        for one in item.signals
    ]
    out.print(_table(None, ("at", "actor", "signal", "says", "label", "weight", "counts", "why"), rows))
    for text in item.texts:
        out.print(
            f"Written instead, desirable at weight {text.weight:g}, by {', '.join(text.actors)}: {_cut(text.text)}"
        )


def _sizes(before: PolicyEffect, after: PolicyEffect) -> list[tuple[str, ...]]:
    def of(name: str, one: float, other: float) -> tuple[str, ...]:
        return name, f"{one:,g}", f"{other:,g}", _change(one, other)

    rows = []
    for name in ("desirable", "undesirable"):
        sizes: Sequence[ClassSize] = [getattr(effect, name) for effect in (before, after)]
        rows.append(of(f"{name} rows", sizes[0].rows, sizes[1].rows))
        rows.append(of(f"{name} weight", sizes[0].weight, sizes[1].weight))
        rows.append(of(f"{name}, text not known yet", sizes[0].without_text, sizes[1].without_text))
    rows.append(of("nothing", before.nothing, after.nothing))
    guards = (before.guards, after.guards)
    rows.append(of("actors in quarantine", *(one.quarantined_actors for one in guards)))
    rows.append(of("their votes", *(one.quarantined_votes for one in guards)))
    rows.append(of("rows that a cap makes lighter", *(one.capped_rows for one in guards)))
    rows.append(of("weight under the caps", *(round(one.weight_after_caps, 1) for one in guards)))
    return rows


def _signals(before: PolicyEffect, after: PolicyEffect) -> list[tuple[str, ...]]:
    says: dict[str, list[str]] = {}
    counts: dict[str, dict[str, list[int]]] = {}
    for side, effect in enumerate((before, after)):
        for one in effect.signals:
            name = f"{one.kind} {one.detail or ''}".rstrip()
            says.setdefault(name, ["–", "–"])[side] = one.says or "–"
            of = counts.setdefault(name, {label: [0, 0] for label in LABELS})
            for label in LABELS:
                of[label][side] += getattr(one, label)
    return [
        (name, _both(*says[name]), *(_both(*map(_count, counts[name][label])) for label in LABELS))
        for name in sorted(counts)
    ]


def _both(before: str, after: str) -> str:
    return before if before == after else f"{before or '0'} → {after or '0'}"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _reasons(before: PolicyEffect, after: PolicyEffect) -> list[tuple[str, ...]]:
    rows: dict[tuple[str, str], list[int]] = {}
    for side, effect in enumerate((before, after)):
        for one in effect.reasons:
            rows.setdefault((one.label, one.reason), [0, 0])[side] = one.rows
    return [
        (reason, label, f"{one:,}", f"{other:,}", _change(one, other))
        for (label, reason), (one, other) in sorted(rows.items())
    ]


def _flips(flips: Iterable[Flip]) -> list[tuple[str, ...]]:
    counts = {(flip.before, flip.after): flip.completions for flip in flips}
    return [(one, *(_count(counts.get((one, other), 0)) or "–" for other in LABELS)) for one in LABELS]


def _examples(flip: Flip) -> list[tuple[str, ...]]:
    return [
        (
            one.completion_id,
            "\n".join(one.signals),
            _verdict(one.before),
            _verdict(one.after),
            f"{_cut(one.prompt)}\n→ {_cut(one.completion)}",
        )
        for one in flip.examples
    ]


def _verdict(verdict: wire.previews.Verdict) -> str:
    weight = f" {verdict.weight:g}" if verdict.weight else ""
    return "\n".join((verdict.label + weight, *verdict.reasons))


def _of(flip: Flip) -> str:
    shown, all_of_them = len(flip.examples), flip.completions
    return f"{shown} of {all_of_them:,}" if shown < all_of_them else f"{all_of_them:,}"


def _words(signal: Mapping[str, object]) -> str:
    told = (str(value) for name, value in signal.items() if name != "kind" and value is not None)
    return _cut(" ".join((str(signal.get("kind")), *told)), 60)


def _cut(text: str | None, characters: int = TEXT_CHARACTERS) -> str:
    if text is None:
        return "text not known"
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def _named(effect: PolicyEffect) -> str:
    return f"{effect.name} (version {effect.version})" if effect.version is not None else f"{effect.name} (not stored)"


def _change(one: float, other: float) -> str:
    return "" if one == other else f"{other - one:+,g}"


def _table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]], *, lines: bool = False) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE,
        show_lines=lines,
        pad_edge=False,
    )
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name in NUMBERS and not lines else "left")
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell.partition("\n")[0].partition(" ")[0], "")) for cell in row))
    return table
