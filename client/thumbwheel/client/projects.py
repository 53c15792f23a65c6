"""`Projects`: their settings, their base model, and whether a run could start."""

from collections.abc import Iterator
from urllib.parse import quote

from thumbwheel import wire
from thumbwheel.client.http import Http
from thumbwheel.errors import ClientError


class Projects:
    """Methods without a `project` use the one that the client was made for."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, new: wire.NewProject) -> wire.Project:
        return self._http.call(wire.Project, "POST", "/v1/projects", new, scoped=False)

    def list(self) -> Iterator[wire.Project]:
        return self._http.pages(wire.Project, "/v1/projects", scoped=False)

    def get(self, project: str | None = None) -> wire.Project:
        return self._http.get(wire.Project, self._path(project), scoped=False)

    def change(self, change: wire.ProjectChange, project: str | None = None) -> wire.Project:
        """Changes the fields that are given and leaves all others as they are: None unsets a field. A recipe and gates
        are replaced whole."""
        return self._http.call(
            wire.Project, "PATCH", self._path(project), change, safe=True, scoped=False, drop_unset=True
        )

    def change_base_model(self, new: wire.NewBaseModel, project: str | None = None) -> wire.Release:
        """Starts a new line of ancestry with another base model, which is live at once."""
        path = f"{self._path(project)}/base-model"
        return self._http.call(wire.Release, "PUT", path, new, safe=True, scoped=False)

    def redaction(self, project: str | None = None) -> wire.RedactionReport:
        """Returns the settings on redaction and actors, and what was found by kind."""
        return self._http.get(wire.RedactionReport, f"{self._path(project)}/redaction", scoped=False)

    def readiness(self, project: str | None = None) -> wire.Readiness:
        """Returns whether a run could start now, and what is missing."""
        return self._http.get(wire.Readiness, f"{self._path(project)}/readiness", scoped=False)

    def retention(self, project: str | None = None) -> wire.Retention:
        """Returns how long feedback is kept, and what was deleted so far. `change` sets the rule."""
        return self._http.get(wire.Retention, f"{self._path(project)}/retention", scoped=False)

    def retention_preview(self, rules: wire.RetentionRules, project: str | None = None) -> wire.RetentionPreview:
        """Returns what a rule would delete now."""
        parameters = {"months": str(rules.months), "snapshots": rules.snapshots} if rules.months else {}
        path = f"{self._path(project)}/retention/preview"
        return self._http.get(wire.RetentionPreview, path, parameters, scoped=False)

    def expired_months(self, project: str | None = None) -> Iterator[wire.ExpiredMonth]:
        """Yields the records of deleted months, newest first."""
        return self._http.pages(wire.ExpiredMonth, f"{self._path(project)}/retention/months", scoped=False)

    def _path(self, project: str | None) -> str:
        chosen = project or self._http.project_id
        if chosen is None:
            raise ClientError("No project is named: give one, or set THUMBWHEEL_PROJECT.")
        return f"/v1/projects/{quote(chosen, safe='')}"
