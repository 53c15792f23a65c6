"""Converts the files of other tools into suites. A part without a counterpart is a loss, with its place."""
