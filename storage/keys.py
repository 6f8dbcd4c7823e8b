"""Every storage key: the layout, the formats and their inverses.

::

    data/<aa>/<upload>                       the bytes of one upload, appended in place, never moved
    uploads/<session>                        the upload session's record, once it holds bytes
    secrets/sessions                         the key that session ids are proved with
    secrets/tokens/<number>                  a key that access tokens are signed with
    coordination/installation                tells this store from all others; random, made once
    coordination/terms/<number>.<primary>    which Redis counts: the one with the highest number
    coordination/alone/<process>.<number>    the process changes things without Redis
    blobs/<alg>/<aa>/<hex>                   pointer: the blob's size, and its data key; or instead
                                             of that a line feed and the bytes of a small blob
    refs/<alg>:<hex>/<repository>!           the repository holds the blob (reverse membership)
    mounts/<repository>!                     blobs that were mounted at once: the repository holds
                                             them, and they are not among its members yet
    gc/due/<time>.<random>                   candidates of the collector, to be looked at then
    gc/past/<time>.<random>                  what a deleted tag was, to be forgotten then
    gc/…                                     how far the collector is
    imports/<id>                             how far an import from another registry is, and what it
                                             came to
    backups/due/<time>.<random>              a backup, restore or removal of one that was asked for
    backups/jobs/<time>.<random>             one that has ended
    gc/scrub                                 how far the scrubber is
    gc/damaged/<repository>!/<alg>:<hex>     a manifest that was not what its digest says; a pointer
                                             that can't be read, without a repository
    events/due/<webhook>/<time>.<random>     events that the webhook has yet to take
    events/dead/<webhook>/<time>.<random>    events that it did not take
    pulls/new/<id>/<time>.<random>           pulls that a process counted, not merged yet
    catalog/<repository>!                    the repository exists
    repos/<repository>!/blobs/<alg>:<hex>              the blob is a member of the repository
    repos/<repository>!/manifests/<alg>:<hex>          media type, line feed, the exact bytes
    repos/<repository>!/pushed/<alg>:<hex>/<tag>       the manifest is pushed, or was (``=``: to no
                                                       tag), and no collector has read it; the tag
                                                       may point at it
    repos/<repository>!/needed/<blob>/<alg>:<hex>      the manifest needs the blob
    repos/<repository>!/deleted/<alg>:<hex>            a manifest that was deleted, and its tags
    repos/<repository>!/tags/<tag>                     where the tag points
    repos/<repository>!/history/<tag>                  what a tag was that was deleted
    repos/<repository>!/tagged/<alg>:<hex>/<tag>       the tag may point at the manifest
    repos/<repository>!/referrers/<subject>/<alg>:<hex>   the referrer's descriptor
    repos/<repository>!/pulled/<tag or digest>         how often it was pulled, and when last

    projects/<name>!                         the project: its id, who may see it
    tenants/<id>/name                        which project had the id; stays when it is removed
    tenants/<id>/members/<principal>         the principal's role in it
    tenants/<id>/tag-rules                   which of its tags stay what they are
    tenants/<id>/retention                   which of its tags and manifests are kept
    retained/<id>                            the project may have retention
    tenants/<id>/robots/<robot>              a robot account of it
    quotas/<id>                              what the project may hold, and the account of it
    tenants/<id>/webhooks/<name>             a webhook; ``_`` for the id: of the registry as a whole
    tenants/<id>/shares/<target id>/<repository>!   the repository is shared with another project;
                                                    ``=`` instead: all of them are
    accounts/<principal>                     what is known of a caller
    principals/<principal>!/secrets/<id>     an access token of it
    principals/<principal>!/projects/<name>  the principal may have a part in the project
    shared/<name>/<target name>              something may be shared between the two
    platform/projects/<number>               what a platform told of its project of this number
    platform/members/<number>/<user>         what it told of a user's part in it
    platform/tenants/<id>                    which of its projects the project was made for
    removals/<id>                            the project is being purged, and how far that is
    secrets/bootstrap                        the first administrator has been made
    audit/events/<id>/<time>.<writer>.<batch>   events of the audit log that are about the project;
                                             ``_`` for the id: about none
    audit/heads/<writer>                     how far a process has come that writes events

``!`` ends a repository's name. It sorts below every character that names may have, so keys list in
the byte order of the names; and with it no key is a directory of another, though both ``a`` and
``a/b`` are repositories. ``<upload>`` is the first half of the session's id. ``<aa>`` is the first
two characters of what follows, so that directories stay small and a scan can be cut into 256 parts.
In ``repos``, ``refs``, ``mounts`` and ``catalog`` a ``<repository>`` is a place: the project's id
stands for its name. What *may* be so (``principals/…/projects``, ``shared``) is an index: it is
written before the fact, removed after it, and never believed alone.
"""

import re
from hashlib import sha256

from registry.spec.digest import Digest
from registry.spec.names import Place, Reference, SessionId, Tag

CATALOG = "catalog/"
CANDIDATES = "gc/due/"
PAST = "gc/past/"
READ = "gc/read"
LINKED = "gc/linked"
MARK = "gc/mark"
SCRUB = "gc/scrub"
REPOSITORIES = "repos/"
DATA = "data/"
POINTERS = "blobs/"
REFERENCES = "refs/"
MOUNTS = "mounts/"
UPLOADS = "uploads/"
SESSION_KEY = "secrets/sessions"
PROJECTS = "projects/"
ACCOUNTS = "accounts/"
PRINCIPALS = "principals/"
SHARED = "shared/"
REMOVALS = "removals/"
TOLD_PROJECTS = "platform/projects/"
RETAINED = "retained/"
QUOTAS = "quotas/"
BOOTSTRAP = "secrets/bootstrap"
BACKUP_DUE = "backups/due/"
BACKUP_JOBS = "backups/jobs/"

PULLS = "pulls/new/"
EVENTS_DUE = "events/due/"
EVENTS_DEAD = "events/dead/"

AUDIT = "audit/events/"
AUDIT_HEADS = "audit/heads/"

EVERYONE = "everyone"
"""Stands for all callers where a principal is named: what is public is theirs."""

USERS = "users"
"""Stands for all callers that have logged in: what is internal is theirs."""

MAX_PRINCIPAL = 240
"""Longest principal, in characters as a key has them (``principal_segment``)."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]")
_BATCH = re.compile(r"audit/events/([^/]+)/[0-9]{13}\.([0-9a-f]{16})\.([0-9]{8,})").fullmatch
_REFERENCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]{0,199}").fullmatch
_EVENT = re.compile(r"[0-9]{13}\.[0-9a-f]{16}", re.ASCII).fullmatch
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
    return data_of(session[:32])


def data_by(session: SessionId, algorithm: str) -> str:
    """Where bytes of an upload go that are named by another algorithm than was announced."""
    return data_of(sha256(f"{session} {algorithm}".encode()).hexdigest()[:32])


def data_of(number: str) -> str:
    """Where bytes go that have this number of 32 hexadecimal digits, which nobody else has."""
    return f"{DATA}{number[:2]}/{number}"


def upload(session: SessionId) -> str:
    """The record of an open upload session."""
    return f"{UPLOADS}{session}"


def pointer(digest: Digest) -> str:
    """The pointer from a digest to its data key, or to the bytes that follow in the same object."""
    return f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


def reference(digest: Digest, repository: Place) -> str:
    """Reverse membership: this repository holds that blob."""
    return f"{REFERENCES}{digest}/{repository}!"


def references(digest: Digest, tenant: str) -> str:
    """The prefix of the reverse memberships of a project's repositories, but for its root's."""
    return f"{REFERENCES}{digest}/{tenant}/"


def reference_place(key: str) -> Place:
    """The inverse of ``reference``: the repository."""
    return Place(key.split("/", 2)[2][:-1])


def mounted(repository: Place) -> str:
    """Blobs that the repository holds, which were mounted at once and are no members yet."""
    return f"{MOUNTS}{repository}!"


def mounted_below(tenant: str) -> str:
    """The prefix of these of a project's repositories, but for its root's."""
    return f"{MOUNTS}{tenant}/"


def mounted_place(key: str) -> Place:
    """The inverse of ``mounted``: the repository."""
    return Place(key[len(MOUNTS) : -1])


def candidate(milliseconds: int, number: str) -> str:
    """Candidates of the collector, to be looked at from this Unix time on; keys sort by it."""
    return f"{CANDIDATES}{milliseconds:013}.{number}"


def past(milliseconds: int, number: str) -> str:
    """What a deleted tag was may be forgotten from this Unix time on; keys sort by it."""
    return f"{PAST}{milliseconds:013}.{number}"


def past_due(key: str) -> int:
    """From when on what a tag was may be forgotten, in milliseconds of Unix time."""
    return int(key[len(PAST) :].partition(".")[0])


def damaged(repository: Place, digest: Digest) -> str:
    """What the scrubber took out of a repository, or, with an empty one, a pointer."""
    return f"gc/damaged/{repository}!/{digest}"


def candidate_due(key: str) -> int:
    """From when on a candidate is to be looked at, in milliseconds of Unix time."""
    return int(key[len(CANDIDATES) :].partition(".")[0])


def holders(digest: Digest) -> str:
    """The prefix of all reverse memberships of a blob."""
    return f"{REFERENCES}{digest}/"


def pointer_digest(key: str) -> Digest:
    """The inverse of ``pointer``."""
    _, algorithm, _, hex_ = key.split("/")
    return Digest(f"{algorithm}:{hex_}")


def catalog(repository: Place) -> str:
    """The repository exists."""
    return f"{CATALOG}{repository}!"


def catalog_place(key: str) -> Place:
    """The inverse of ``catalog``."""
    return Place(key[len(CATALOG) : -1])


def cataloged(tenant: str) -> str:
    """The prefix of the catalog's entries of a project, but for its root's; of all for ``""``."""
    return f"{CATALOG}{tenant}/" if tenant else CATALOG


def repositories(repository: Place) -> str:
    """The prefix of all that is kept of one repository, but for its catalog entry."""
    return f"repos/{repository}!/"


def repositories_below(tenant: str) -> str:
    """The prefix of all that is kept of a project's repositories, but for its root's."""
    return f"repos/{tenant}/"


def repository_parts(key: str) -> tuple[Place, str, str]:
    """Split a key of a repository: where that is kept, what it holds (``blobs``), and the rest."""
    place, _, rest = key[len("repos/") :].partition("!/")
    kind, _, last = rest.partition("/")
    return Place(place), kind, last


def blob(repository: Place, digest: Digest) -> str:
    """Membership of a blob in a repository."""
    return f"repos/{repository}!/blobs/{digest}"


def members_of(repository: Place) -> str:
    """The prefix of the blobs that a repository holds."""
    return f"repos/{repository}!/blobs/"


def manifests(repository: Place) -> str:
    """The prefix of a repository's manifests."""
    return f"repos/{repository}!/manifests/"


def pushed(repository: Place, digest: Digest, tag: str = "") -> str:
    """The manifest is pushed, or was, to a tag or to none, and no collector has read it yet."""
    return f"repos/{repository}!/pushed/{digest}/{tag or '='}"


def all_pushed(repository: Place) -> str:
    """The prefix of a repository's manifests that no collector has read."""
    return f"repos/{repository}!/pushed/"


def pushed_to(repository: Place, digest: Digest) -> str:
    """The prefix of the tags that such a manifest was pushed to, and of ``=`` for none."""
    return f"repos/{repository}!/pushed/{digest}/"


def pushed_parts(key: str) -> tuple[Digest, str]:
    """The manifest and the tag, ``""`` for none, of a key of ``pushed``."""
    _, digest, tag = key.rsplit("/", 2)
    return Digest(digest), "" if tag == "=" else tag


def needed(repository: Place, blob: Digest) -> str:
    """The prefix of the manifests that need a blob."""
    return f"repos/{repository}!/needed/{blob}/"


def all_needed(repository: Place) -> str:
    """The prefix of the entries of all blobs that manifests need."""
    return f"repos/{repository}!/needed/"


def deleted(repository: Place, digest: Digest) -> str:
    """A manifest that was deleted, and can be had back."""
    return f"repos/{repository}!/deleted/{digest}"


def all_deleted(repository: Place) -> str:
    """The prefix of a repository's deleted manifests."""
    return f"repos/{repository}!/deleted/"


def manifest(repository: Place, digest: Digest) -> str:
    """A manifest's media type and exact bytes."""
    return f"repos/{repository}!/manifests/{digest}"


def manifest_place(key: str) -> Place:
    """The inverse of ``manifest``: the repository."""
    return Place(key[len(REPOSITORIES) : key.rindex("!/")])


def tags(repository: Place) -> str:
    """The prefix of a repository's tags."""
    return f"repos/{repository}!/tags/"


def tag(repository: Place, name: Tag) -> str:
    """Where a tag points."""
    return f"repos/{repository}!/tags/{name}"


def history(repository: Place, name: Tag) -> str:
    """What a tag was that was deleted."""
    return f"repos/{repository}!/history/{name}"


def histories(repository: Place) -> str:
    """The prefix of what a repository's deleted tags were."""
    return f"repos/{repository}!/history/"


def tagged(repository: Place, digest: Digest) -> str:
    """The prefix of the tags that may point at a manifest."""
    return f"repos/{repository}!/tagged/{digest}/"


def referrers(repository: Place, subject: Digest) -> str:
    """The prefix of the descriptors of a subject's referrers."""
    return f"repos/{repository}!/referrers/{subject}/"


def pulled(repository: Place, reference: Reference) -> str:
    """How often a tag or a digest was pulled, and when last."""
    return pulled_by_text(repository, reference)


def pulled_by_text(repository: str, reference: str) -> str:
    """As ``pulled``, of what records say in plain text. ``ValueError`` for what is no such key."""
    if _REFERENCE(reference) is None:
        raise ValueError(f"{reference!r} is neither a tag nor a digest")
    return f"repos/{repository}!/pulled/{reference}"


def all_pulled(repository: Place) -> str:
    """The prefix of what is kept of pulls from a repository."""
    return f"repos/{repository}!/pulled/"


def pull_batch(tenant: str, milliseconds: int, number: str) -> str:
    """Pulls from a project's repositories that a process counted up to this Unix time."""
    return f"{PULLS}{tenant}/{milliseconds:013}.{number}"


def pull_batch_tenant(key: str) -> str:
    """The inverse of ``pull_batch``: the project's id."""
    return key[len(PULLS) :].partition("/")[0]


def last_segment(key: str) -> str:
    """The part of a key behind its last ``/``: the tag of a tag key, the digest of a referrer's."""
    return key[key.rindex("/") + 1 :]


def term(number: int, primary: str) -> str:
    """The notice that a primary counts from now on; the keys sort as the numbers do."""
    return f"{TERMS}{number:012}.{primary}"


def alone(process: str, number: int) -> str:
    """A sign of life of a process that changes things without Redis."""
    return f"{ALONE}{process}.{number:012}"


def project(name: str) -> str:
    """A project's record, under its name."""
    return f"{PROJECTS}{name}!"


def project_name(key: str) -> str:
    """The inverse of ``project``."""
    return key[len(PROJECTS) : -1]


def tenant_name(tenant: str) -> str:
    """Which name the project with this id has, or had."""
    return f"tenants/{tenant}/name"


def tenant(tenant: str) -> str:
    """The prefix of all that is kept of a project but for its content."""
    return f"tenants/{tenant}/"


def tag_rules(tenant: str) -> str:
    """Which tags of a project stay what they are."""
    return f"tenants/{tenant}/tag-rules"


def retention(tenant: str) -> str:
    """Which tags and manifests of a project are kept."""
    return f"tenants/{tenant}/retention"


def retained(tenant: str) -> str:
    """The index entry of a project that may have retention."""
    return f"{RETAINED}{tenant}"


def members(tenant: str) -> str:
    """The prefix of a project's members."""
    return f"tenants/{tenant}/members/"


def member(tenant: str, principal: str) -> str:
    """A member's role."""
    return f"tenants/{tenant}/members/{principal_segment(principal)}"


def robots(tenant: str) -> str:
    """The prefix of a project's robot accounts."""
    return f"tenants/{tenant}/robots/"


def robot(tenant: str, name: str) -> str:
    """A robot account."""
    return f"tenants/{tenant}/robots/{name}"


def webhooks(tenant: str) -> str:
    """The prefix of a project's webhooks, ``""``: those of the registry as a whole."""
    return f"tenants/{tenant or '_'}/webhooks/"


def webhook(tenant: str, name: str) -> str:
    """A webhook."""
    return f"{webhooks(tenant)}{name}"


def events_due(webhook: str) -> str:
    """The prefix of what a webhook has yet to take, by its id."""
    return f"{EVENTS_DUE}{webhook}/"


def events_due_behind(webhook: str) -> str:
    """What sorts behind all of that, and before what any other webhook has yet to take."""
    return f"{EVENTS_DUE}{webhook}0"


def events_dead(webhook: str) -> str:
    """The prefix of what a webhook did not take."""
    return f"{EVENTS_DEAD}{webhook}/"


def event_parts(key: str) -> tuple[str, int]:
    """Split a key of either: the webhook's id, and the time in milliseconds of Unix time."""
    _, _, webhook, number = key.split("/")
    return webhook, int(number.partition(".")[0])


def is_event_number(text: str) -> bool:
    """Whether it can be the last part of such a key."""
    return _EVENT(text) is not None


def shares(tenant: str, target: str = "") -> str:
    """The prefix of what a project shares, with one other project or with all of them."""
    return f"tenants/{tenant}/shares/{target}/" if target else f"tenants/{tenant}/shares/"


def share(tenant: str, target: str, repository: str | None) -> str:
    """A share of a repository, by its name, or of all of them."""
    return (
        f"tenants/{tenant}/shares/{target}/{repository}!"
        if repository
        else (f"tenants/{tenant}/shares/{target}/=")
    )


def share_parts(key: str) -> tuple[str, str | None]:
    """The inverse of ``share``: the target's id and the repository."""
    target, _, rest = key.split("/", 3)[3].partition("/")
    return target, None if rest == "=" else rest[:-1]


def shared(source: str, target: str) -> str:
    """The index entry of shares of one project with another, by their names."""
    return f"{SHARED}{source}/{target}"


def account(principal: str) -> str:
    """What is known of a caller."""
    return f"{ACCOUNTS}{principal_segment(principal)}"


def access_tokens(principal: str) -> str:
    """The prefix of a caller's access tokens."""
    return f"{PRINCIPALS}{principal_segment(principal)}!/secrets/"


def access_token(principal: str, number: str) -> str:
    """An access token, by its id."""
    return f"{PRINCIPALS}{principal_segment(principal)}!/secrets/{number}"


def parts(principal: str) -> str:
    """The prefix of the index of projects that a principal may have a part in."""
    return f"{PRINCIPALS}{principal_segment(principal)}!/projects/"


def part(principal: str, project: str) -> str:
    """An entry of that index."""
    return part_of_segment(principal_segment(principal), project)


def part_of_segment(principal: str, project: str) -> str:
    """An entry of that index, for a principal as another key has it."""
    return f"{PRINCIPALS}{principal}!/projects/{project}"


def quota(tenant: str) -> str:
    """What a project may hold, and the account of what it holds."""
    return f"{QUOTAS}{tenant}"


def told_project(number: int) -> str:
    """What a platform told of its project of this number; keys sort by it."""
    return f"{TOLD_PROJECTS}{number:010}"


def told_number(key: str) -> int:
    """The inverse of ``told_project``."""
    return int(last_segment(key))


def told_members(number: int) -> str:
    """The prefix of what a platform told of the users of a project."""
    return f"platform/members/{number:010}/"


def told_member(number: int, user: str) -> str:
    """What a platform told of a user's part in a project."""
    return told_members(number) + principal_segment(user)


def claim(tenant: str) -> str:
    """Which project of a platform the project was made for."""
    return f"platform/tenants/{tenant}"


def imported(number: str) -> str:
    """How far the import from a source is."""
    return f"imports/{number}"


def backup_due(number: str) -> str:
    """Work on backups that is to be done: ``number`` is ``<milliseconds>.<random>``."""
    return f"{BACKUP_DUE}{number}"


def backup_job(number: str) -> str:
    """Work on backups that has ended."""
    return f"{BACKUP_JOBS}{number}"


def removal(tenant: str) -> str:
    """How far the purge of a removed project is."""
    return f"{REMOVALS}{tenant}"


def audited(tenant: str) -> str:
    """The prefix of the audit log's events about a project, ``""``: about none."""
    return f"{AUDIT}{tenant or '_'}/"


def audit_batch(tenant: str, milliseconds: int, writer: str, number: int) -> str:
    """Events about a project in a batch that was begun at this Unix time; keys sort by it."""
    return f"{audited(tenant)}{milliseconds:013}.{writer}.{number:08}"


def audit_batch_parts(key: str) -> tuple[str, str, int] | None:
    """The inverse of ``audit_batch``: project, writer, number. ``None`` for any other key."""
    found = _BATCH(key)
    return ("" if found[1] == "_" else found[1], found[2], int(found[3])) if found else None


def audit_head(writer: str) -> str:
    """How far a process has come that writes events."""
    return f"{AUDIT_HEADS}{writer}"


def principal_segment(principal: str) -> str:
    """A principal as a segment of a key: what a key can't have is written as ``=`` and hex.

    One that would be longer than ``MAX_PRINCIPAL`` is written as its hash.
    """
    segment = _UNSAFE.sub(_escaped, principal)
    if len(segment) <= MAX_PRINCIPAL:
        return segment
    return f"=={sha256(principal.encode('utf-8', 'surrogatepass')).hexdigest()}"


def principal_of(segment: str) -> str:
    """The inverse of ``principal_segment``, but for a hash, which stays one."""
    return re.sub(
        r"(?:=[0-9A-F]{2})+",
        lambda found: bytes.fromhex(found[0].replace("=", "")).decode(),
        segment,
    )


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))
