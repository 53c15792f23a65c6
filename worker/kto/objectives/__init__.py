"""Objectives by the name that a recipe calls them."""

from collections.abc import Mapping

from worker.kto.objectives.kto import kto
from worker.kto.objectives.signature import LogProbs, Losses, Objective

OBJECTIVES: Mapping[str, Objective] = {"kto": kto}

__all__ = ["OBJECTIVES", "LogProbs", "Losses", "Objective"]
