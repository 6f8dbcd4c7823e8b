"""The scan of logs finds what it is there to find."""

import base64

from tests.fixtures.secrecy import Secrets


def test_a_secret_is_found_wherever_it_stands_in_a_text():
    secrets = Secrets()
    secrets.note("correct horse battery")
    secrets.scan("here", "a line\nwith correct horse battery in it\nand another")
    (found,) = secrets.found
    assert "with correct horse" in found
    secrets.scan("here", "correct horse batter, and more of it")
    assert len(secrets.found) == 1


def test_what_is_noted_of_requests_and_answers():
    secrets = Secrets()
    shown = base64.b64encode(b"ann:a password that is long").decode()
    secrets.note_headers([("Authorization", f"Basic {shown}"), ("Accept", "no secret at all")])
    secrets.note_json(b'{"token": {"id": "an-id-of-a-token"}, "label": "access-token-one"}')
    secrets.note_json(b'{"token": "eyJhbGciOi.eyJzdWIiOi.signature-of-a-token-0123"}')
    secrets.note_json(
        b'{"secret": "mrg_bot_0123abcd_TheSecretPart0123", "login": "public-name-01"}'
    )
    secrets.note("https://s3/x?X-Amz-Signature=" + "0123456789abcdef" * 4)
    for text in (
        shown,
        "a password that is long",
        "signature-of-a-token-0123",
        "TheSecretPart0123",
        "0123456789abcdef" * 4,
    ):
        before = len(secrets.found)
        secrets.scan("here", f"x{text}x")
        assert len(secrets.found) > before, text
    before = len(secrets.found)
    secrets.scan(
        "here",
        "an-id-of-a-token, access-token-one, secret:0123abcd, public-name-01, eyJhbGciOi.eyJz",
    )
    assert len(secrets.found) == before


def test_lines_of_a_private_key_are_secrets():
    secrets = Secrets()
    line = base64.b64encode(bytes(range(48))).decode()
    pem = f"-----BEGIN PRIVATE KEY-----\\n{line}\\n-----END PRIVATE KEY-----\\n"
    secrets.note_json(f'{{"pem": "{pem}"}}', inside=True)
    secrets.scan("here", f"oops {line}")
    assert secrets.found
