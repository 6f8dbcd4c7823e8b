"""What the tables share: files, beginnings of tests' names, and a cut that several rows name."""

from tests.advisories.rows import cut

JOSE = "auth/jose.py"
API = "registry/http/api.py"
MANIFEST = "registry/spec/manifest.py"
BLOBS = "registry/service/blobs.py"
JUDGEMENT = "auth/judgement.py"
ROOM = "registry/http/management/room.py"
PROTECTIONS = "tests/advisories/test_protections.py::test_"
LEAKS = "tests/auth/test_leaks.py::test_"
MATRIX = "tests/auth/test_matrix.py::test_matrix"
MANAGED = "tests/auth/test_management_matrix.py::test_matrix"

FOREIGN_BLOB = cut(
    BLOBS,
    "                if not await self._held(repository, digest, of_record):\n"
    "                    raise BlobUnknown(digest)\n",
    "",
    f"{LEAKS}their_blob_is_absent_in_my_repository",
    f"{LEAKS}a_manifest_that_needs_their_blob_is_refused",
    "tests/http/test_blobs_http.py::test_a_blob_of_another_repository_is_unknown",
)
