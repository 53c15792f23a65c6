"""`make bench-ingest`: the rate of ingest, against an endpoint that stores nothing and the obvious implementation."""
