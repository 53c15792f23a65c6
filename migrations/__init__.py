"""Alembic migrations, from an empty database to the tables of this code."""
