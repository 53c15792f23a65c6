"""The objectives by their names in recipes, with the inputs that each needs."""

from collections.abc import Mapping

from thumbwheel.wire.recipe import ObjectiveName

from worker.training.objectives.apo_zero_unpaired import apo_zero_unpaired
from worker.training.objectives.bco import bco
from worker.training.objectives.dpo import dpo
from worker.training.objectives.ipo import ipo
from worker.training.objectives.kto import kto
from worker.training.objectives.mo_kto import mo_kto
from worker.training.objectives.orpo import orpo
from worker.training.objectives.ppo_clip import ppo_clip
from worker.training.objectives.sft import sft
from worker.training.objectives.signature import LogProbs, Losses, Objective, TokenLogProbs
from worker.training.objectives.simpo import simpo
from worker.training.objectives.slic import slic
from worker.training.objectives.tkto import tkto

OBJECTIVES: Mapping[ObjectiveName, Objective] = {
    "kto": Objective(kto, data="rows", mismatched=True),
    "apo_zero_unpaired": Objective(apo_zero_unpaired, data="rows"),
    "bco": Objective(bco, data="rows", running=True),
    "ppo_clip": Objective(ppo_clip, data="rows", by_token=True),
    "tkto": Objective(tkto, data="rows", mismatched=True, by_token=True),
    "mo_kto": Objective(mo_kto, data="rows", mismatched=True, labels=True),
    "sft": Objective(sft, data="desirable rows", reference=False),
    "dpo": Objective(dpo, data="pairs"),
    "ipo": Objective(ipo, data="pairs"),
    "slic": Objective(slic, data="pairs"),
    "simpo": Objective(simpo, data="pairs", reference=False),
    "orpo": Objective(orpo, data="pairs", reference=False),
}

__all__ = ["OBJECTIVES", "LogProbs", "Losses", "Objective", "TokenLogProbs"]
