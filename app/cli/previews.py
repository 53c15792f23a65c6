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
NUMBERS = {*LABELS, "before", "after", "change", "weight", "count"}
SIGNAL_COLUMNS = ("signal", "says", *LABELS)


def show_preview(item: wire.Preview, *, as_json: bool) -> None:
    """Prints both policies side by side, flipped labels and signals without a rule; or the whole preview as JSON."""
    if not as_table(as_json):
        print_json(item.model_dump(mode="json"))
        return
    out = console()
    span = f"snapshot {item.snapshot_id}" if item.snapshot_id else f"feedback since {when(item.since)}"
    out.print(f"{_named(item.after)} against {_named(item.before)}, {span}: {item.completions:,} completions\n")
    out.print(_table("Rows", ("", "before", "after", "change"), _sizes(item.before, item.after)))
    out.print(_table("Signals, and the labels of their completions", SIGNAL_COLUMNS, _signals(item.before, item.after)))
    out.print(_table("Reasons", ("reason", "label", "before", "after", "change"), _reasons(item.before, item.after)))
    out.print(_table("Flipped labels", ("before ↓   after →", *LABELS), _flips(item.flips)))
    for flip in item.flips:
        if flip.examples:
            head = ("completion", "signals", "before", "after", "text")
            out.print(_table(f"{flip.before} → {flip.after}: {_shown_of_all(flip)}", head, _examples(flip), lines=True))
    if item.unheard:
        rows = [(kind.kind, kind.detail or "", f"{kind.signals:,}", kind.why) for kind in item.unheard]
        out.print(_table("Signals without a rule", ("signal", "name", "count", "why"), rows))


def show_explanation(item: wire.LabelExplanation, *, as_json: bool) -> None:
    """Prints the sentence and a table of the signals, or the whole explanation as JSON."""
    if not as_table(as_json):
        print_json(item.model_dump(mode="json"))
        return
    out = console()
    out.print(f"{item.sentence}\n")
    rows = [
        (
            when(signal.occurred_at),
            signal.actor,
            _words(signal.signal),
            signal.says or "–",
            signal.label,
            f"{signal.weight:g}" if signal.says else "",
            "✓" if signal.counts else "",
            signal.why,
        )
        for signal in item.signals
    ]
    out.print(_table(None, ("at", "actor", "signal", "says", "label", "weight", "counts", "why"), rows))
    for text in item.texts:
        out.print(
            f"Corrected text, desirable at weight {text.weight:g}, by {', '.join(text.actors)}: {_cut(text.text)}"
        )


def _sizes(before: PolicyEffect, after: PolicyEffect) -> list[tuple[str, ...]]:
    def row(name: str, before: float, after: float) -> tuple[str, ...]:
        return name, f"{before:,g}", f"{after:,g}", _change(before, after)

    rows = []
    for name in ("desirable", "undesirable"):
        sizes: Sequence[ClassSize] = [getattr(effect, name) for effect in (before, after)]
        rows.append(row(f"{name} rows", sizes[0].rows, sizes[1].rows))
        rows.append(row(f"{name} weight", sizes[0].weight, sizes[1].weight))
        rows.append(row(f"{name}, text not known yet", sizes[0].without_text, sizes[1].without_text))
    rows.append(row("nothing", before.nothing, after.nothing))
    guards = (before.guards, after.guards)
    rows.append(row("actors in quarantine", *(guard.quarantined_actors for guard in guards)))
    rows.append(row("votes in quarantine", *(guard.quarantined_votes for guard in guards)))
    rows.append(row("rows with less weight by a cap", *(guard.capped_rows for guard in guards)))
    rows.append(row("weight after the caps", *(round(guard.weight_after_caps, 1) for guard in guards)))
    return rows


def _signals(before: PolicyEffect, after: PolicyEffect) -> list[tuple[str, ...]]:
    says: dict[str, list[str]] = {}
    counts: dict[str, dict[str, list[int]]] = {}
    for side, effect in enumerate((before, after)):
        for signals in effect.signals:
            name = f"{signals.kind} {signals.detail or ''}".rstrip()
            says.setdefault(name, ["–", "–"])[side] = signals.says or "–"
            by_label = counts.setdefault(name, {label: [0, 0] for label in LABELS})
            for label in LABELS:
                by_label[label][side] += getattr(signals, label)
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
        for reasons in effect.reasons:
            rows.setdefault((reasons.label, reasons.reason), [0, 0])[side] = reasons.rows
    return [
        (reason, label, f"{old:,}", f"{new:,}", _change(old, new))
        for (label, reason), (old, new) in sorted(rows.items())
    ]


def _flips(flips: Iterable[Flip]) -> list[tuple[str, ...]]:
    counts = {(flip.before, flip.after): flip.completions for flip in flips}
    return [(old, *(_count(counts.get((old, new), 0)) or "–" for new in LABELS)) for old in LABELS]


def _examples(flip: Flip) -> list[tuple[str, ...]]:
    return [
        (
            example.completion_id,
            "\n".join(example.signals),
            _verdict(example.before),
            _verdict(example.after),
            f"{_cut(example.prompt)}\n→ {_cut(example.completion)}",
        )
        for example in flip.examples
    ]


def _verdict(verdict: wire.previews.Verdict) -> str:
    weight = f" {verdict.weight:g}" if verdict.weight else ""
    return "\n".join((verdict.label + weight, *verdict.reasons))


def _shown_of_all(flip: Flip) -> str:
    shown, total = len(flip.examples), flip.completions
    return f"{shown} of {total:,}" if shown < total else f"{total:,}"


def _words(signal: Mapping[str, object]) -> str:
    values = (str(value) for name, value in signal.items() if name != "kind" and value is not None)
    return _cut(" ".join((str(signal.get("kind")), *values)), 60)


def _cut(text: str | None, characters: int = TEXT_CHARACTERS) -> str:
    if text is None:
        return "text not known"
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def _named(effect: PolicyEffect) -> str:
    return f"{effect.name} (version {effect.version})" if effect.version is not None else f"{effect.name} (not stored)"


def _change(before: float, after: float) -> str:
    return "" if before == after else f"{after - before:+,g}"


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
