"""The few XML documents of S3 that the driver reads and writes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET  # the documents come from the operator's own store
from xml.sax.saxutils import escape


class BadDocument(Exception):
    """The store answered something that is not the document it should be."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing: keys, common prefixes, and what to go on with, if anything.

    ``sizes`` are those of the keys' objects, in bytes, and ``times`` when they were written, where
    the store tells them.
    """

    keys: Sequence[str]
    prefixes: Sequence[str]
    next: str
    sizes: Sequence[str] = ()
    times: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that is open, and when it was begun."""

    key: str
    id: str
    begun: str


def error_code(body: bytes) -> tuple[str, str]:
    """The code and message of an error; empty where the body is none."""
    if not body:
        return "", ""
    try:
        root = _root(body)
    except BadDocument:
        return "", ""
    return _text(root, "Code"), _text(root, "Message")


def page(body: bytes) -> Page:
    """Read the answer to ListObjectsV2."""
    root = _root(body)
    truncated = _text(root, "IsTruncated") == "true"
    contents = list(_each(root, "Contents"))
    return Page(
        [_text(each, "Key") for each in contents],
        [_text(each, "Prefix") for each in _each(root, "CommonPrefixes")],
        _text(root, "NextContinuationToken") if truncated else "",
        [_text(each, "Size") for each in contents],
        [_text(each, "LastModified") for each in contents],
    )


def uploads(body: bytes) -> Sequence[Upload]:
    """Read the answer to ListMultipartUploads."""
    return [
        Upload(_text(each, "Key"), _text(each, "UploadId"), _text(each, "Initiated"))
        for each in _each(_root(body), "Upload")
    ]


def upload_id(body: bytes) -> str:
    """Read the answer to CreateMultipartUpload."""
    found = _text(_root(body), "UploadId")
    if not found:
        raise BadDocument("a multipart upload without an id")
    return found


def completion(parts: Sequence[tuple[str, str]]) -> bytes:
    """Write what CompleteMultipartUpload sends: each part's ETag and CRC32, if it has one."""
    lines = ['<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">']
    for number, (etag, crc) in enumerate(parts, 1):
        checksum = f"<ChecksumCRC32>{escape(crc)}</ChecksumCRC32>" if crc else ""
        lines.append(
            f"<Part><ETag>&quot;{escape(etag)}&quot;</ETag>{checksum}"
            f"<PartNumber>{number}</PartNumber></Part>"
        )
    lines.append("</CompleteMultipartUpload>")
    return "".join(lines).encode()


def _root(body: bytes) -> ET.Element:
    try:
        return ET.fromstring(body)  # noqa: S314  see above; expat bounds what entities may grow to
    except ET.ParseError as error:
        raise BadDocument(f"no XML: {error}") from error


def _each(root: ET.Element, name: str) -> Iterator[ET.Element]:
    return (each for each in root if each.tag.rpartition("}")[2] == name)


def _text(root: ET.Element, name: str) -> str:
    return next((each.text or "" for each in _each(root, name)), "")
