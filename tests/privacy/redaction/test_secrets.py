"""Detectors of keys, tokens, passwords and credentials: structure, checksums, and what documentation writes instead."""

import base64
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.keys import new_secret
from app.privacy.redaction.detection import find, normalised

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM = "q7Zp2LxW9vKc4TnB8sRf3HdM6yJg1QwE5uXaV0tNbYkPmCiSoDrFhGzLeAjU7I"


def values(text: str, kind: str) -> list[str]:
    return [text[span.start : span.end] for span in find(text, frozenset({kind}))]


def with_checksum(prefix: str, body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return prefix + body + digits.rjust(6, "0")


# Put together here, so that no scanner of repositories takes this file for a leak.
KEYS = (
    "sk-" + RANDOM[:48], "sk-proj-" + RANDOM, "sk-ant-" + "api03-" + RANDOM + RANDOM[:33],
    "hf_" + "QpWoEiRuTyAlSkDjFhGzXmCnVbQpWoEiRu", "AKIA" + "Q7ZP2LXW3VKC4TNB", "AIza" + RANDOM[:35],
    "glpat-" + RANDOM[:20], "github_pat_" + RANDOM[:22] + "_" + RANDOM[:59],
    "xoxb-" + "123456789012-1234567890123-" + RANDOM[:24], "SG." + RANDOM[:22] + "." + RANDOM[:43],
    "sk_live_" + RANDOM[:24], "gsk_" + RANDOM[:52], "npm_", "ghp_",
)  # fmt: skip


@pytest.mark.parametrize("key", [with_checksum(key, RANDOM[:30]) if len(key) == 4 else key for key in KEYS])
def test_keys_of_providers_are_found_by_their_structure(key: str) -> None:
    assert values(f"I use {key}, and get 401", "api_key") == [key]
    assert values(f"密钥{key}吧", "api_key") == [key]
    assert values(f"x{key}", "api_key") == []


def test_keys_of_this_service_are_found() -> None:
    assert values(f"key={new_secret()} {new_secret(browser=True)}", "api_key") != []


@given(st.text(BASE62, min_size=30, max_size=30), st.integers(0, 29))
def test_a_token_with_a_wrong_checksum_is_none(body: str, place: int) -> None:
    token = with_checksum("ghp_", body)
    other = "a" if body[place] != "a" else "b"
    changed = token[: 4 + place] + other + token[5 + place :]

    assert values(token, "api_key") == [token]
    assert values(changed, "api_key") == []


@pytest.mark.parametrize(
    "text",
    [
        "sk-" + "x" * 48, "AKIA" + "IOSFODNN7EXAMPLE", "sk-learn-contrib", "hf_transfer", "ghp_" + "a" * 36,
        "npm_config_registry_of_all",
    ],
)  # fmt: skip
def test_what_documentation_writes_for_a_key_is_none(text: str) -> None:
    assert values(text, "api_key") == []


PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\nq7Zp2LxW9vKc4TnB==\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize("key", [PEM, PEM.replace("RSA ", ""), PEM.replace("\n", "\\n"), PEM.replace("RSA", "OPENSSH")])
def test_a_private_key_is_found_from_begin_to_end(key: str) -> None:
    assert values(f"before {key} after", "private_key") == [key]
    assert normalised("private_key", key) == normalised("private_key", key.replace("\n", "\r\n"))


def test_a_private_key_whose_end_is_missing_is_found_and_a_public_one_is_not() -> None:
    assert values("-----BEGIN PRIVATE KEY-----\nMIIEpAIB\n", "private_key") == ["-----BEGIN PRIVATE KEY-----\nMIIEpAIB"]
    assert values(PEM.replace("PRIVATE", "PUBLIC"), "private_key") == []


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def test_a_jwt_is_found_if_its_header_names_an_algorithm() -> None:
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': '1'})}.{RANDOM[:43]}"
    encrypted = f"{part({'alg': 'dir', 'enc': 'A256GCM'})}..{RANDOM[:16]}.{RANDOM[:20]}.{RANDOM[:22]}"

    assert values(f"Bearer {signed}.", "jwt") == [signed]
    assert values(f"({encrypted})", "jwt") == [encrypted]
    assert values(f"{part({'typ': 'JWT'})}.{part({})}.abc", "jwt") == []
    assert values(f"eyJhbGciOiJI.{part({})}.abc", "jwt") == []


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (f"Authorization: Bearer {RANDOM[:40]}", RANDOM[:40]),
        (f"api_key = '{RANDOM[:32]}'", RANDOM[:32]),
        (f'{{"client_secret": "{RANDOM[:20]}", "a": 1}}', RANDOM[:20]),
        (f"export SERVICE_TOKEN={RANDOM[:24]} && run", RANDOM[:24]),
        (f"?access_token={RANDOM[:24]}&state=1", RANDOM[:24]),
        ("My api key is a8f5f167f44f4964e6c998dee827110c.", "a8f5f167f44f4964e6c998dee827110c"),
    ],
)
def test_a_token_is_found_after_its_name(text: str, token: str) -> None:
    assert values(text, "token") == [token]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer <token>", "Bearer authentication", "token = tokenizer.encode(text)", "max_tokens=4096",
        "secret: a story", "api_key=settings.openai_api_key_2", "API_KEY=your-api-key-goes-here-1234",
        "token: 11111111111111111111", "token_type=bearer", "access_token: string", f"sha256: {RANDOM[:40]}",
        "API_KEY=${API_KEY_OF_2026_AND_LATER}",
    ],
)  # fmt: skip
def test_code_and_words_are_no_tokens(text: str) -> None:
    assert values(text, "token") == []


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("password = 'hunter2!'", "hunter2!"),
        ("My password is Sommer2024 and it fails", "Sommer2024"),
        ("Passwort: blauerHimmel#7.", "blauerHimmel#7"),
        ('{"password": "p@ss%word9"}', "p@ss%word9"),
        ("DB_PASSWORD=x7$Kq-2mZ", "x7$Kq-2mZ"),
        ("密码:abc12345", "abc12345"),
    ],
)
def test_a_password_is_found_after_its_name(text: str, password: str) -> None:
    assert values(text, "password") == [password]


@pytest.mark.parametrize(
    "text",
    [
        "password: required", "The password must have 8 characters", "password is case-sensitive",
        "password=os.environ['PW_1']", "password=self.password", "password: ${DB_PASSWORD1}", "password=********",
        "password = getpass1()", "password: {{ pw1 }}", "password='password'", "print('Password is correct!')",
        "password: <your-password-1>",
    ],
)  # fmt: skip
def test_code_words_and_placeholders_are_no_passwords(text: str) -> None:
    assert values(text, "password") == []


def test_user_and_password_of_a_url_are_found() -> None:
    assert values("postgresql://app:s3cr3t!@db.acme.io:5432/app", "url_credentials") == ["app:s3cr3t!"]
    assert values("redis://:s3cr3t@cache", "url_credentials") == [":s3cr3t"]
    assert values("https://acme.io:8080/a@b https://user@acme.io http://user:password@host", "url_credentials") == []
