"""Imports of whole files of real feedback, with figures of their labels and snapshots."""
