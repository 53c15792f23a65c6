"""The shapes of records that are known, a file for each tool: `find` recognises a record by its content. Pure."""

from app.feedback.importing.drafts import Row
from app.feedback.importing.shapes import (
    alpaca,
    anythingllm,
    argilla,
    dify,
    events,
    flowise,
    halos,
    helicone,
    label_studio,
    langfuse,
    langsmith,
    librechat,
    lunary,
    messages,
    mlflow,
    open_webui,
    openai,
    opentelemetry,
    opik,
    phoenix,
    rows,
    sharegpt,
    table,
    tensorzero,
    trl,
    zendesk,
)
from app.feedback.importing.shapes.shape import RecordShape

#: In the order in which they are tried: ours and the most frequent ones, then those with the most telling fields.
SHAPES: tuple[RecordShape, ...] = (
    events.SHAPE,
    rows.SHAPE,
    trl.SHAPE,
    opentelemetry.SHAPE,
    mlflow.SHAPE,
    helicone.SHAPE,
    opik.SHAPE,
    lunary.SHAPE,
    langfuse.INGESTION,
    langfuse.SCORES,
    langfuse.TRACES,
    langsmith.RUNS,
    langsmith.FEEDBACK,
    phoenix.ANNOTATIONS,
    phoenix.SPANS,
    tensorzero.INFERENCES,
    tensorzero.FEEDBACK,
    open_webui.FEEDBACK,
    open_webui.CHATS,
    librechat.SHAPE,
    flowise.SHAPE,
    dify.SHAPE,
    anythingllm.SHAPE,
    argilla.SHAPE,
    label_studio.SHAPE,
    openai.PAIRS,
    openai.STORED,
    openai.WEIGHTED,
    halos.SHAPE,
    messages.SHAPE,
    sharegpt.SHAPE,
    alpaca.SHAPE,
    zendesk.RATINGS,
    zendesk.SHAPE,
    table.SHAPE,
)
BY_NAME = {shape.name: shape for shape in SHAPES}


def find(row: Row, *, textual: bool = False) -> RecordShape | None:
    """Returns the shape of a record; None if it is unknown.

    textual  whether all values are texts, as in a CSV file: then shapes that read words are tried first
    """
    if textual:
        shape = next((shape for shape in SHAPES if shape.textual and shape.recognises(row)), None)
        if shape is not None:
            return shape
    return next((shape for shape in SHAPES if shape.recognises(row)), None)


__all__ = ["BY_NAME", "SHAPES", "RecordShape", "find"]
