"""The view of a run at a terminal: its progress, and its figures as sparklines."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from thumbwheel import wire

from app.cli.listing import figure, seconds, when
from app.cli.sparklines import BLOCKS, PLAIN, sparkline
from app.runs.states import TERMINAL

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

#: Title, name of the metric, unit after the number.
SHOWN = (
    ("loss", "loss", ""),
    ("margin", "margin", ""),
    ("z0", "z0", ""),
    ("drift", "kl_nats_per_token", " nats/token"),
)
MOST_STEPS = 4000
WIDEST_BAR, WIDEST_LINE = 40, 60


class Board:
    """The current state of a run, collected from its events; rich draws it."""

    def __init__(self) -> None:
        self.now: wire.RunProgressEvent | None = None
        #: The newest value of each metric; some, such as drift, are measured only a few times in a run.
        self.figures: dict[str, Any] = {}
        self.note = ""
        self._steps: dict[int, Mapping[str, Any]] = {}

    def take(self, event: wire.AnyRunEvent) -> None:
        if isinstance(event, wire.RunProgressEvent):
            self.now = event
        elif isinstance(event, wire.RunMetricsEvent):
            self.step(event.step, event.values)
        elif isinstance(event, wire.RunTransitionEvent):
            self.note = transition_line(event)
        elif isinstance(event, wire.RunWarningEvent):
            self.note = f"warning: {event.message}"

    def step(self, step: int, values: Mapping[str, Any]) -> None:
        """Stores the metrics of a step; a repeated step replaces the earlier one."""
        self._steps[step] = values
        self.figures |= {name: value for name, value in values.items() if value is not None}
        if len(self._steps) > MOST_STEPS:
            drift = SHOWN[-1][1]
            self._steps = {
                number: metrics
                for number, metrics in self._steps.items()
                if number % 2 or metrics.get(drift) is not None
            }

    @property
    def state(self) -> str:
        """The state of the run, with the reason why it does not proceed."""
        if self.now is None:
            return ""
        if self.now.paused:
            return f"{self.now.state}, paused"
        if self.now.held_up_by:
            return f"{self.now.state}, disk full"
        return f"{self.now.state}, waiting for the run before it" if self.now.waiting else self.now.state

    def line(self) -> str:
        """Returns state, progress, pace and figures as one line of text."""
        now = self.now
        if now is None:
            return ""
        done = f"{now.phase_done}/{now.phase_total}" if now.phase_total else ""
        return "  ".join(part for part in (self.state, done, *self._pace(), *self._figures()) if part)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = self.now
        if now is None:
            return
        done = f"{now.phase_done}/{now.phase_total}" if now.phase_total else ""
        pace = "  ".join(part for part in (done, *self._pace()) if part)
        room = options.max_width - len(self.state) - len(pace) - 4
        head = Table.grid(padding=(0, 2))
        moving = not (now.paused or now.waiting or now.held_up_by)
        if now.state in TERMINAL:
            head.add_row(Text(self.state, style="bold"))
        elif room >= 8:
            bar = ProgressBar(now.phase_total or (None if moving else 1), now.phase_done, width=min(room, WIDEST_BAR))
            head.add_row(Text(self.state, style="bold"), bar, Text(pace))
        else:
            head.add_row(Text(f"{self.state}  {pace}", no_wrap=True, overflow="ellipsis"))
        yield head
        levels = BLOCKS if console.encoding.startswith("utf") else PLAIN
        for title, name, unit in SHOWN:
            values = [value for step in sorted(self._steps) if (value := self._steps[step].get(name)) is not None]
            if values:
                newest = f"  {figure(values[-1])}{unit}"
                width = min(options.max_width - 8 - len(newest), WIDEST_LINE)
                yield Text(f"{title:<8}{sparkline(values, width, levels=levels)}{newest}", no_wrap=True)
        if self.note:
            yield Text(self.note, style="dim", no_wrap=True, overflow="ellipsis")

    def _pace(self) -> list[str]:
        now = self.now
        if now is None or now.paused or now.waiting or now.held_up_by:
            return []
        left = [f"{seconds(now.eta_seconds)} left"] if now.eta_seconds is not None else []
        return left + ([f"{now.tokens_per_second:,.0f} tokens/s"] if now.tokens_per_second is not None else [])

    def _figures(self) -> list[str]:
        last = self.figures
        if not last:
            return []
        rewards = f"{figure(last.get('reward_desirable'), 2)}/{figure(last.get('reward_undesirable'), 2)}"
        parts = [f"loss {figure(last.get('loss'))}", f"rewards {rewards}"]
        if "z0" in last:
            parts.append(f"z0 {figure(last['z0'], 2)}")
        if "kl_nats_per_token" in last:
            parts.append(f"drift {figure(last['kl_nats_per_token'])} nats/token")
        return parts


def transition_line(event: wire.RunTransitionEvent) -> str:
    """Returns a transition as one line: the time, the new state, the reason and its author."""
    state = event.to_state if event.from_state != event.to_state else ""
    reason = event.reason if event.by in event.reason or not event.reason else f"{event.reason} ({event.by})"
    return "  ".join(part for part in (when(event.at), state, reason) if part)
