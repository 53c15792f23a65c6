"""The first admin key, in a real Postgres."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import select
from thumbwheel import wire

from app.access import service
from app.access.tables import ApiKey
from app.database import now, transaction


def make_first_key() -> str | None:
    with transaction() as session:
        return service.first_admin_key(session)


def test_of_many_who_ask_at_once_one_gets_the_first_key(database):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_first_key(), range(16)))

    assert len([secret for secret in made if secret]) == 1


def test_only_a_hash_of_the_secret_is_stored(database):
    secret = make_first_key()

    with transaction() as session:
        row = session.scalars(select(ApiKey)).one()
        stored = [str(getattr(row, column.name)) for column in ApiKey.__table__.columns]
    assert secret is not None
    assert not any(secret[len(row.prefix) :] in value for value in stored)


def test_a_new_first_key_can_be_made_where_the_admins_have_none_left(database):
    assert make_first_key()
    with transaction() as session:
        key = session.scalars(select(ApiKey)).one()
        service.revoke(session, key.id, within=None)

    assert make_first_key()


def test_keys_without_power_over_everything_do_not_count_as_admin_keys(database):
    with transaction() as session:
        service.create_key(session, wire.NewKey(name="reader", scopes=["runs:read"]), within=None)

    assert make_first_key()


def test_an_expired_admin_key_does_not_lock_everybody_out(database):
    assert make_first_key()
    with transaction() as session:
        session.scalars(select(ApiKey)).one().expires_at = now() - timedelta(seconds=1)

    assert make_first_key()
