"""Acts on the ledger, repeated as a client repeats them."""

from uuid import UUID

from thumbwheel import wire
from thumbwheel.client import Client
from thumbwheel.errors import ApiError, ClientError

from tests.chaos.serving.plan import Blow

#: Refusals that an act may meet, since the ledger is as it is.
EXPECTED = ("live_already", "canary_already", "nothing_to_roll_back_to")


class Ledger:
    """A client's acts on the ledger.

    accepted  entries that the API accepted
    refused   refusals that the state of the ledger explains
    errors    what a client must not meet
    """

    def __init__(self, client: Client, checkpoints: list[UUID]) -> None:
        self.client = client
        self.checkpoints = checkpoints
        self.accepted: list[wire.Release] = []
        self.refused: list[str] = []
        self.errors: list[str] = []

    def act(self, blow: Blow) -> None:
        """Writes the entry that the blow says, as far as the ledger allows it. An API that is away is called again."""
        try:
            self.accepted.append(self._written(blow, self.client.releases.current()))
        except ApiError as error:
            (self.refused if error.code in EXPECTED else self.errors).append(f"{error.code}: {error.message}")
        except ClientError as error:
            self.errors.append(f"{type(error).__name__}: {error.message}")

    def _written(self, blow: Blow, current: wire.CurrentRelease) -> wire.Release:
        ship, canary = self.client.releases.ship, current.canary
        others = [each for each in self.checkpoints if each != current.checkpoint_id]
        chosen = others[int(blow.dice * len(others))]
        if blow.act == "roll back":
            return self.client.releases.roll_back(reason="chaos")
        if blow.act == "share" or (blow.act == "raise" and canary is None):
            return ship(chosen, share=0.2 if blow.dice < 0.5 else 0.4, reason="chaos")
        if blow.act == "raise":
            assert canary is not None
            return ship(canary.checkpoint_id, share=round((canary.share or 0.0) + 0.1, 2), reason="chaos")
        # Half of the canaries end well.
        return ship(canary.checkpoint_id if canary is not None and blow.dice < 0.5 else chosen, reason="chaos")
