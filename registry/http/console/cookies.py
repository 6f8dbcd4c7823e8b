"""Cookies of the console: read strictly, and written so that only this registry's pages send them.

Over TLS a name begins with ``__Host-``: browsers then take the cookie from this very host only, by
TLS only (RFC 6265bis §4.1.3.2), and a page of a neighbouring host can't plant one.
"""

from typing import Final

from aiohttp import hdrs
from aiohttp.web import BaseRequest

SESSION: Final = "moorage-session"
FORM: Final = "moorage-form"


def read(http: BaseRequest, name: str) -> str:
    """Return the value of a cookie, ``""`` if it is not there or there twice."""
    wanted = _name(name, secure=http.secure)
    found = [
        value
        for line in http.headers.getall(hdrs.COOKIE, ())
        for key, _, value in (pair.strip(" ").partition("=") for pair in line.split(";"))
        if key == wanted
    ]
    return found[0] if len(found) == 1 else ""


def written(http: BaseRequest, name: str, value: str, seconds: int) -> tuple[str, str]:
    """Return the header that sets a cookie for so many ``seconds``; 0 takes it away."""
    parts = [
        f"{_name(name, secure=http.secure)}={value}",
        "Path=/" if http.secure else "Path=/console",
        f"Max-Age={seconds}",
        "HttpOnly",
        "SameSite=Strict",
        *(["Secure"] if http.secure else []),
    ]
    return hdrs.SET_COOKIE, "; ".join(parts)


def _name(name: str, *, secure: bool) -> str:
    return f"__Host-{name}" if secure else name
