"""Imports files of feedback as events and completions.

files ─sources─▶ bytes ─containers─▶ records ─shapes─▶ drafts ─conversion─▶ items ─sending─▶ log, outcomes

for item in importing.read(path):
    match item:
        case importing.Imported(line, event): …                    send it
        case importing.Registered(line, completion_id, body): …    register it
        case importing.Rejected(line, reason): …                   broken: report it
        case importing.Silent(line, reason): …                     valid, but without a judgement: count it
"""

from app.feedback.importing.items import Imported, Item, Registered, Rejected, Silent
from app.feedback.importing.outcomes import ImportOutcome, outcome_of
from app.feedback.importing.reading import ImportChoices, SourceReading, choices, read, read_source
from app.feedback.importing.sending import send_source
from app.feedback.importing.sources import Source, in_file, sources_of

__all__ = [
    "ImportChoices",
    "ImportOutcome",
    "Imported",
    "Item",
    "Registered",
    "Rejected",
    "Silent",
    "Source",
    "SourceReading",
    "choices",
    "in_file",
    "outcome_of",
    "read",
    "read_source",
    "send_source",
    "sources_of",
]
