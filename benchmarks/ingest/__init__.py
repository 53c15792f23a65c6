"""`make bench-ingest`: how fast events come in, beside an endpoint that stores nothing and the obvious way."""
