"""Any form or query of the token service is a request or a 400; any Authorization too."""

import contextlib

from auth.credentials import Basic, Bearer, InvalidCredentials, read_authorization
from registry.spec.errors import TokenRequestInvalid, encode
from registry.spec.token import TokenRequest, read_body, read_query

_EXCHANGE = (
    b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=ey.a.b"
    b"&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt"
)
SEEDS = (
    b"account=alice&client_id=docker&offline_token=true&service=moorage",
    b"grant_type=password&username=a&password=b&scope=repository%3Aa%3Apull+registry:catalog:*",
    b"grant_type=refresh_token&refresh_token=abc&service=moorage",
    _EXCHANGE,
    b"Basic YWxpY2U6c2VjcmV0",
    b"Bearer eyJhbGciOiJub25lIn0.e30.",
)


def check(data: bytes) -> None:
    """What is refused can be told; what is taken has a grant and texts."""
    text = data.decode("latin-1")
    for read in (read_body, read_query):
        try:
            found = read(text)
        except TokenRequestInvalid as error:
            encode(error)
            continue
        assert isinstance(found, TokenRequest)
    with contextlib.suppress(InvalidCredentials):
        assert isinstance(read_authorization(text), Basic | Bearer)
