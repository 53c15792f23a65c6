"""The story behind `make demo`: a tiny support desk whose model learns from its users' thumbs."""
