"""The image: what it is made of, and the thing itself: built, pushed, pulled and started.

The long part is `make image`: there is no registry to have a base from, so one is made of Debian
packages, once.
"""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cluster.ports import LOOPBACK, take_port
from conformance.server import answers
from registry.version import __version__
from tests.fixtures.programs import TOOLS, require_program, require_root

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text()
BASE = TOOLS.parent / "image" / "base.tar"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

slow = [
    pytest.mark.skipif(not os.environ.get("MOORAGE_IMAGE"), reason="`make image` runs it"),
    pytest.mark.timeout(1800),
]


def _sbom():
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "tools/sbom.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sbom = _sbom()
LOCK = sbom.locked((ROOT / "requirements/runtime.lock").read_text())


def test_nothing_is_installed_that_is_not_locked():
    lines = CONTAINERFILE.replace("\\\n", " ").splitlines()
    steps = [step for line in lines for step in line.split(" && ")]
    installs = [step for step in steps if "/pip" in step and " install " in step]
    assert len(installs) == 3
    for each in installs:
        assert "--require-hashes" in each or "--no-index" in each, each


def test_what_is_copied_is_let_in_and_nothing_else():
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".containerignore").read_text(), re.MULTILINE))
    allowed = {each.removesuffix("/*.lock") for each in allowed}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / each).exists() for each in copied)


def test_locked_packages_have_their_hashes():
    assert LOCK["aiohttp"][0].startswith("3.")
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for _, all_ in LOCK.values() for digest in all_)
    assert all(digests for _, digests in LOCK.values())


def test_the_bill_says_the_same_of_the_same():
    listing = "zlib1g\t1:1.2.13\tamd64\tinstalled\nold\t1\tamd64\tconfig-files\n"
    debian = sbom.debian_components(listing)
    assert [each["purl"] for each in debian] == ["pkg:deb/debian/zlib1g@1%3A1.2.13?arch=amd64"]
    made = [sbom.bill(debian, "1.0", 0) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0]["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"
    assert sbom.bill([], "1.0", 0)["serialNumber"] != made[0]["serialNumber"]


def test_a_package_that_is_not_locked_is_told_of():
    with pytest.raises(SystemExit, match="is installed, but the lock has none"):
        sbom.python_components({})


def run(*command, check=True, **options):
    made = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if check and made.returncode:
        pytest.fail(f"{command}\n{made.stdout[-3000:]}{made.stderr[-3000:]}", pytrace=False)
    return made


class Builder:
    """buildah with storage of its own."""

    def __init__(self, home):
        self._command = [require_program("buildah"), "--storage-driver", "vfs"]
        self._command += ["--root", str(home / "storage"), "--runroot", str(home / "run")]

    def __call__(self, *arguments):
        return run(*self._command, *arguments, cwd=ROOT).stdout.strip()

    def build(self, name, base):
        """Build the image anew; returns its id."""
        options = ["--isolation", "chroot", "--no-cache", "--timestamp", "0", "--quiet"]
        if Path(BUNDLE).exists():  # whom this machine trusts on the way to its packages
            options += ["--build-arg", f"PIP_CERT={BUNDLE}"]
            options += ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        if index := os.environ.get("PIP_INDEX_URL"):
            options += ["--build-arg", f"PIP_INDEX_URL={index}"]
        return self("bud", *options, "--build-arg", f"BASE={base}", "-t", name, ".").split()[-1]


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    require_root("buildah")
    home = tmp_path_factory.mktemp("buildah")
    yield Builder(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def base(builder, tmp_path_factory):
    """A base image with Python, made of Debian packages; they are fetched once."""
    if not BASE.exists():
        BASE.parent.mkdir(exist_ok=True)
        made = BASE.with_suffix(".new.tar")
        packages = "--include=python3-venv,ca-certificates"
        options = ["--quiet", "--variant=essential", packages, "bookworm", str(made)]
        run(require_program("mmdebstrap"), *options, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
        made.rename(BASE)
    context = tmp_path_factory.mktemp("base")
    (context / "Containerfile").write_text(f"FROM scratch\nADD {BASE.name} /\n")
    os.link(BASE, context / BASE.name) if context.stat().st_dev == BASE.stat().st_dev else (
        shutil.copy(BASE, context)
    )
    builder("bud", "--quiet", "--timestamp", "0", "-t", "localhost/base", str(context))
    return "localhost/base"


@pytest.fixture(scope="module")
def image(builder, base):
    """The image's name and id."""
    return "localhost/moorage", builder.build("localhost/moorage", base)


class TestImage:
    pytestmark = slow

    def test_the_same_sources_make_the_same_image(self, builder, base, image):
        assert builder.build("localhost/again", base) == image[1]

    def test_it_goes_through_this_registry_and_runs(
        self, builder, image, registry_server, tmp_path
    ):
        server = registry_server(workers=2)
        there = f"docker://{server.address}/moorage/moorage:{__version__}"
        builder("push", "--tls-verify=false", image[0], there)
        layout = f"oci:{tmp_path / 'pulled'}:it"
        copied = ["copy", "--quiet", "--src-tls-verify=false", there, layout]
        run(require_program("skopeo"), "--insecure-policy", *copied)
        config = json.loads(run(require_program("skopeo"), "inspect", "--config", layout).stdout)
        run(require_program("umoci"), "raw", "unpack", "--image", layout[4:], tmp_path / "root")
        root = tmp_path / "root"

        told = config["config"]
        assert told["User"] == "10001:10001"
        assert told["Entrypoint"] == ["moorage"]
        home = root / told["WorkingDir"].lstrip("/")
        assert (home.stat().st_uid, home.stat().st_gid) == (10001, 10001)
        assert writable(root / "opt") == []
        check_bill(json.loads((root / "opt/moorage/share/moorage.cdx.json").read_text()))

        ran = inside(root, told, "version")
        assert ran.stdout.strip() == f"moorage {__version__}", ran.stderr
        assert "Read-only file system" in inside(root, told, None, "touch /opt/moorage/x").stderr

        port = take_port()
        arguments = f"serve --addr {LOOPBACK}:{port} --workers 2 --metrics-addr {LOOPBACK}:0"
        with contained(root, told, arguments) as process:
            deadline = time.monotonic() + 60
            while not answers(f"{LOOPBACK}:{port}", "/readyz"):
                assert process.poll() is None, "it ended"
                assert time.monotonic() < deadline
                time.sleep(0.1)
            # It holds itself, as the registry that it was pushed to did.
            back = f"docker://{LOOPBACK}:{port}/moorage/moorage:{__version__}"
            kept = ["copy", "--quiet", "--dest-tls-verify=false", layout, back]
            run(require_program("skopeo"), "--insecure-policy", *kept)
            digest = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", back]
            assert run(require_program("skopeo"), *digest).stdout.startswith("sha256:")
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0


def writable(place):
    """Files that the image's user may write."""
    return [
        path for path in place.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022
    ]


def check_bill(bill):
    """The bill names what is there: the locked packages, and the system's."""
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["version"] == __version__
    purls = {each["purl"] for each in bill["components"]}
    for name in ("aiohttp", "aiobotocore", "cryptography", "redis", "uvloop"):
        assert f"pkg:pypi/{name}@{LOCK[name][0]}" in purls
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in purls)


def prepared(root, told, arguments, shell=None):
    """The command that runs the image in namespaces of its own, its root read-only."""
    environment = " ".join(f"'{each}'" for each in told["Env"])
    program = f"/bin/sh -c '{shell}'" if shell else f"{told['Entrypoint'][0]} {arguments}"
    user, work = told["User"], told["WorkingDir"]
    if not shell:
        program = f"/bin/sh -c 'cd {work} && exec {program}'"
    script = f"""set -e
mount --bind {root} {root}
mount -o remount,bind,ro {root}
mount -t tmpfs tmpfs {root}/tmp
mount -t tmpfs -o mode=0700,uid=10001,gid=10001 tmpfs {root}{work}
mount --rbind /dev {root}/dev
mount -t proc proc {root}/proc
exec chroot --userspec={user} {root} /usr/bin/env -i {environment} {program}
"""  # noqa: S108
    return ["unshare", "--mount", "--propagation=private", "/bin/sh", "-c", script]


def inside(root, told, arguments, shell=None):
    return run(*prepared(root, told, arguments, shell), check=False)


@contextlib.contextmanager
def contained(root, told, arguments):
    process = subprocess.Popen(prepared(root, told, arguments), start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
