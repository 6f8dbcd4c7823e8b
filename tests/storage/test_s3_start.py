"""What the S3 driver finds out at the start, and what it makes of stores that can less."""

import asyncio
import dataclasses
import ssl

import pytest
import trustme

from storage import _s3_probe
from storage._layout import StoreRefused
from storage._s3_plan import MAX_PARTS, PartPlan
from storage._s3_probe import probe
from storage._s3_progress import MAX_PROGRESS, Part, Progress
from storage.ports import Unavailable
from storage.s3 import Abilities, S3Settings, S3Store
from storage.testing import ContentStoreContract
from tests.fixtures.stores import s3_store, settings_of
from tests.oracle.s3_proxy import S3Proxy

CONDITIONS = ("If-Match", "If-None-Match")
CRC32 = ("x-amz-checksum-crc32", "x-amz-checksum-algorithm")


class TestWithoutConditions(ContentStoreContract):
    """A look and then a write: safe among the tasks of one process."""

    @pytest.fixture
    async def store(self, minio):
        async with S3Proxy(minio.endpoint, forgets=CONDITIONS) as proxy:
            settings = settings_of(minio, endpoint=proxy.endpoint)
            async with s3_store(settings) as store:
                assert not store.conditional
                yield store


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("minio", {"delete": False, "sorted": True}),
        ("seaweedfs", {"delete": True, "sorted": False}),
    ],
)
async def test_what_the_stores_honour(request, server, expected):
    rest = {"create": True, "replace": True, "complete": True, "checksum": "crc32"}
    async with s3_store(settings_of(request.getfixturevalue(server))) as store:
        assert store.honours == Abilities(**rest, **expected)
        assert store.conditional


@pytest.mark.parametrize(
    ("forgets", "lost"),
    [
        (CONDITIONS, {"create": False, "replace": False, "complete": False}),
        (("If-Match",), {"replace": False}),
        (CRC32, {"checksum": "md5"}),
        ((*CRC32, "Content-MD5"), {"checksum": ""}),
    ],
)
async def test_what_a_store_ignores_is_found_out(minio, forgets, lost):
    async with S3Proxy(minio.endpoint, forgets=forgets) as proxy:
        settings = settings_of(minio, endpoint=proxy.endpoint)
        async with s3_store(settings) as store:
            known = {"create": True, "replace": True, "complete": True, "checksum": "crc32"}
            assert store.honours == Abilities(**known | lost, sorted=True)
            async with store.append("data/a", "") as writer:
                await writer.write(bytes(20_000_000))
                assert await writer.finish() == 20_000_000


async def test_a_store_that_deletes_what_is_gone_is_not_asked_to_delete_at_a_version(seaweedfs):
    """Of two that delete one object at once, both would be told that it was they."""

    def fits(request):
        return request.method == "DELETE" and "If-Match" in request.headers

    async with S3Proxy(seaweedfs.endpoint) as proxy:
        proxy.fault(1, "done", times=9, fits=lambda request: fits(request)
                    and "-none" in request.path)  # fmt: skip
        async with s3_store(settings_of(seaweedfs, endpoint=proxy.endpoint)) as store:
            assert not store.honours.delete
            version = await store.create("data/a", b"1")
            assert await store.delete("data/a", version=version)
            assert not await store.delete("data/a", version=version)


async def test_many_replicas_may_probe_at_once_and_leave_the_marker_only(minio):
    settings = settings_of(minio)
    async with s3_store(settings) as first:
        stores = await asyncio.gather(*[S3Store.opened(settings) for _ in range(10)])
        assert {store.honours for store in stores} == {first.honours}
        assert (await first._bucket.page("")).keys == ["moorage.json"]
        for store in stores:
            await store.close()


async def test_a_probe_takes_few_requests(minio):
    asked = []
    async with s3_store(settings_of(minio), observe=lambda *call: asked.append(call)) as store:
        asked.clear()
        await probe(store._bucket)
    assert len(asked) < 35
    assert {outcome for _, outcome, _ in asked} == {"2xx", "4xx"}


@pytest.mark.parametrize("times", [1, 3])
async def test_a_store_that_is_busy_at_the_start_is_asked_again(minio, times):
    async with S3Proxy(minio.endpoint) as proxy:
        proxy.fault(2, "slow", times=times)
        proxy.fault(9, "lose", times=times)
        async with s3_store(settings_of(minio, endpoint=proxy.endpoint)) as store:
            assert store.conditional


async def test_a_part_that_is_left_unanswered_at_the_start_is_tried_again(minio, monkeypatch):
    monkeypatch.setattr(_s3_probe, "_PATIENCE", 0.3)
    async with S3Proxy(minio.endpoint) as proxy:
        proxy.fault(1, "hang", times=2, fits=lambda request: "/sums" in request.path_qs
                    and "partNumber" in request.path_qs)  # fmt: skip
        settings = settings_of(minio, endpoint=proxy.endpoint)
        async with s3_store(settings) as store:
            assert store.honours.checksum == "crc32"
        proxy.fault(1, "hang", times=9, fits=lambda request: "/sums" in request.path_qs
                    and "partNumber" in request.path_qs)  # fmt: skip
        with pytest.raises(Unavailable, match=r"no answer in 0\.3 s"):
            await S3Store.opened(settings)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"bucket": "nowhere"}, StoreRefused, "can't be used: .*NoSuchBucket"),
        ({"secret_key": "wrong"}, StoreRefused, "can't be used: .*SignatureDoesNotMatch"),
        ({"access_key": "nobody"}, StoreRefused, "can't be used: .*InvalidAccessKeyId"),
        ({"endpoint": "http://127.0.0.1:9"}, Unavailable, "the store does not answer"),
    ],
)
async def test_a_bucket_that_cannot_be_used_is_said_at_the_start(minio, more, error, message):
    """What a store refuses is another error than one that does not answer: nobody waits for it."""
    settings = dataclasses.replace(settings_of(minio), total_seconds=3, **more)
    with pytest.raises(error, match=message):
        await S3Store.opened(settings)


async def test_credentials_come_from_where_botocore_looks(minio, monkeypatch, tmp_path):
    settings = settings_of(minio)
    async with s3_store(settings):
        pass
    bare = dataclasses.replace(settings, access_key="", secret_key="")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Unavailable, match="credentials: none for S3: set"):
        await S3Store.opened(bare)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", settings.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", settings.secret_key)
    async with s3_store(bare) as store:
        await store.put("a/b", b"1")


async def test_credentials_that_run_out_are_renewed(minio):
    """As those of a role do: the next request is signed with new ones."""
    settings = settings_of(minio)
    async with s3_store(settings) as store:
        asked = []

        class Renewed:
            refresh_needed = True

            async def get_frozen_credentials(self):
                asked.append(1)
                return signer._credentials_before

        signer = store._wire._signer
        signer._credentials_before = signer._credentials
        signer._credentials, signer._refreshes = Renewed(), True
        await store.put("a/b", b"1")
        await store.get("a/b")
        assert "X-Amz-Signature" in await store.presign("a/b", seconds=60, headers={})
        assert len(asked) == 3


async def test_an_authority_of_ones_own_is_trusted_and_no_other(minio, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    async with S3Proxy(minio.endpoint, tls=context) as proxy:
        settings = settings_of(
            minio, endpoint=proxy.endpoint, ca_file=str(tmp_path / "ca.pem"), total_seconds=2
        )
        async with s3_store(settings) as store:
            await store.put("a/b", b"1")
        for wrong in ("", str(tmp_path / "other.pem")):
            with pytest.raises(Unavailable, match="certificate"):
                await S3Store.opened(dataclasses.replace(settings, ca_file=wrong))
        with pytest.raises(Unavailable, match=r"none\.pem"):
            await S3Store.opened(dataclasses.replace(settings, ca_file=str(tmp_path / "none.pem")))


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "https://images.s3.eu-north-1.amazonaws.com/"),
        ({"bucket": "a.b"}, "https://s3.eu-north-1.amazonaws.com/a.b/"),
        ({"addressing": "path"}, "https://s3.eu-north-1.amazonaws.com/images/"),
        ({"endpoint": "http://minio:9000"}, "http://minio:9000/images/"),
        ({"endpoint": "http://minio:9000/"}, "http://minio:9000/images/"),
        (
            {"endpoint": "https://minio:9000", "addressing": "virtual"},
            "https://images.minio:9000/",
        ),
        ({"prefix": "a=b/c/"}, "https://images.s3.eu-north-1.amazonaws.com/a%3Db/c/"),
    ],
)
def test_where_keys_are(settings, url):
    assert S3Settings(**{"bucket": "images"} | settings).base_url("eu-north-1") == url


def test_parts_grow_so_that_ten_thousand_of_them_reach_far_and_memory_does_not():
    plan = PartPlan()
    sizes = [plan.size(number) for number in range(1, MAX_PARTS + 1)]
    assert sizes == sorted(sizes)
    assert sum(sizes) == 46_000 * plan.first
    assert max(sizes) <= 5 * 1024**3
    for number, size in enumerate(sizes, 1):
        held = size * (plan.ahead(number) + 1)
        assert held <= max((plan.in_flight + 1) * plan.first, 2 * size)


def test_the_longest_progress_is_taken_and_a_longer_one_is_not():
    part = Part("0" * 32, "AAAAAA==")
    longest = Progress(1, 1 << 40, "u" * 200, "f" * 32, [part] * MAX_PARTS).encode()
    assert len(longest) < MAX_PROGRESS
    assert Progress.parse("data/a", longest).offset == 1 << 40
    for text in (longest + " " * MAX_PROGRESS, longest.replace("]]", '],["e","c"]]')):
        with pytest.raises(ValueError, match=r"data/a: .* is no writer's progress"):
            Progress.parse("data/a", text)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "null",
        '{"v":2,"size":1}',
        '{"v":1}',
        '{"v":1,"size":0}',
        '{"v":1,"size":-1}',
        '{"v":1,"size":1.5}',
        '{"v":1,"size":1,"more":1}',
        '{"v":1,"size":1,"upload":"u"}',
        '{"v":1,"size":1,"parts":[["e"]]}',
        '{"v":1,"size":1,"upload":"u\\n","parts":[["e"]]}',
        '{"v":1,"size":1,"upload":"u","parts":[["\\"<"]]}',
        '{"v":1,"size":1,"upload":"u","parts":[["e","c","d"]]}',
        '{"v":1,"size":1,"tail":[2,1,"e"]}',
        '{"v":1,"size":1,"tail":[0,0,"e"]}',
        '{"v":1,"size":1e400}',
        "[" * 100_000,
        "\udcff",
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_a_progress_that_no_writer_gave_is_refused(text):
    with pytest.raises(ValueError, match=r"data/a: .* is no writer's progress"):
        Progress.parse("data/a", text)
