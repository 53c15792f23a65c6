"""Imports that the server does: uploaded files, the work on them by processes of the workers, and the reports.

POST ─upload─▶ artifact store, row, message ─▶ worker ─▶ process: claim ─▶ items ─▶ log
                                                                      ╰─▶ position, outcomes, rejects: at once
"""
