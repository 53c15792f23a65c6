"""Writes `thumbs.jsonl`: replies of the demo's support desk with one thumb each, in the format of TRL's trainers.

python examples/make_thumbs.py > examples/thumbs.jsonl
"""

import json
from random import Random

from worker.demo.language import good, new_ticket, typical_reply

ROWS = 300


def main() -> None:
    rng = Random(7)
    for _ in range(ROWS):
        ticket = new_ticket(rng)
        reply = typical_reply(ticket, rng)
        print(json.dumps({"prompt": ticket.prompt, "completion": reply, "label": good(ticket, reply)}))


if __name__ == "__main__":
    main()
