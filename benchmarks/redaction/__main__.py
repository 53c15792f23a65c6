"""`make bench-redaction`: precision and recall of the detectors of personal data and secrets, and their speed.

Made texts in eleven languages hold values with known spans, or what only looks like one. A data set of others is read
if it is given by --presidio-research. If phonenumbers or Presidio are installed, they read the same texts. The speed is
measured on the made texts, on this repository's documentation, and on hostile texts. If there is real feedback in the
folder --data, all that is found in it is counted, and with --show printed, for a person to judge.

Progress goes to stderr, tables and, in the last line, all figures as one JSON object go to stdout. A whole run is also
written to --out. Exit codes: 0 done, 2 invalid arguments.
"""

import argparse
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.durable import write_atomically
from app.privacy.redaction.detection import find as find_kinds
from app.privacy.redaction.findings import BUILT_IN_KINDS, DetectedSpan
from benchmarks.machine import described
from benchmarks.redaction import hostile, peers
from benchmarks.redaction.corpus import negatives, positives
from benchmarks.redaction.external import measured_on
from benchmarks.redaction.figures import Finder, measured, table

ROOT = Path(__file__).parents[2]
KINDS = frozenset(BUILT_IN_KINDS)
#: The detectors were written with texts of other seeds in view.
SEED, EACH, FEW = 2026, 1000, 100
#: Fields of an event that hold no text of people.
NOT_TEXT = frozenset({"id", "source", "licence", "meta"})
AROUND = 40


def main() -> int:
    options = _options()
    each = FEW if options.quick else EACH
    report: dict[str, Any] = {"benchmark": "redaction", "seed": SEED, "texts_of_each_group": each}
    report |= measured(find, positives(SEED, each), negatives(SEED, each))
    print(table(report))
    report["peers"], report["presidio_research"] = {}, {}
    readers: dict[str, Finder] = {"ours": find}
    for name, finder, kinds in peers.installed():
        print(f"Reading with {name}", file=sys.stderr, flush=True)
        report["peers"][name] = _compared(finder, kinds, FEW)
        readers[name] = finder
    if options.presidio_research is not None:
        report["presidio_research"] = {
            name: measured_on(reader, options.presidio_research) for name, reader in readers.items()
        }
    made = [text.text for text in (*positives(SEED, FEW), *negatives(SEED, FEW))]
    documents = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))]
    report["megabytes_per_second"] = {"made texts": _speed(find, made), "documentation": _speed(find, documents)}
    report["hostile_seconds_per_megabyte"] = {name: _seconds(find, [text]) for name, text in hostile.texts().items()}
    report["real_text"] = _real_text(options.data / "events", show=options.show)
    report["machine"] = described("google-re2")
    print(f"\nMegabytes per second: {report['megabytes_per_second']}")
    print(f"Slowest hostile text: {max(report['hostile_seconds_per_megabyte'].items(), key=lambda pair: pair[1])}")
    if not options.quick:
        write_atomically(options.out, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    print(json.dumps(report, ensure_ascii=False))
    return 0


def find(text: str) -> list[DetectedSpan]:
    return find_kinds(text, KINDS)


def _compared(finder: Finder, kinds: frozenset[str], each: int) -> dict[str, Any]:
    """Returns figures of a peer and ours on the groups of its kinds and on all lookalikes."""
    own_groups = [made for made in positives(SEED, each) if made.kind in kinds]
    lookalikes = list(negatives(SEED, each))
    texts = [made.text for made in (*own_groups, *lookalikes)]

    def ours(text: str) -> Sequence[tuple[str, int, int]]:
        return find_kinds(text, kinds)

    both = {"theirs": finder, "ours": ours}
    return {
        side: {**measured(reader, own_groups, lookalikes), "megabytes_per_second": _speed(reader, texts)}
        for side, reader in both.items()
    }


def _seconds(finder: Finder, texts: Sequence[str]) -> float:
    started = time.process_time()
    for text in texts:
        finder(text)
    return round(time.process_time() - started, 3)


def _speed(finder: Finder, texts: Sequence[str]) -> float:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    return round(megabytes / max(_seconds(finder, texts), 1e-3), 2)


def _real_text(folder: Path, *, show: bool) -> dict[str, Any] | None:
    """Returns how much is found in each file of feedback; None without files."""
    report: dict[str, Any] = {}
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts = sorted({text for line in file for text in _strings(json.loads(line))})
        started = time.process_time()
        found = [(text, span) for text in texts for span in find(text)]
        seconds = time.process_time() - started
        report[path.name] = {
            "megabytes": round(sum(len(text.encode()) for text in texts) / 1e6, 2),
            "texts": len(texts),
            "found": dict(Counter(span.kind for _, span in found)),
            "seconds": round(seconds, 2),
        }
        for text, span in found if show else ():
            before, after = text[max(0, span.start - AROUND) : span.start], text[span.end : span.end + AROUND]
            print(f"{path.name} {span.kind}: {before!r} {text[span.start : span.end]!r} {after!r}", file=sys.stderr)
    return report or None


def _strings(value: Any) -> Iterator[str]:
    """Yields all texts of people within a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in NOT_TEXT:
                yield from _strings(item)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-redaction", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the texts; nothing is written to --out")
    parser.add_argument("--show", action="store_true", help="print to stderr what is found in real text")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder with events/")
    parser.add_argument(
        "--presidio-research", type=Path, help="synth_dataset_v2.json of github.com/microsoft/presidio-research"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "redaction.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
