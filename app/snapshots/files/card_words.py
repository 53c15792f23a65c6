"""The words of the card for reasons, splits, writers, sources of pairs, and sides."""

#: Descriptions of what was left out of the snapshot, by reason.
DROPS = {
    "no_verdict": "completions whose signals are neither positive nor negative",
    "tie": "completions with as much weight for as against",
    "unknown_text": "labelled completions whose text is in no event and was not registered",
    "tool_calls": "completions whose prompt has tool calls or other content that was not trained on then",
    "media_content": "completions whose prompt or answer has an image, audio, video or a file",
    "tool_arguments": "completions whose prompt or answer has a tool call with arguments that are not a JSON object",
    "content_not_text": "completions whose prompt or answer has a part of an unknown kind",
    "duplicate": "rows whose prompt, completion and label another row has",
    "outvoted": "rows whose prompt and completion others labelled the other way with more weight",
    "quarantined": "completions with signals of actors in quarantine alone",
    "capped": "rows that the caps on influence leave no weight",
    "contradiction": "rows whose prompt and completion have both labels with equal weight",
    "never_train": "labelled completions that an event excludes from training",
    "actor_on_both_sides": "training rows of actors who have held-out rows, too (disjoint_actors)",
    "conversation_on_other_side": (
        "rows of prompts that many conversations share, whose own conversation is on the other side"
    ),
    "between_times": "rows of held-out days whose prompts training has from earlier days (holdout_days)",
}
SPLITS = {
    "train": "for training",
    "holdout": "held out permanently, as the prompt decides",
    "later": "held out for now: rows of the latest days with prompts new to training",
}
WRITERS = {
    "reference": "the checkpoint that was live: the reference of the run",
    "others": "other checkpoints",
    "people": "people: texts in place of completions",
    "unknown": "unknown: no `checkpoint_id` was sent",
}
SOURCES = {
    "compared": "compared: the majority prefers the chosen one",
    "edit": "edit: a user wrote the chosen one in place of the rejected one",
    "derived": "derived: a desirable and an undesirable completion of one prompt, which nobody compared",
}
SIDES = {
    "prompts": "Prompts (without system messages)",
    "completions": "Completions",
}
