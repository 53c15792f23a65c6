"""Training without any service: from files of rows, a model and an empty folder to a checkpoint with its figures.

`thumbwheel train` spawns it as `python -m worker.training.standalone REQUEST`.

request.py    the request: files, model, recipe, options
reading.py    files → records, each with its file and line
examples.py   a record in the format of TRL's trainers → an example or a pair of examples
dataset.py    all records → train and holdout, or a refusal
snapshot.py   train and holdout → WORKDIR's snapshot
folder.py     OUT: its owner, the training begun there, its results
training.py   the whole procedure, from the request to the summary
summary.py    the result, for a person or a program
"""
