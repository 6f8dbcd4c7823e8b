"""Proof that an event is ours and was sent just now."""

import hmac

HEADER = "Moorage-Signature"


def signature(secret: str, body: bytes, seconds: int) -> str:
    """Return the header's value: a Unix time, and HMAC-SHA256 (RFC 2104) of it and the exact body.

    What is signed is the time in decimal digits, a dot, and the body, so that neither can be
    changed, nor an old request be sent again later unnoticed.
    """
    signed = hmac.digest(secret.encode(), b"%d.%b" % (seconds, body), "sha256").hex()
    return f"t={seconds},v1={signed}"
