"""Whatever is loaded is in use, wanted, or has a time of unloading that never moves."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.serving.leases.retirement import retire
from app.serving.leases.target_lease import LoadedArtifact
from app.serving.served_artifact import ServedArtifact

START = datetime(2026, 1, 1, tzinfo=UTC)


def artifact(digest: str) -> ServedArtifact:
    return ServedArtifact("adapter", digest, f"desk-{digest}", f"/srv/{digest}", f"/srv/{digest}")


artifacts = st.sampled_from([artifact(digest) for digest in "abcd"])
times = st.none() | st.integers(0, 100).map(lambda seconds: START + timedelta(seconds=seconds))
loaded = st.lists(st.builds(LoadedArtifact, st.just(UUID(int=1)), artifacts, times), unique_by=lambda it: it.artifact)


@given(loaded, st.sets(artifacts, max_size=2), st.sets(artifacts, max_size=2), st.integers(0, 100))
def test_what_is_seen_is_in_use_what_is_wanted_stays_and_the_rest_drains_once(before, seen, wanted, seconds):
    until = START + timedelta(seconds=seconds)

    after = retire(before, seen, wanted, until)

    assert [each.artifact for each in after] == [each.artifact for each in before]
    for was, each in zip(before, after, strict=True):
        if each.artifact in seen:
            assert each.unload_at is None
        elif each.artifact in wanted:
            assert each == was
        else:
            assert each.unload_at == (until if was.unload_at is None else was.unload_at)
    assert retire(after, seen, wanted, until + timedelta(hours=1)) == after
