"""Uploaded imports over HTTP: files arrive whole or not at all, and are imported once."""

import gzip
import json
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from app import artifacts, settings
from app.artifacts import uploads
from app.database import transaction
from app.errors import Unavailable
from app.feedback.import_jobs import job
from app.feedback.import_jobs import service as imports
from app.feedback.import_jobs.leases import service as leases
from app.feedback.importing import sources

ROW = {"prompt": "Hello?", "completion": "Hi!", "label": True}


@pytest.fixture(autouse=True)
def no_uploads(api):
    """Deletes the files that a test before left: all tests share the store."""
    for name in artifacts.kept_uploads():
        artifacts.delete_named(name)


@pytest.fixture
def with_settings(monkeypatch):
    """A function that sets variables of the environment until the end of the test."""

    def change(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        settings.current.cache_clear()

    yield change
    monkeypatch.undo()
    settings.current.cache_clear()


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


ROWS = lines([*({**ROW, "prompt": f"Question {n}?", "user_id": f"u{n % 9}"} for n in range(1201)), {"prompt": "Hi"}])


def upload(api, content, **parameters):
    return api.post("/v1/imports", params={"project": "acme", "name": "rows.jsonl", **parameters}, content=content)


def imported(api, content, **parameters):
    """Uploads a file, does its import in this process, and returns its report."""
    answer = upload(api, content, **parameters)
    assert answer.status_code == 202, answer.text
    job.do(UUID(answer.json()["id"]), "a test", lambda: False)
    return api.get(answer.headers["Location"], params={"project": "acme"}).json()


def test_an_uploaded_file_is_imported_and_its_report_has_counts_reasons_and_rejects(api):
    report = imported(api, gzip.compress(ROWS))

    assert report["state"] == "done", report
    counts = {"stored": 1201, "registered": 0, "superseded": 0, "replayed": 0, "rejected": 1, "silent": 0}
    assert report["counts"] == counts
    assert (report["progress"]["rows"], report["progress"]["bytes_done"]) == (1202, report["size"])
    [file] = report["files"]
    assert (file["file"], file["unit"], sum(file["reasons"].values())) == ("rows.jsonl", "line", 1)
    rejects = api.get(f"/v1/imports/{report['id']}/rejects", params={"project": "acme"})
    [reject] = map(json.loads, rejects.text.splitlines())
    assert (reject["file"], reject["line"]) == ("rows.jsonl", 1202)
    assert len(api.get("/v1/feedback", params={"project": "acme", "limit": 200}).json()["items"]) == 200
    [entry] = api.get("/v1/audit-log", params={"operation": "create_import"}).json()["items"]
    assert entry["about"] == {"import_id": report["id"]}


def test_the_file_is_deleted_at_the_end_and_the_report_later(api, with_settings):
    report = imported(api, ROWS)
    assert list(artifacts.kept_uploads()) == [report["id"]]

    with transaction() as session:
        imports.forget(session)
    assert artifacts.kept_uploads() == {}
    assert api.get("/v1/imports", params={"project": "acme"}).json()["items"][0]["id"] == report["id"]

    with_settings(THUMBWHEEL_IMPORT_DAYS="0.0000001")
    with transaction() as session:
        imports.forget(session)
    assert api.get("/v1/imports", params={"project": "acme"}).json()["items"] == []


def test_the_same_file_with_the_same_options_is_one_import_unless_it_is_to_start_again(api):
    first, second = upload(api, ROWS), upload(api, ROWS)
    other, again = upload(api, ROWS, scale="0:10"), upload(api, ROWS, restart=True)

    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    assert (other.status_code, again.status_code) == (202, 202)
    assert len({answer.json()["id"] for answer in (first, other, again)}) == 3
    assert len(artifacts.kept_uploads()) == 3


def test_a_dry_run_stores_nothing_and_shows_ten_rows_and_the_fields_that_would_be_lost(api):
    rows = [{"question": f"Question {n}?", "answer": "Yes.", "thumb": "yes", "mood": "good"} for n in range(12)]

    report = imported(
        api, lines(rows), dry_run=True, map="prompt=question,completion=answer,label=thumb", desirable="yes"
    )

    [file] = report["files"]
    assert (file["stored"], len(file["rows"]), file["ignored"]) == (12, 10, {"mood": 12})
    assert file["rows"][0]["prompt"] == "Question 0?"
    assert api.get("/v1/feedback", params={"project": "acme"}).json()["items"] == []
    with transaction() as session:
        assert imports.forget_texts(session, "acme") == 1
    assert api.get(f"/v1/imports/{report['id']}", params={"project": "acme"}).json()["files"] == []


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [({"as": "tabel"}, "as"), ({"map": "prompt"}, "map"), ({"scale": "5"}, "scale"), ({"dry_run": "perhaps"}, None)],
)
def test_wrong_options_are_refused_with_their_names_before_the_file_is_read(api, parameters, pointer):
    answer = upload(api, ROWS, **parameters)

    assert answer.status_code == 422
    assert pointer is None or answer.json()["errors"][0]["pointer"] == pointer
    assert artifacts.kept_uploads() == {}


def test_files_that_are_too_large_or_empty_leave_nothing_behind(api, with_settings):
    with_settings(THUMBWHEEL_IMPORT_MAX_BYTES="1000")

    announced = upload(api, b"x" * 1001)
    growing = upload(api, iter([b"x" * 600, b"x" * 600]))
    empty = upload(api, b"")

    assert [answer.status_code for answer in (announced, growing, empty)] == [413, 413, 422]
    assert "THUMBWHEEL_IMPORT_MAX_BYTES" in growing.json()["detail"]
    assert artifacts.kept_uploads() == {}
    assert api.get("/v1/imports", params={"project": "acme"}).json()["items"] == []


def test_a_full_disk_is_answered_with_503_and_leaves_nothing_behind(api, monkeypatch):
    monkeypatch.setattr(uploads, "SPARED_BYTES", 1 << 60)

    answer = upload(api, ROWS)

    assert (answer.status_code, answer.json()["code"]) == (503, "disk_full")
    assert artifacts.kept_uploads() == {}


def test_an_upload_needs_the_rights_to_write_and_to_read(api, key):
    writer, reader = key("feedback:write", project="acme"), key("feedback:read", project="acme")

    codes = [api.post("/v1/imports", headers=headers, content=ROWS).status_code for headers in (writer, reader)]

    assert codes == [403, 403]
    assert api.post("/v1/imports", headers={"Authorization": ""}, content=ROWS).status_code == 401


def test_a_cancelled_import_stores_nothing_more_and_may_be_deleted(api):
    created = upload(api, ROWS).json()
    path = f"/v1/imports/{created['id']}"

    early = api.delete(path, params={"project": "acme"})
    cancelled = api.post(f"{path}/cancel", params={"project": "acme"})
    job.do(UUID(created["id"]), "a test", lambda: False)
    again = api.post(f"{path}/cancel", params={"project": "acme"})
    deleted = api.delete(path, params={"project": "acme"})

    assert (early.status_code, cancelled.json()["state"], again.status_code) == (409, "cancelled", 200)
    assert deleted.status_code == 204
    assert artifacts.kept_uploads() == {}
    assert api.get("/v1/feedback", params={"project": "acme"}).json()["items"] == []
    assert api.get(path, params={"project": "acme"}).status_code == 404


def test_a_file_that_nothing_understands_fails_with_the_reason_and_may_be_sent_again(api):
    report = imported(api, lines([{"text": "Hi"}]))

    assert report["state"] == "failed"
    assert "no known shape" in report["reason"]
    assert upload(api, lines([{"text": "Hi"}])).status_code == 202


def test_a_compressed_file_that_grows_beyond_all_bounds_fails(api, with_settings):
    with_settings(THUMBWHEEL_IMPORT_MAX_BYTES="300")

    report = imported(api, gzip.compress(b"\n" * 100_000))

    assert report["state"] == "failed"
    assert "over 6,000 bytes, decompressed" in report["reason"]


def test_a_member_of_an_archive_is_bounded_like_a_compressed_file(tmp_path):
    from zipfile import ZIP_DEFLATED, ZipFile

    from app.errors import Invalid

    path = Path(tmp_path / "rows.zip")
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl.gz", gzip.compress(b"\n" * 100_000))
        archive.writestr("rows.jsonl", b"\n" * 100_000)

    for source in sources.in_file(path, "rows.zip", most=1000):
        with pytest.raises(Invalid, match="over 1,000 bytes"):
            source.require_whole()


@pytest.mark.parametrize("row", [{**ROW, "label": "a\0\ud800"}, {**ROW, "a\0b\ud800": 1}, {"a\0\ud800": 1}])
def test_texts_that_postgres_cannot_store_do_not_end_an_import(api, row):
    report = imported(api, lines([row]))

    assert report["state"] in ("done", "failed")
    assert r"\ud800" in f"{report['reason']} {report['files']}".replace("\\\\", "\\")


def test_names_are_shown_without_control_characters_and_options_have_none(api):
    named, refused = upload(api, ROWS, name="a\0\x1b[31m.jsonl"), upload(api, ROWS, desirable="yes,\0")

    assert (named.status_code, named.json()["name"]) == (202, "a\\x00\\x1b[31m.jsonl")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "desirable")


def test_a_form_is_refused_with_the_way_to_send_the_file(api):
    answer = api.post("/v1/imports", params={"project": "acme"}, files={"file": ("rows.jsonl", ROWS)})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_type")
    assert "curl -T" in answer.json()["detail"]
    assert artifacts.kept_uploads() == {}


def test_a_key_that_is_revoked_during_the_upload_imports_nothing(api, key):
    headers = key("feedback:write", "feedback:read", project="acme")

    def pieces():
        yield ROWS
        with transaction() as session:
            session.execute(text("UPDATE api_keys SET revoked_at = now() WHERE project_id = 'acme'"))
        yield ROWS

    answer = api.post("/v1/imports", headers=headers, content=pieces())

    assert answer.status_code == 401
    assert artifacts.kept_uploads() == {}


def test_an_outage_of_any_length_does_not_end_an_import(api, monkeypatch):
    created = upload(api, ROWS).json()

    def away(*_):
        raise Unavailable("The artifact store is away.", code="store_away")

    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "local_upload", away)
        for _ in range(2 * leases.MOST_ATTEMPTS):
            job.do(UUID(created["id"]), "a test", lambda: False)
            with transaction() as session:
                session.execute(text("UPDATE imports SET next_try_at = now() - interval '1 second'"))
    job.do(UUID(created["id"]), "a test", lambda: False)

    report = api.get(f"/v1/imports/{created['id']}", params={"project": "acme"}).json()
    assert (report["state"], report["counts"]["stored"]) == ("done", 1201)
