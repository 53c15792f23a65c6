"""The judgement of one reply of a model to each held-out ticket."""

from collections.abc import Mapping, Sequence

from worker.demo import sampling
from worker.demo.language import Ticket, reasons_against
from worker.demo.sampling import SampledReply, log_probabilities


def outcomes(
    model: sampling.Desk, others: Mapping[str, sampling.Desk], tickets: Sequence[Ticket], seed: int, prefix: str = ""
) -> dict[str, list[float]]:
    """Returns, for each ticket, the judgement of one sampled reply, its words, and its log-ratio to each other model.

    The mean of the log-ratios, in nats, estimates KL(model ‖ other) per reply. The others see the plain prompt, the
    model sees it after `prefix`.
    """
    replies = sampling.sample(model, [prefix + ticket.prompt for ticket in tickets], seed)
    faults = [reasons_against(ticket, reply.text) for ticket, reply in zip(tickets, replies, strict=True)]
    own = log_probabilities(model, replies)
    result: dict[str, list[float]] = {
        "good": [int(not reasons) for reasons in faults],
        "invented_refund": [int("invented refund" in reasons) for reasons in faults],
        "unclear": [int("unclear" in reasons) for reasons in faults],
        "words": [len(reply.text.split()) for reply in replies],
    }
    for name, other in others.items():
        plain_prompts: list[list[int]] = other.tokenizer([ticket.prompt for ticket in tickets])["input_ids"]
        unprefixed = [
            SampledReply(prompt, reply.token_ids, reply.text)
            for prompt, reply in zip(plain_prompts, replies, strict=True)
        ]
        result[name] = [round(value, 5) for value in (own - log_probabilities(other, unprefixed)).tolist()]
    return result
