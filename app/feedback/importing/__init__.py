"""Imports files of feedback as events.

for item in importing.read(path):
    match item:
        case importing.Imported(line, event): …   send it
        case importing.Rejected(line, reason): …  broken: report it
        case importing.Silent(line, reason): …    valid, but without a judgement: count it
"""

from app.feedback.importing.lines import Imported, Rejected, Silent, read

__all__ = ["Imported", "Rejected", "Silent", "read"]
