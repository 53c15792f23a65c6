"""`make chaos-serving`: targets follow the ledger while worker, API and targets are killed under releases.

Postgres, Redis, the API and a worker with beat run in a separate folder; two stand-in servers and a folder are the
targets. A drawn schedule ships, shares, raises and rolls back, with a kill in the middle of each. Meanwhile actors ask
which checkpoint they get and where it is served, and call it: the answer says which content wrote it.

    plan      the acts and the kills, drawn from a seed. Pure
    target    a stand-in server as a process, which loses its adapters when it is killed
    place     the machine with its targets, and what each has loaded
    releases  acts on the ledger, repeated as a client repeats them
    actors    threads that ask, call and record
    verdict   what is wrong, counted. Pure
"""
