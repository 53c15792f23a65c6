"""`make chaos`: the real thing, run after run, while everything under it is killed, stopped, frozen and filled up.

Servers, API, workers and beat in a folder of their own; several projects with a toy model; clients that start, cancel,
pause and retry runs and know nothing of the faults. Afterwards everything that may not be is counted: see `verdict`.

    plan      what strikes when, from a seed. Pure
    machine   the processes, which end and start as told
    watching  what is seen from outside: rows of runs, trainers in /proc
    faults    each fault: what it does, and how it is undone
    clients   a thread per project that keeps runs going
    verdict   what may not be, counted. Pure; evidence reads what it judges
    table     what people see
"""
