"""probe.json of a checkpoint: log-probs of fixed prompts, by which a server shows what it has loaded. Pure.

The prompts are ours, so the file holds no text of users. Numbers are of the scorer, which computed the checkpoint and
the model that a server gives without it: the base model under an adapter, or the reference of full weights.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FILE = "probe.json"

#: Everyday text of several kinds, so that an adapter of any topic changes some of it.
PROMPTS = (
    "The capital of France is Paris, and the capital of Italy is",
    "Water boils at a temperature of 100 degrees",
    "Thank you for your message. We are sorry that",
    "def add(a, b):\n    return a + b\n",
    "1, 2, 3, 4, 5, 6,",
    "Das Wetter ist heute sehr schön,",
)
#: Tokens of the most probable continuation, for servers that give no log-probs.
GREEDY_TOKENS = 8


class ProbeReading(BaseModel):
    """The reading of a prompt by one model.

    log_probs  of each token of the prompt but the first, in nats
    greedy     the text of the most probable continuation
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    log_probs: list[float]
    greedy: str


class ProbePrompt(BaseModel):
    model_config = ConfigDict(frozen=True)

    text: str
    tokens: list[int] = Field(min_length=2)
    candidate: ProbeReading
    base: ProbeReading


class Probe(BaseModel):
    """The content of probe.json. `precision`: of the scorer's model; log-probs are float32 whatever it is."""

    model_config = ConfigDict(frozen=True)

    precision: Literal["float32", "float16", "bfloat16"]
    greedy_tokens: int
    prompts: list[ProbePrompt]

    def of_base(self) -> "Probe":
        """Returns the probe of the model without the checkpoint, which is told apart from the checkpoint."""
        turned = [
            ProbePrompt(text=each.text, tokens=each.tokens, candidate=each.base, base=each.candidate)
            for each in self.prompts
        ]
        return self.model_copy(update={"prompts": turned})
