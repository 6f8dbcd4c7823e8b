"""Every storage key: the layout, the formats and their inverses.

::

    data/<aa>/<upload>                       the bytes of one upload, appended in place, never moved
    uploads/<session>                        the upload session's record, once it holds bytes
    secrets/sessions                         the key that session ids are proved with
    secrets/tokens/<number>                  a key that access tokens are signed with
    coordination/installation                tells this store from all others; random, made once
    coordination/terms/<number>.<primary>    which Redis counts: the one with the highest number
    coordination/alone/<process>.<number>    the process changes things without Redis
    blobs/<alg>/<aa>/<hex>                   pointer: which data key holds the blob, its size
    refs/<alg>:<hex>/<repository>!           the repository holds the blob (reverse membership)
    catalog/<repository>!                    the repository exists
    repos/<repository>!/blobs/<alg>:<hex>              the blob is a member of the repository
    repos/<repository>!/manifests/<alg>:<hex>          media type, line feed, the exact bytes
    repos/<repository>!/tags/<tag>                     where the tag points
    repos/<repository>!/tagged/<alg>:<hex>/<tag>       the tag may point at the manifest
    repos/<repository>!/referrers/<subject>/<alg>:<hex>   the referrer's descriptor

``!`` ends a repository's name. It sorts below every character that names may have, so keys list in
the byte order of the names; and with it no key is a directory of another, though both ``a`` and
``a/b`` are repositories. ``<upload>`` is the first half of the session's id. ``<aa>`` is the first
two characters of what follows, so that directories stay small and a scan can be cut into 256 parts.
"""

from registry.spec.digest import Digest
from registry.spec.names import Place, SessionId, Tag

CATALOG = "catalog/"
UPLOADS = "uploads/"
SESSION_KEY = "secrets/sessions"
SIGNING_KEYS = "secrets/tokens/"
INSTALLATION = "coordination/installation"
NOTICES = "coordination/"
TERMS = "coordination/terms/"
ALONE = "coordination/alone/"


def signing_key(number: int) -> str:
    """A key that access tokens are signed with; numbers list in their order."""
    return f"{SIGNING_KEYS}{number:010}"


def data(session: SessionId) -> str:
    """Where the bytes of an upload go, and stay."""
    return f"data/{session[:2]}/{session[:32]}"


def upload(session: SessionId) -> str:
    """The record of an open upload session."""
    return f"{UPLOADS}{session}"


def pointer(digest: Digest) -> str:
    """The pointer from a digest to its data key."""
    return f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


def reference(digest: Digest, repository: Place) -> str:
    """Reverse membership: this repository holds that blob."""
    return f"refs/{digest}/{repository}!"


def references(digest: Digest, tenant: str) -> str:
    """The prefix of the reverse memberships of a project's repositories, but for its root's."""
    return f"refs/{digest}/{tenant}/"


def reference_place(key: str) -> Place:
    """The inverse of ``reference``: the repository."""
    return Place(key.split("/", 2)[2][:-1])


def catalog(repository: Place) -> str:
    """The repository exists."""
    return f"{CATALOG}{repository}!"


def catalog_place(key: str) -> Place:
    """The inverse of ``catalog``."""
    return Place(key[len(CATALOG) : -1])


def cataloged(tenant: str) -> str:
    """The prefix of the catalog's entries of a project, but for its root's; of all for ``""``."""
    return f"{CATALOG}{tenant}/" if tenant else CATALOG


def blob(repository: Place, digest: Digest) -> str:
    """Membership of a blob in a repository."""
    return f"repos/{repository}!/blobs/{digest}"


def manifest(repository: Place, digest: Digest) -> str:
    """A manifest's media type and exact bytes."""
    return f"repos/{repository}!/manifests/{digest}"


def tags(repository: Place) -> str:
    """The prefix of a repository's tags."""
    return f"repos/{repository}!/tags/"


def tag(repository: Place, name: Tag) -> str:
    """Where a tag points."""
    return f"repos/{repository}!/tags/{name}"


def tagged(repository: Place, digest: Digest) -> str:
    """The prefix of the tags that may point at a manifest."""
    return f"repos/{repository}!/tagged/{digest}/"


def referrers(repository: Place, subject: Digest) -> str:
    """The prefix of the descriptors of a subject's referrers."""
    return f"repos/{repository}!/referrers/{subject}/"


def last_segment(key: str) -> str:
    """The part of a key behind its last ``/``: the tag of a tag key, the digest of a referrer's."""
    return key[key.rindex("/") + 1 :]


def term(number: int, primary: str) -> str:
    """The notice that a primary counts from now on; the keys sort as the numbers do."""
    return f"{TERMS}{number:012}.{primary}"


def alone(process: str, number: int) -> str:
    """A sign of life of a process that changes things without Redis."""
    return f"{ALONE}{process}.{number:012}"
