"""Any method, path and query is a request that `url_for` writes back, or a 4xx."""
# ruff: noqa: PT017 -- both outcomes, acceptance and refusal, are looked at

from registry.spec.errors import RegistryError
from registry.spec.requests import parse, url_for

_D = b"sha256:" + b"0a" * 32
_S = b"0123456789abcdef" * 4

SEEDS = (
    b"GET /v2/ ",
    b"GET /v2/_catalog n=5&last=a%2Fb",
    b"GET /v2/p/env/manifests/latest ",
    b"PUT /v2/p/env/manifests/" + _D + b" tag=a&tag=b",
    b"GET /v2/p/blobs/" + _D + b" ",
    b"POST /v2/p/blobs/uploads/ mount=" + _D + b"&from=q%2Fbase",
    b"POST /v2/p/blobs/uploads/ digest=" + _D + b"&digest-algorithm=sha256",
    b"PUT /v2/p/blobs/uploads/" + _S + b" digest=" + _D,
    b"PATCH /v2/p/blobs/uploads/" + _S + b" _state=x",
    b"GET /v2/p/tags/list n=5&last=v1",
    b"GET /v2/p/referrers/" + _D + b" artifactType=a/b%2Bjson&n=1",
)


def check(data: bytes) -> None:
    """Texts are read as a lenient HTTP parser would hand them over."""
    method, _, rest = data.decode("utf-8", "surrogateescape").partition(" ")
    path, _, query = rest.partition(" ")
    try:
        request = parse(method, path, query)
    except RegistryError as error:
        assert 400 <= error.status < 500
        assert error.message.isprintable()
        return
    path, _, query = url_for(request).partition("?")
    again = parse(method, path, query)
    assert again == request
    assert type(again) is type(request)
    assert "%" not in path
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))
