"""Configuration: what wins, what is refused, and how a refusal reads."""

import json
from pathlib import Path

import msgspec
import pytest

from registry import config
from registry.config import Address, ConfigError, Secret, load
from registry.http.limits import Limits


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_without_anything_it_serves_this_machine_from_a_directory():
    found = load()
    assert found.server.addr == "127.0.0.1:5000"
    assert found.storage.driver == "filesystem"
    assert found.storage.path == ".data"
    assert found.metrics.addr is None


def test_later_files_win_key_by_key(tmp_path):
    one = write(tmp_path / "one.toml", "[server]\nworkers = 2\nidle_seconds = 5\n")
    two = write(tmp_path / "two.toml", "[server]\nworkers = 3\n")
    found = load([one, two])
    assert (found.server.workers, found.server.idle_seconds) == (3, 5.0)


def test_environment_wins_over_files_and_flags_over_all(tmp_path):
    file = write(tmp_path / "one.toml", "[server]\nworkers = 2\n")
    environment = {"MOORAGE__SERVER__WORKERS": "3", "MOORAGE__LOG__ACCESS": "false", "OTHER": "x"}
    assert load([file], environment).server.workers == 3
    assert load([file], environment).log.access is False
    assert load([file], environment, {"server.workers": 4}).server.workers == 4


def test_a_pair_may_be_split_over_two_files(tmp_path):
    one = write(tmp_path / "one.toml", '[tls]\ncertificate = "c.pem"\n')
    two = write(tmp_path / "two.toml", '[tls]\nkey = "k.pem"\n')
    assert load([one, two]).tls.key == "k.pem"
    with pytest.raises(ConfigError, match=r"\$\.tls: certificate and key"):
        load([one])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nadr = 1\n", r"one.toml: \$\.server\.adr: no such setting; did you mean 'addr'"),
        ("[servr]\naddr = 1\n", r"\$\.servr: no such setting; did you mean 'server'"),
        ("addr = 'x:1'\n", r"\$\.addr: no such setting; did you mean 'server.addr'"),
        (
            "[log]\nworkers = 2\n",
            r"\$\.log\.workers: no such setting; did you mean 'server.workers'",
        ),
        ("[log]\nqqqq = 2\n", r"this section has format, level"),
        ("[server]\naddr = '127.0.0.1'\n", r"\$\.server\.addr: expected host:port"),
        ("[server]\naddr = '::1:5000'\n", r"in brackets, as in \[::1\]:5000"),
        ("[server]\naddr = 'a:70000'\n", r"at most 65535"),
        ("[server]\naddr = 5\n", r"\$\.server\.addr: expected a text, got int"),
        ("[server]\nworkers = '2'\n", r"\$\.server\.workers: Expected `int`, got `str`"),
        ("[server]\nworkers = 0\n", r"\$\.server\.workers: Expected `int` >= 1"),
        ("[log]\nformat = 'xml'\n", r"\$\.log\.format: .*'xml'; it is one of auto, json, text"),
        ("server = 1\n", r"\$\.server: Expected `object`, got `int`"),
        ("[server\n", r"one.toml: not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load([write(tmp_path / "one.toml", text)])


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("MOORAGE__SERVER__ADR", "x", "did you mean 'MOORAGE__SERVER__ADDR'"),
        ("MOORAGE__SERVER__WORKERS", "two", r"\$\.server\.workers.*Expected `int`.*'two'"),
        ("MOORAGE__LOG__LEVEL", "loud", "it is one of debug, info, warning, error"),
        ("MOORAGE__SERVER__ADDR_FILE", "/x", "no such setting"),
        ("MOORAGE__TLS__KEY_PASSWORD_FILE", "/nowhere/at/all", "can't be read"),
    ],
)
def test_environment_is_held_to_the_same(variable, value, message):
    with pytest.raises(ConfigError, match=message):
        load([], {variable: value})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: can't be read"):
        load([tmp_path / "none.toml"])


def test_sections_lie_within_others_and_merge_key_by_key(tmp_path):
    one = write(
        tmp_path / "one.toml",
        '[auth]\nmode = "projects"\n[auth.token]\nseconds = 300\nservice = "a"\n'
        '[auth.oidc.corp]\nissuer = "https://idp.example"\naudiences = ["moorage"]\n',
    )
    two = write(
        tmp_path / "two.toml",
        '[auth.token]\nservice = "b"\n[auth.oidc.corp]\nusername_claim = "email"\n'
        '[auth.oidc.other]\nissuer = "https://other.example"\naudiences = ["x"]\n',
    )
    variables = {"MOORAGE__AUTH__TOKEN__SECONDS": "120", "MOORAGE__AUTH__TOKEN__KEYS": "a, b,"}
    auth = load([one, two], variables, {"auth.token.rotate_days": 5}).auth
    assert (auth.token.seconds, auth.token.service, auth.token.rotate_days) == (120, "b", 5)
    assert auth.token.keys == ("a", "b")
    assert list(auth.oidc) == ["corp", "other"]
    assert auth.oidc["corp"].issuer == "https://idp.example"
    assert auth.oidc["corp"].username_claim == "email"


PROJECTS = '[auth]\nmode = "projects"\n'
IDP = f'{PROJECTS}[auth.oidc.corp]\nissuer = "https://idp.example"\naudiences = ["moorage"]\n'
CI = f'{PROJECTS}[auth.workload.ci]\nissuer = "https://ci.example"\naudiences = ["moorage"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[auth.tokn]\n", r"\$\.auth\.tokn: no such setting; did you mean 'token'"),
        ("[auth.token]\nsecond = 5\n", r"\$\.auth\.token\.second: .* did you mean 'seconds'"),
        (f"{IDP}usrname_claim = 'x'\n", r"usrname_claim: .* did you mean 'username_claim'"),
        (f"{CI}[[auth.workload.ci.rules]]\nmatch = {{}}\nnam = 'x'\n", r"did you mean 'name'"),
        (
            f"{CI}[[auth.workload.ci.rules]]\nmatch = {{}}\n",
            r"rules\[0\]`?: .*required field `name`",
        ),
        ("[auth.token]\nseconds = 59\n", r">= 60"),
        ("[auth]\nmode = 'projects'\nbootstrap_secret = 'admin'\n", r"it can be guessed"),
        ("[auth.token]\nalgorithm = 'HS256'\n", r"it is one of ES256, RS256, EdDSA"),
        ("[auth.token]\nservice = 'a\"b'\n", r"matching regex"),
        ("[server]\npublic_url = 'https://x/path'\n", r"matching regex"),
        (IDP.replace("https://idp.example", ""), r"corp: issuer and audiences must be given"),
        (IDP.replace('"moorage"', ""), r"corp: issuer and audiences must be given"),
        (IDP.replace("https", "http"), r"corp: .* without TLS"),
        (f"{IDP}jwks_url = 'http://idp.example/keys'\n", r"corp: .* without TLS"),
        (f"{IDP}jwks_url = 'https://x'\njwks_file = 'y'\n", r"jwks_url and jwks_file exclude"),
        (IDP.replace("corp", '"Co/rp"'), r"name .* lower-case"),
        (IDP.replace('"projects"', '"open"'), r"\$\.auth\.mode: .* log in"),
        ("[auth]\nhtpasswd = 'x'\n", r"\$\.auth\.mode: .* log in"),
        (CI, r"ci: .* needs rules"),
        (f"{CI}[[auth.workload.ci.rules]]\nmatch = {{}}\nname = 'x'\n", r"match .* at least one"),
        (
            f"{CI}[[auth.workload.ci.rules]]\nmatch = {{sub = '*'}}\nname = 'x'\nscopes = 'y'\n",
            r"scopes 'y' means nothing",
        ),
        (
            f"{PROJECTS}[[auth.certificates.rules]]\nmatch = {{cn = '*'}}\nname = '{{cn}}'\n",
            r"certificates: .* tls\.client_ca",
        ),
        ("[tls]\nclient_ca = 'ca.pem'\n", r"client_ca: .* certificate"),
        ("[platform]\nshared_repository = 'hops/base'\n", r"shared_repository: .* no projects"),
        (f"{PROJECTS}[platform]\nshared_repository = 'Hops'\n", r"shared_repository: .*lower-case"),
    ],
)
def test_what_is_wrong_with_logins_is_said_with_its_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load([write(tmp_path / "one.toml", text)])


def test_http_is_taken_from_this_machine_and_where_it_is_allowed(tmp_path):
    for text in (
        IDP.replace("https://idp.example", "http://127.0.0.1:9"),
        IDP.replace("https://idp.example", "http://localhost:9"),
        f"{IDP.replace('https', 'http')}plain_http = true\n",
        f"{IDP.replace('https', 'http')}jwks_file = 'keys.json'\n",
    ):
        assert load([write(tmp_path / "one.toml", text)]).auth.oidc["corp"].issuer


def test_secrets_come_from_files_and_never_show(tmp_path):
    file = write(tmp_path / "password", "s3cret\n")
    found = load([], {"MOORAGE__TLS__KEY_PASSWORD_FILE": str(file)})
    assert found.tls.key_password.reveal() == "s3cret"
    assert "s3cret" not in f"{found!r} {found.tls.key_password} {config.show(found)}"
    assert "*" in repr(found.tls.key_password)


def test_a_secret_given_twice_is_refused(tmp_path):
    variables = {
        "MOORAGE__TLS__KEY_PASSWORD": "s3cret",
        "MOORAGE__TLS__KEY_PASSWORD_FILE": str(write(tmp_path / "p", "other")),
    }
    with pytest.raises(ConfigError, match="set only one") as error:
        load([], variables)
    assert "s3cret" not in str(error.value)


def test_empty_secrets_are_false_and_equal_by_text():
    assert not Secret()
    assert Secret("a") == Secret("a") != Secret("b")


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        (":1", False),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.0.2.1:1", False),
        ("[::ffff:192.0.2.1]:1", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(text, loopback):
    assert Address.parse(text).is_loopback() is loopback


def test_addresses_round_trip():
    for text in ("127.0.0.1:5000", "[::1]:5000", ":80", "localhost:0"):
        assert str(Address.parse(text)) == text
    assert str(Address.parse("[::1]:0").with_port(7)) == "[::1]:7"
    assert Address.parse(":5000").client_host() == "127.0.0.1"


def test_configured_limits_are_those_of_the_server():
    """A limit that the server gets must be one that can be set, with the same default."""
    shown = msgspec.structs.asdict(load().limits)
    del shown["allow_sparse"]
    assert shown == msgspec.structs.asdict(Limits())


def test_the_schema_knows_every_setting_and_its_default():
    schema = config.schema()
    for setting in config.settings():
        section = setting.holder.__name__
        entry = schema["$defs"][section]["properties"][setting.key]
        assert entry["description"] == setting.description, setting.name
        required = setting.default is msgspec.NODEFAULT
        assert ("default" in entry) != required, setting.name
        assert (setting.key in schema["$defs"][section].get("required", [])) == required
        assert schema["$defs"][section]["additionalProperties"] is False
    json.dumps(schema)
