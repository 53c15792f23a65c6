"""Lists the labels of all completions of a log."""

import gzip
from typing import BinaryIO

import polars as pl
from sqlalchemy.orm import Session

from app.feedback import service as feedback
from app.labels import resolving
from app.labels.policies import service as policies
from app.labels.verdicts import THOUSANDTHS

#: The least compression: the file goes over the network once.
GZIP_LEVEL = 1


def write(session: Session, project: str, watermark: int | None, file: BinaryIO) -> None:
    """Writes the label of every completion by the adopted policy, without the votes of actors in quarantine, from the
    feedback up to `watermark` (None: all of it): JSON lines, compressed with gzip. Equal logs give equal lines.
    """
    policy = policies.adopted(session, project).policy
    end = feedback.watermark(session, project) if watermark is None else watermark
    with (
        resolving.resolved(session, project, policy, end, keep=False) as resolved,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, mtime=0) as lines,
    ):
        for _, labelled in resolved.parts():
            lines.write(_lines(labelled.completions))


def _lines(completions: pl.DataFrame) -> bytes:
    shown = completions.select(
        "completion_id",
        pl.col("checkpoint_id").cast(pl.String),
        "label",
        pl.col("weight") / THOUSANDTHS,
        pl.col("reason").cast(pl.String),
        pl.col("reasons").cast(pl.List(pl.String)),
        "never_train",
        pl.col("known").alias("has_text"),
    )
    return shown.sort("completion_id").write_ndjson().encode()
