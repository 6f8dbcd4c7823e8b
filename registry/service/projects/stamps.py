"""Names for what changes together. Three sorts have stamps; a change takes those that it concerns.

- ``principal/<principal>``: its account, its secrets, and the index of its projects;
- ``project/<name>``: the project itself, its members, robots and shares;
- ``access``: which projects there are (a removal changes it), which of them are open to others, and
  which shares there may be between them.
"""

from typing import Final

ACCESS: Final = "access"
"""The stamp of all that may connect a caller with a project that it is no member of."""


def principal_stamp(principal: str) -> str:
    """The name that stands for a principal's account, secrets and index."""
    return f"principal/{principal}"


def project_stamp(name: str) -> str:
    """The name that stands for a project and all that is kept of it but its content."""
    return f"project/{name}"


def robot_principal(project: str, robot: str) -> str:
    """The principal that a robot account is."""
    return f"robot:{project}/{robot}"
