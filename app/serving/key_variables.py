"""The variables with the keys of servers that an admin of one project may name. Pure.

The workers hold the keys of all projects' servers, and a target sends its key to an address that its admin chooses. So
an admin key of one project may only name variables of this project: another project's key would go to that address.
"""

from thumbwheel.wire.serving import KEY_PREFIX, RemoteSettings, TargetSettings

from app.errors import Fault, Invalid


def require_own_variable(settings: TargetSettings | None, project: str) -> None:
    """Raises `Invalid` if the settings name a variable of the workers that is not the project's own."""
    variable = settings.key_env if isinstance(settings, RemoteSettings) else None
    if variable is None:
        return
    own = f"{KEY_PREFIX}{project.upper().replace('-', '_')}__"
    # Without a second double underscore: THUMBWHEEL_SERVING_KEY_A__B__C belongs to the project a--b, not to a.
    if not variable.startswith(own) or "__" in variable.removeprefix(own):
        message = f"is not a variable of project {project}: name it {own}NAME, or use an admin key for all projects"
        raise Invalid(
            f"settings.key_env {message}.", code="other_key_variable", faults=[Fault("/settings/key_env", message)]
        )
