"""Training without any service: files of rows, a model and an empty folder in; a checkpoint and what is known about it
out. `python -m worker.training.standalone REQUEST`, spawned by `thumbwheel train`.

request.py    what was asked for
reading.py    files → records, each with its place
examples.py   a record as TRL's trainers read it → example, or pair of examples
dataset.py    all records → train and holdout, or why nothing should be learnt from them
snapshot.py   train and holdout → WORKDIR's snapshot
folder.py     OUT: whose it is, what was begun there, what is put there
training.py   all of it, from the request to the summary
summary.py    how it ended, for a person or a program
"""
