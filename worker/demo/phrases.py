"""The sentences of the tiny support desk: all that its customers and its language model ever write.

Pure data. ``{n}`` stands for the order number, ``{item}`` for the item that was bought. The words are plain on purpose:
a reader of one ticket with the replies before and after training should see at once which one is better.
"""

from dataclasses import dataclass
from typing import Literal

Remedy = Literal["refund", "replacement", "repair", "patience", "voucher"]

ITEMS = (
    "kettle", "toaster", "lamp", "chair", "radio", "camera", "phone", "blender", "heater", "clock",
    "mixer", "printer", "keyboard", "mirror", "drill", "tent", "bike", "helmet", "jacket", "sofa",
)  # fmt: skip

#: Ninety numbers, one token each: few enough for a tiny model to learn in a minute to copy them.
ORDER_NUMBERS = tuple(str(number) for number in range(1010, 2000, 11))


@dataclass(frozen=True)
class Situation:
    """The facts of a case, the shop's policy for it, and the customer's words."""

    facts: str
    policy: str
    remedy: Remedy
    complaint: str


SITUATIONS = (
    Situation("lost by the carrier", "full refund", "refund", "My {item} never arrived."),
    Situation("sent back last week", "full refund", "refund", "I sent the {item} back."),
    Situation("cancelled before shipping", "full refund", "refund", "I cancelled the {item}."),
    Situation("bought last month", "free replacement, no refund", "replacement", "My {item} arrived broken."),
    Situation("wrong color sent", "free replacement, no refund", "replacement", "This {item} has the wrong color."),
    Situation("bought three years ago", "paid repair, no refund", "repair", "My {item} stopped working."),
    Situation("shipped yesterday", "two more days, no refund", "patience", "My {item} is late."),
    Situation("used for half a year", "voucher, no refund", "voucher", "I do not like the {item} any more."),
)

WISHES = ("I want my money back!", "Please refund me.", "Can you help me?", "What happens now?")

MOODS = ("calm", "sad", "angry")

POLITE_OPENINGS = (
    "Hello!",
    "Thank you for your message.",
    "Hello and thank you for writing.",
    "I am sorry about your {item}.",
    "I am sorry for the trouble.",
)

POLITE_CLOSINGS = (
    "Have a nice day.",
    "Kind regards from your support desk.",
    "Please write again any time.",
    "Is there anything else I can do?",
)

RUDE = (
    "Please stop complaining.",
    "You should be more careful.",
    "That is not our problem.",
    "We have better things to do.",
    "Next time read the manual.",
)

EVASIVE = (
    "We have great offers this week.",
    "Your opinion is very important to us.",
    "Many customers love this {item}.",
    "Please look at our web site for more.",
    "Our team is the best in town.",
)

PROMISES: dict[Remedy, tuple[str, ...]] = {
    "refund": (
        "I have refunded order {n} in full today.",
        "You get all your money back for order {n}.",
        "The money for order {n} is on its way back to you.",
    ),
    "replacement": (
        "A new {item} for order {n} leaves today.",
        "I am sending you a new {item} for order {n}.",
        "You get a new {item} for order {n} free of charge.",
    ),
    "repair": (
        "We can repair the {item} of order {n} for a small fee.",
        "Please send us the {item} of order {n} for a paid repair.",
    ),
    "patience": (
        "Order {n} will reach you within two days.",
        "Please give order {n} two more days to arrive.",
    ),
    "voucher": (
        "I am sending you a voucher for order {n} today.",
        "For order {n} I can offer you a voucher.",
    ),
}

DETAILS: dict[Remedy, str] = {
    "refund": "It takes three days until the bank shows it.",
    "replacement": "You can keep the old one.",
    "repair": "The repair takes about one week.",
    "patience": "The parcel is already close to you.",
    "voucher": "It is good for one whole year.",
}
