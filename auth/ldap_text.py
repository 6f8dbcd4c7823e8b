"""Values in the texts of LDAP: whatever somebody typed is a value there, and no more."""

import re
from typing import Final

_FIELD: Final = re.compile(r"\{(dn|username)\}")


def filter_text(value: str) -> str:
    """Write a value for a search filter (RFC 4515, section 3)."""
    return "".join(f"\\{ord(each):02x}" if each in "\\*()\0" else each for each in value)


def dn_text(value: str) -> str:
    """Write a value for a distinguished name (RFC 4514, section 2.4)."""
    last = len(value) - 1
    return "".join(
        f"\\{ord(each):02x}"
        if each in '"+,;<=>\\#' or each < " " or (each == " " and at in (0, last))
        else each
        for at, each in enumerate(value)
    )


def fill(template: str, **values: str) -> str:
    """Put values into the braces of a template, all at once: none is looked through for braces.

    Of ``{dn}`` and ``{username}``; one that is not given stays as it is.
    """
    return _FIELD.sub(lambda field: values.get(field[1], field[0]), template)
