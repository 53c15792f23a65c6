"""`thumbwheel import --upload` and `thumbwheel imports`: files that the server imports."""

import json
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from thumbwheel import wire

from app import artifacts
from app.database import transaction
from app.feedback.import_jobs import job
from app.feedback.import_jobs import service as imports
from app.services import wait_until
from tests.cli.conftest import on_a_screen
from tests.cli.test_import import LINES, written


@pytest.fixture
def importer(cli) -> Iterator[None]:
    """Carries out the imports that are requested, as a worker would."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            with transaction(read_only=True) as session:
                queued = session.execute(text("SELECT id FROM imports WHERE state = 'queued'")).scalars().all()
            for import_id in queued:
                job.do(import_id, "a test", lambda: False)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.usefixtures("importer")
def test_an_uploaded_file_has_the_outcome_of_a_file_that_the_command_sends_itself(cli, client, tmp_path):
    file, rejects = written(tmp_path / "mixed.jsonl", LINES), tmp_path / "rejects.jsonl"

    dry = cli("import", "--upload", "--dry-run", file)
    uploaded = cli("import", "--upload", "--rejects", rejects, file)
    sent = cli("import", file)

    assert (dry.code, uploaded.code, sent.code) == (1, 1, 1), uploaded.err
    assert (dry.document[0]["counts"]["stored"], len(dry.document[0]["files"][0]["rows"])) == (6, 6)
    [item], [outcome] = uploaded.document, sent.document
    assert (item["state"], item["counts"]["stored"], item["counts"]["rejected"]) == ("done", 6, 1)
    assert (outcome["stored"], outcome["replayed"]) == (0, 6)
    assert item["files"][0]["reasons"] == outcome["reasons"]
    assert [json.loads(line)["line"] for line in rejects.read_text().splitlines()] == [7]
    assert len(list(client.events.list())) == 6


@pytest.mark.usefixtures("importer")
def test_imports_are_listed_shown_watched_and_deleted(cli, tmp_path):
    file = written(tmp_path / "mixed.jsonl", LINES)
    [item] = cli("import", "--upload", file).document
    which = item["id"][-8:]

    shown = on_a_screen(cli, "imports", "show", which)
    listed = on_a_screen(cli, "imports", "list")
    watched = cli("imports", "watch", which)
    reject = cli("imports", "rejects", which).document
    late = cli.refused("imports", "cancel", which)

    assert "rejected because" in shown
    assert "mixed.jsonl" in listed
    assert (watched.code, watched.document["id"]) == (1, item["id"])
    assert (reject["file"], reject["line"]) == ("mixed.jsonl", 7)
    assert "done and cannot be cancelled" in late
    assert cli("imports", "delete", which).code == 0
    assert cli("imports", "list").document == []


def test_an_upload_that_breaks_off_leaves_nothing_behind(cli, client):
    url = urlsplit(cli.environment["THUMBWHEEL_URL"])
    key = cli.environment["THUMBWHEEL_API_KEY"]
    head = f"POST /v1/imports?project=acme HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {key}\r\n"
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(f"{head}Content-Length: 9000000\r\n\r\n".encode() + b"x" * 3_000_000)
        assert wait_until(lambda: [name for name in artifacts.kept_uploads() if name.endswith(".part")], 30)

    assert wait_until(lambda: not [name for name in artifacts.kept_uploads() if name.endswith(".part")], 30)
    assert list(client.imports.list()) == []


def test_an_import_that_no_worker_has_begun_can_be_cancelled(cli, client, tmp_path):
    item = client.imports.upload(written(tmp_path / "mixed.jsonl", LINES), wire.ImportOptions())

    cancelled = cli("imports", "cancel", str(item.id)).document

    assert (cancelled["state"], cancelled["counts"]["stored"]) == ("cancelled", 0)
    assert client.imports.wait(item.id).state == "cancelled"
    assert "is none: name its files" in cli.refused("import", "--upload", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("EXPORT",), "is the folder of an export: import it without --upload"),
        (("FILE", "--settings"), "import it without --upload"),
        (("-",), "write it to a file first"),
        (("s3://bucket/rows.jsonl",), "and s3://bucket/rows.jsonl is none: download it first"),
        (("FILE", "--rejects", "FOLDER/none/rejects.jsonl"), "--rejects: cannot write"),
        (("FILE", "--map", "prompt"), "map: expected FIELD=COLUMN"),
    ],
)
def test_what_cannot_be_uploaded_is_refused_in_one_line_before_anything_is_sent(
    cli, client, tmp_path, arguments, words
):
    (tmp_path / "export").mkdir()
    (tmp_path / "export/manifest.json").write_text("{}")
    file = written(tmp_path / "mixed.jsonl", LINES)
    named = {"EXPORT": str(tmp_path / "export"), "FILE": str(file)}

    line = cli.refused(
        "import", "--upload", *(named.get(each, each).replace("FOLDER", str(tmp_path)) for each in arguments)
    )

    assert words in line
    assert list(client.imports.list()) == []


@pytest.mark.usefixtures("importer")
def test_more_files_than_a_project_takes_at_once_are_uploaded_one_after_the_other(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(imports, "MOST_UNFINISHED", 1)
    files = [written(tmp_path / f"{number}.jsonl", [*LINES, "\n" * number]) for number in range(3)]

    uploaded = cli("import", "--upload", *files)

    assert [item["state"] for item in uploaded.document] == ["done"] * 3, uploaded.err


def test_a_failed_upload_says_which_imports_continue(cli, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.touch()

    outcome = cli("import", "--upload", written(tmp_path / "mixed.jsonl", LINES), empty)

    assert outcome.code == 2
    assert "is imported nevertheless" in outcome.err
    assert "The body is empty" in outcome.err
