"""`thumbwheel import` with every file of the formats of other tools, of real events and of exports, twice.

Both tests print a table of the outcomes; `pytest -s` shows it.
"""

import gzip
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from app.feedback import importing
from app.feedback.importing import Imported, Registered, Rejected, Silent, shapes
from tests.feedback.importing.test_exports import EXPORTS, OUTCOMES, rows
from tests.feedback.importing.test_formats import FORMATS

#: Files whose records are those of another file before them: equal content has equal ids.
REPEATED = {
    "trl_preference_implicit_prompt.jsonl": "axolotl_dpo_argilla_chat.jsonl",
    "ms_swift_kto.jsonl": "llamafactory_kto_openai_messages.json",
    "anythingllm_chats.json": "anythingllm_chats.csv",
}
#: Of files that are the same export a day later: the number of events that are as before, that changed with a newer
#: time, and that changed without one.
LATER = {"dify_feedback_export.json": (10, 0, 1), "openwebui_feedback_history_later.json": (1, 2, 0)}
_COLUMNS = (
    "File", "Shape", "Stored", "Registered", "Replayed", "Superseded", "Rejected, by reason", "Says nothing",
    "Second run",
)  # fmt: skip
HEAD = 40  # records of each file of events


def test_every_file_goes_in_once(cli, client, shared_data, tmp_path):
    first, second = imported_twice(cli, [*formats(shared_data), *events(shared_data, tmp_path, HEAD), *exports()])

    for outcome, (name, (kept, rejected, silent)) in zip(first, FORMATS.items(), strict=False):
        assert (name, outcome["registered"]) == (name, kept.get("registered", 0))
        assert (name, outcome["rejected"], outcome["silent"]) == (name, sum(rejected.values()), sum(silent.values()))
    for again, (name, (kept, _, _)) in zip(second, FORMATS.items(), strict=False):
        assert (name, again["replayed"]) == (name, sum(kept.values()))
    judged = client.completions.explain_label("019950f7-974d-792c-b961-554bac954ab5")  # by two files of TensorZero
    assert (judged.label, judged.completion) == ("desirable", "Why?  Don't you like the elderly?")
    for about, label in (("208", "undesirable"), ("212", "desirable")):  # tickets: 208 was rated good, later bad
        assert client.completions.explain_label(about).label == label


@pytest.mark.trial
def test_whole_files_of_events_go_in_once(cli, shared_data, tmp_path):
    imported_twice(cli, events(shared_data, tmp_path, None))


def formats(shared_data: Path) -> list[Path]:
    return [shared_data / "formats" / name for name in FORMATS]


def exports() -> list[Path]:
    return [EXPORTS / name for name in OUTCOMES]


def events(shared_data: Path, folder: Path, head: int | None) -> list[Path]:
    """Returns the files of events, or the first records of each."""
    files = sorted((shared_data / "events").glob("*.jsonl.gz"))
    if head is None:
        return files
    heads = []
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            heads.append(folder / file.name.removesuffix(".gz"))
            heads[-1].write_text("".join(islice(lines, head)), encoding="utf-8")
    return heads


def imported_twice(cli, files: list[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Imports the files twice, requires what they hold to be stored once, and prints a table of the outcomes."""
    first, second = cli("import", *files), cli("import", *files)

    assert {first.code, second.code} <= {0, 1}, first.err
    table = [" | ".join(("", *_COLUMNS, "")).strip(), "|---" * len(_COLUMNS) + "|"]
    for file, outcome, again in zip(files, first.document, second.document, strict=True):
        name = outcome["file"]
        kinds = Counter(map(type, importing.read(file)))
        held = kinds[Imported]
        same, changed, conflicts = LATER.get(name, (held if name in REPEATED else 0, 0, 0))
        assert (name, outcome["stored"], outcome["replayed"]) == (name, held - same - changed - conflicts, same)
        assert (name, outcome["registered"], outcome["superseded"]) == (name, kinds[Registered], changed)
        assert (name, outcome["rejected"]) == (name, kinds[Rejected] + conflicts)
        assert (name, outcome["silent"]) == (name, kinds[Silent])
        assert (name, again["stored"], again["registered"], again["superseded"]) == (name, 0, 0, 0)
        assert (name, again["replayed"]) == (name, held + kinds[Registered] - conflicts)
        table.append(_row(file, outcome, again))
    sys.stdout.write("\n".join(("", *table, "")))
    return first.document, second.document


def _row(file: Path, outcome: dict[str, Any], again: dict[str, Any]) -> str:
    reasons = {reason: count for reason, count in outcome["reasons"].items() if reason not in outcome["says_nothing"]}
    cells = [
        file.name,
        _shape(file),
        *(f"{outcome[count]:,}" for count in ("stored", "registered", "replayed", "superseded")),
        "; ".join(f"{count} × {_short(reason)}" for reason, count in reasons.items()) or "0",
        f"{outcome['silent']:,}",
        f"stores nothing, replays {again['replayed']:,}",
    ]
    return "| " + " | ".join(cells) + " |"


def _shape(file: Path) -> str:
    if file.suffix == ".gz":
        return "rows"
    found = (shapes.find(row, textual=textual) for row, textual in rows(file) if isinstance(row, dict))
    return ", ".join(dict.fromkeys(shape.name for shape in found if shape is not None))


def _short(reason: str) -> str:
    text = " ".join(reason.split()).replace("|", "\\|")
    return text if len(text) <= 70 else f"{text[:69]}…"
