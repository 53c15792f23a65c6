"""Files of feedback from elsewhere, as events.

for item in importing.read(path):
    match item:
        case importing.Imported(line, event): …   send it
        case importing.Rejected(line, reason): …  broken: say so
        case importing.Silent(line, reason): …    sound, and says nothing: count it
"""

from app.feedback.importing.lines import Imported, Rejected, Silent, read

__all__ = ["Imported", "Rejected", "Silent", "read"]
