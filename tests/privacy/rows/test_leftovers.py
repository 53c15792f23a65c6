"""Files of the artifact store without a row: those that a killed build leaves are found once they are old."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from app import artifacts, settings
from app.cli.leftovers import leftovers as command
from app.database import transaction
from app.errors import Invalid
from app.privacy.erasures import service as erasures
from app.privacy.leftovers import service as leftovers
from tests.desk import DESK, checkpoint, make_project, vote

DAYS = 2


@pytest.fixture(autouse=True)
def _store(database, tmp_path, monkeypatch):
    """Uses a separate store, as files of other tests would be leftovers here."""
    monkeypatch.setenv("THUMBWHEEL_ARTIFACTS_URL", str(tmp_path / "store"))
    settings.current.cache_clear()
    make_project()
    yield
    settings.current.cache_clear()


def put(folder: Path, content: str) -> str:
    path = folder / "written"
    path.write_text(content)
    return artifacts.put(path).sha256


def age(days: float) -> None:
    """Sets the modification time of every stored file to `days` ago."""
    then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for file in artifacts.stored():
        os.utime(artifacts.path_of(file.sha256), (then, then))


def found() -> set[str]:
    return {file.sha256 for file in leftovers.leftovers(DAYS)}


def test_uploads_that_no_import_needs_are_left_over_whole_or_in_part():
    ids = [uuid4(), uuid4(), uuid4()]
    for upload_id in ids:
        upload = artifacts.Upload(upload_id)
        upload.write(b"rows")
        if upload_id == ids[1]:
            upload._file.close()  # as for a process that is killed
        else:
            upload.keep()
    folder, then = Path(settings.current().artifacts) / "uploads", (datetime.now(UTC) - timedelta(days=3)).timestamp()
    for name in (f"{ids[0]}", f"{ids[1]}.part"):
        os.utime(folder / name, (then, then))

    old = leftovers.leftovers(DAYS)
    leftovers.remove(old)

    assert {file.upload for file in old} == {f"{ids[0]}", f"{ids[1]}.part"}
    assert set(artifacts.kept_uploads()) == {f"{ids[2]}"}


def test_only_old_files_that_nothing_names_are_left_over_and_removed(tmp_path):
    vote()
    checkpoint(tmp_path)
    named = {one.sha256 for one in artifacts.stored()}
    orphan = put(tmp_path, "rows of a build that was killed")
    assert found() == set()  # too young: its row may follow soon

    age(3)

    assert found() == {orphan}
    leftovers.remove(leftovers.leftovers(DAYS))
    leftovers.remove([leftovers.Leftover(sha256=orphan, size=1, touched=datetime.now(UTC))])
    assert {one.sha256 for one in artifacts.stored()} == named


def test_a_file_that_is_stored_again_is_young_and_a_removal_that_began_before_leaves_it(tmp_path):
    again = put(tmp_path, "the same rows")
    age(3)
    begun = leftovers.leftovers(DAYS)

    assert put(tmp_path, "the same rows") == again

    assert found() == set()
    leftovers.remove(begun)
    assert {one.sha256 for one in artifacts.stored()} == {again}


def test_what_an_unregistered_file_says_of_an_erased_actor_can_be_removed(tmp_path):
    vote()
    checkpoint(tmp_path)
    killed = put(tmp_path, "shard of a killed build: user 3 wrote Question 3?")
    with transaction() as session:
        erasure = erasures.request(session, DESK, "user 3", by="test")
    erasures.advance(erasure.id)
    age(3)

    # The erasure deletes the data of redacted snapshots; their manifests and cards stay.
    assert found() == {killed}


def test_the_command_lists_them_and_deletes_on_request(tmp_path, capsys):
    orphan = put(tmp_path, "rows of a build that was killed")
    age(3)

    command(days=DAYS, delete=False, as_json=True)
    assert orphan in capsys.readouterr().out
    assert found() == {orphan}

    command(days=DAYS, delete=True, as_json=True)
    assert orphan in capsys.readouterr().out
    assert found() == set()


def test_files_that_a_running_build_may_have_stored_are_not_listed():
    with pytest.raises(Invalid, match="at least 1"):
        leftovers.leftovers(0.5)
