"""The story behind `make demo`: a tiny support desk whose model learns from its users' thumbs."""

import os

# Waiting threads should sleep: spinning ones slow everything down if the API and the trainer share the cores. torch
# reads the variable when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
