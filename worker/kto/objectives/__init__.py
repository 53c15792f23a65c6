"""Objectives by the name that a recipe calls them, and what each has to be given."""

from collections.abc import Mapping

from worker.kto.objectives.kto import kto
from worker.kto.objectives.signature import LogProbs, Losses, Objective, TokenLogProbs

OBJECTIVES: Mapping[str, Objective] = {
    "kto": Objective(kto, data="rows", mismatched=True),
}

__all__ = ["OBJECTIVES", "LogProbs", "Losses", "Objective", "TokenLogProbs"]
