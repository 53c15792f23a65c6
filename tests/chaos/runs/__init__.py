"""`make chaos`: real runs, while every part under them is killed, stopped, frozen or filled up.

Servers, API, workers and beat run in a separate folder, with several projects and a toy model. Clients start, cancel,
pause and retry runs and ignore the faults. Afterwards violations of what must hold are counted: see `verdict`.

    plan      the faults, and the acts of clients on their runs, drawn from a seed. Pure
    machine   the processes
    watching  views from outside: rows of runs, trainers in /proc
    faults    the faults, and how each is undone
    clients   a thread per project that starts run after run
    messages  copies of every message
    stale     writes with an expired lease
    verdict   the violations, counted. Pure; `evidence` reads its input
    table     the progress bar and the table of faults
"""
