"""Runs the story over HTTP, as a product backend and an operator would, in some rounds of the loop.

In a round, the live model drafts replies, simulated users vote, the volume rule starts a run, its checkpoint passes the
gates and ships, and its replies to tickets without votes are compared with earlier ones. The story itself
starts no run, except for one that is to be refused: the full story ends with a careless recipe.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import UUID

from thumbwheel import Client, ClientError, wire

from worker.demo import sampling
from worker.demo.base_model import base_model
from worker.demo.language import Ticket, new_ticket
from worker.demo.measure import Figure, Measured, kl_nats, measured
from worker.demo.narrator import Narrator, sentence_of
from worker.demo.replay import Replay, replay_of
from worker.demo.report import Chapter, RefusedCandidate
from worker.demo.sampling import Desk
from worker.demo.users import User, some_users
from worker.demo.votes import draft_replies, expected_labels, votes

PROJECT = "support-desk"
#: The recipe of every round, over the preset. Two passes are too few for the votes of a later round, and its rare
#: undesirable rows are not weighed up, as many of them are mistakes of the users (docs/lab-notes.md, 2026-11-30).
LEARNING_RATE, EPOCHS = 3e-4, 4
ROUNDS, ROUNDS_IF_FULL = 2, 3
DRAFTS = 3000
#: Number of the last model's replies that users vote on, for its approval.
LAST_DRAFTS = 600
#: The same for the full story, whose last run needs 200 labels of each class: of a good model few are undesirable.
LAST_DRAFTS_IF_FULL = 2400
USERS = 200
HELD_OUT = 800
#: Share of the labels expected from the votes, in the rarer class, at which the run starts.
TRIGGER_SHARE = 0.85
TRIGGER_SECONDS = 120
APPROVAL_SECONDS = 30
#: A recipe that lets the model run away from the reference: a weak pull, a learning rate ten times too high, and rare
#: undesirable rows, of which many are mistakes, weighed up. On the desk's second model it gave 18 % good replies and a
#: drift of 2.5 nats a token; without weighing up, the drift stayed within the budget of the toy gates.
CARELESS = wire.RecipeChanges(learning_rate=3e-3, beta=0.02, epochs=2, weigh_up="either")
POLL_SECONDS = 0.3


class Trouble(Exception):
    """The story cannot continue; the message is one sentence for people."""


@dataclass(frozen=True)
class Model:
    """One model of the story with its figures."""

    name: str
    checkpoint_id: UUID
    desk: Desk
    measured: Measured
    kl_to_base: Figure | None = None
    kl_to_previous: Figure | None = None
    replay: Replay | None = None


@dataclass(frozen=True)
class StoryOutcome:
    """The outcome of a story. `refused` is None unless the story is full."""

    tickets: list[Ticket]
    chapters: list[Chapter]
    refused: RefusedCandidate | None


@dataclass(frozen=True)
class Story:
    client: Client
    narrator: Narrator
    cache: Path  # base models of earlier calls
    folder: Path  # for pulled checkpoints; the caller removes it
    seed: int
    full: bool = False

    @property
    def rounds(self) -> int:
        return ROUNDS_IF_FULL if self.full else ROUNDS

    def run(self) -> StoryOutcome:
        """Runs the story and returns the held-out tickets and each model with its figures.

        Raises `Trouble`, `ClientError`, `OSError`.
        """
        rng = Random(self.seed)
        users = some_users(USERS, rng)
        tickets = list({ticket.prompt: ticket for ticket in (new_ticket(rng) for _ in range(HELD_OUT))}.values())
        models = [self._base(tickets)]
        for number in range(1, self.rounds + 1):
            models.append(self._round(number, models, tickets, users))
        self.narrator.headline("Last votes: the users of the last model")
        self.client.projects.change(wire.ProjectChange(trigger=wire.TriggerRules()))
        drafts = LAST_DRAFTS_IF_FULL if self.full else LAST_DRAFTS
        self._vote(models[-1], users, tickets, drafts, self.rounds + 1)
        refused = self._careless(models[-1], tickets) if self.full else None
        approvals = self._approvals(models[-1].checkpoint_id)
        chapters = [_chapter(model, approvals.get(model.checkpoint_id)) for model in models]
        return StoryOutcome(tickets, chapters, refused)

    def _base(self, tickets: list[Ticket]) -> Model:
        self.narrator.headline("A support desk gets a language model")
        with self.narrator.bar("learning to write replies") as report:
            folder = base_model(
                self.cache, self.seed, lambda step, steps, loss: report(step, steps, f"loss {loss:.2f}")
            )
        self.client.projects.create(
            wire.NewProject(
                suites=[],
                project=PROJECT,
                base_model=str(folder.absolute()),
                recipe=self._recipe(),
                snapshot=wire.SnapshotRules(events="shipped"),
                gates="toy",
            )
        )
        desk = sampling.load(folder)
        figures = measured(desk, tickets, self.seed)
        self.narrator.says(f"{figures.good_share.value:.0%} of its replies are good.")
        return Model("before", self.client.releases.current().checkpoint_id, desk, figures)

    def _recipe(self) -> wire.RecipeChoice:
        changes = wire.RecipeChanges(
            seed=self.seed,
            learning_rate=LEARNING_RATE,
            epochs=EPOCHS,
            evaluation=wire.Evaluation(kl_max_new_tokens=sampling.MAX_NEW_TOKENS),
        )
        return wire.RecipeChoice(preset="cpu-demo", changes=changes)

    def _round(self, number: int, models: list[Model], tickets: list[Ticket], users: list[User]) -> Model:
        live = models[-1]
        self.narrator.headline(f"Round {number}: users vote, the model learns")
        known = {run.id for run in self.client.runs.list()}
        shown = self._vote(live, users, tickets, DRAFTS, number)
        checkpoint = self._checkpoint_of(self._run_that_starts(known))
        if checkpoint.verdict != "passed":
            raise Trouble(f"The checkpoint may not ship: {' '.join(checkpoint.reasons)}")
        self.client.releases.ship(checkpoint.id, reason=f"round {number} of the demo")
        self.narrator.says("Its checkpoint passed the gates and is live now.")
        folder = self.folder / f"round-{number}"
        self.client.checkpoints.pull(checkpoint.id, folder)
        desk = sampling.load(folder)
        figures = measured(desk, tickets, self.seed)
        self.narrator.says(f"{figures.good_share.value:.0%} of its replies are good.")
        replay = replay_of(self.client.checkpoints.samples(checkpoint.id), {ticket.prompt: ticket for ticket in shown})
        if replay is not None:
            self.narrator.says(replay.sentence())
        return Model(
            f"round {number}",
            checkpoint.id,
            desk,
            figures,
            kl_to_base=kl_nats(desk, models[0].desk, figures.replies),
            kl_to_previous=kl_nats(desk, live.desk, figures.replies),
            replay=replay,
        )

    def _careless(self, live: Model, tickets: list[Ticket]) -> RefusedCandidate:
        """Trains on the last votes with a careless recipe, and returns the checkpoint that the gates refuse.

        Raises `Trouble` if the gates let it pass, or if it ships although they do not.
        """
        self.narrator.headline("Somebody raises the learning rate tenfold")
        note = "a recipe to be refused"
        checkpoint = self._checkpoint_of(self.client.runs.start(wire.NewRun(changes=CARELESS, note=note)))
        if checkpoint.verdict == "passed":
            raise Trouble("The gates let a careless recipe pass.")
        self.narrator.says(f"The gates say: {checkpoint.verdict}.")
        for reason in checkpoint.reasons:
            self.narrator.says(f"– {reason}")
        try:
            self.client.releases.ship(checkpoint.id, reason="the end of the demo")
        except ClientError as error:
            self.narrator.says(f"Nobody can ship it by accident: {error}")
        else:
            raise Trouble(f"Checkpoint {checkpoint.id} was shipped although its verdict is {checkpoint.verdict}.")
        folder = self.folder / "careless"
        self.client.checkpoints.pull(checkpoint.id, folder)
        figures = measured(sampling.load(folder), tickets, self.seed)
        self.narrator.says(
            f"{figures.good_share.value:.0%} of its replies would have been good, against "
            f"{live.measured.good_share.value:.0%} of the live model's."
        )
        return RefusedCandidate(str(checkpoint.id), checkpoint.verdict, list(checkpoint.reasons), figures)

    def _vote(self, live: Model, users: list[User], tickets: list[Ticket], count: int, number: int) -> list[Ticket]:
        """Posts the users' votes on the live model's replies; in a round, first sets its recipe and trigger rule.

        Returns the tickets whose replies were shown.
        """
        seed = self.seed * 10 + number
        held_out = {ticket.prompt for ticket in tickets}
        self.narrator.says(f"The model drafts {count:,} replies.")
        drafts = draft_replies(live.desk, count, f"round{number}", seed, held_out)
        events = votes(drafts, users, live.checkpoint_id, seed)
        if number <= self.rounds:
            enough = int(TRIGGER_SHARE * min(expected_labels(events)))
            trigger = wire.TriggerRules(new_per_class=enough)
            self.client.projects.change(wire.ProjectChange(trigger=trigger, recipe=self._recipe()))
            self.narrator.says(f"A run starts automatically after {enough} new labels of each class.")
        receipt = self.client.events.record_many(events)
        if receipt.rejected:
            raise Trouble(f"The API rejected {receipt.rejected} of {len(events)} votes: see the items of the batch.")
        ups = sum(isinstance(event.signal, wire.Thumbs) and event.signal.value == "up" for event in events)
        edits = sum(isinstance(event.signal, wire.Edit) for event in events)
        self.narrator.says(
            f"Users voted {len(events):,} times: {ups / len(events):.0%} 👍, "
            f"{(len(events) - ups - edits) / len(events):.0%} 👎, {edits / len(events):.0%} edited the reply."
        )
        return [draft.ticket for draft in drafts]

    def _approvals(self, last: UUID) -> dict[UUID, wire.Approval]:
        """Returns the approvals by checkpoint. Those of a large log are computed in the background, so this waits a
        while for that of the `last` one.
        """
        deadline = time.monotonic() + APPROVAL_SECONDS
        while True:
            approvals = {approval.checkpoint_id: approval for approval in self.client.checkpoints.approvals()}
            if last in approvals or time.monotonic() > deadline:
                return approvals
            time.sleep(POLL_SECONDS)

    def _run_that_starts(self, known: set[UUID]) -> wire.Run:
        deadline = time.monotonic() + TRIGGER_SECONDS
        while time.monotonic() < deadline:
            for run in self.client.runs.list():
                if run.id not in known:
                    self.narrator.says(f"A run starts: {run.trigger}")
                    return run
            time.sleep(POLL_SECONDS)
        reason = next(
            (decision.reason for decision in self.client.runs.trigger_decisions()), "no decision was made at all"
        )
        raise Trouble(f"No run started within {TRIGGER_SECONDS} s of the votes: {reason}")

    def _checkpoint_of(self, run: wire.Run) -> wire.Checkpoint:
        """Waits for the run and returns its checkpoint, whatever its verdict. Raises `Trouble` if the run fails."""
        with self.narrator.bar("KTO") as report:
            while run.finished_at is None:
                report(run.phase_done, run.phase_total, sentence_of(run))
                time.sleep(POLL_SECONDS)
                run = self.client.runs.get(run.id)
            report(run.phase_done, run.phase_total, run.state)
        if run.checkpoint_id is None:
            raise Trouble(f"The run {run.state}: {run.reason or 'it gave no reason'}")
        return self.client.checkpoints.get(run.checkpoint_id)


def _chapter(model: Model, approval: wire.Approval | None) -> Chapter:
    figure = None
    if approval and approval.approval is not None and approval.low is not None and approval.high is not None:
        figure = Figure(approval.approval, approval.low, approval.high)
    return Chapter(
        model.name,
        str(model.checkpoint_id),
        model.measured,
        figure,
        model.kl_to_base,
        model.kl_to_previous,
        model.replay,
    )
