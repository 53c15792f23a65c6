"""SQL that finds the files that rows name."""

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.orm import Session

_NAMED = text("""
    WITH given AS MATERIALIZED (SELECT unnest(CAST(:hashes AS text[])) AS sha256)
    SELECT sha256 FROM given WHERE sha256 IN (
        SELECT file.value FROM snapshots, LATERAL jsonb_each_text(files) AS file
        WHERE file.key = ANY(:kept) OR NOT EXISTS (SELECT FROM snapshot_redactions WHERE snapshot_id = snapshots.id)
        UNION ALL
        SELECT sha256 FROM reference_log_probs
        UNION ALL
        SELECT file.value FROM checkpoints, LATERAL jsonb_each_text(files) AS file
        UNION ALL
        SELECT file.value FROM checkpoint_texts, LATERAL jsonb_each_text(files) AS file)
""")


def named(session: Session, hashes: Collection[str], *, kept: Collection[str]) -> set[str]:
    """Returns the hashes that a snapshot, a file of log-probs or a checkpoint names. A redacted snapshot names only its
    files in `kept`."""
    return set(session.scalars(_NAMED, {"hashes": sorted(hashes), "kept": list(kept)}))
