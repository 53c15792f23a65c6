"""The story behind `make demo`: a tiny support desk whose model learns from its users' thumbs."""

import os

# Threads that wait should sleep: spinning ones slow everything down where API and trainer share the cores. torch
# reads it when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
