"""Hostile requests to every operation of an OpenAPI document: bodies, headers, cursors, encodings."""

import base64
import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_from_bytes

PADDING = 1024 * 1024
TEXTS: tuple[bytes, ...] = (
    b"x", b"0", b"-1", b"1.5", b"NaN", b"null", b"2147483648", b"9223372036854775807", b"9223372036854775808",
    b"9" * 5000, b"\x00", b"a\x00b", b"\xff\xfe", b"\xed\xa0\x80", "٣".encode(), "é\u202e".encode(), b"%", b"%2e%2e",
    b"../../etc/passwd", b"/", b"//", b"..", b"' OR 1=1 --", b"00000000-0000-0000-0000-000000000000",
    b"0190e0b0-0000-7000-8000-000000000000", b"hostile", b"x" * 8000, b"{}", b"[", b"\r\nX: y", b"true", b"nan:1", b" ",
)  # fmt: skip
KEYS_OF_CURSORS: tuple[bytes, ...] = (
    *TEXTS, b"1", b"0.5:1", b"nan:1", b"0:99999999999999999999", b"-1e999:1", b"0.1:-1", b"1-1", b"1_0", b" 1 ",
    "１２".encode(),
)  # fmt: skip
BODIES: tuple[bytes, ...] = (
    b"", b"{", b"null", b"[]", b"{}", b"true", b'"x"', b"0", b"NaN", b"-Infinity", b"\xff", b"\x00", b"\xef\xbb\xbf{}",
    b"[" * 1000, b"[" * 1000 + b"]" * 1000, b'{"a":' * 1000 + b"1" + b"}" * 1000, b"[" * 200_000, b"9" * 100_000,
    b"1e999999", b'{"project": ' + b"9" * 5000 + b"}", b'{"\\ud800": "\\udfff"}', b'{"a": "\\u0000"}',
    b"[0" + b",0" * 100_000 + b"]", b"{" + b",".join(b'"k%d":0' % n for n in range(30_000)) + b"}",
    b'{"a":1,"a":2}', b'{"' + b"k" * 300_000 + b'":1}', b"[{},{},{}]", b'{"events": {}}', b'{"events": [null, 1, []]}',
    b'{"events": [' + b'{"metadata":' + b"[" * 500 + b"]" * 500 + b"}]}", b"{}\n" * 6000,
    b"\n" * 20_000, b"'", b"// {}",
    b'["' + b"\\" * 100_000, "﻿{}".encode("utf-16"),
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 2**64, 10**30, 1e308, -0.0, "", " ", "\x00", "x" * 300_000, "\ud800", [], {}, [[]],
    [None] * 1000, {"": {}}, "nan", "../..", "2026-13-45T99:99:99Z",
    "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z",
)  # fmt: skip
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"Host", b"["), (b"Host", b"\xff"), (b"Host", b""), (b"Accept", b"text/plain"), (b"Accept-Encoding", b"\x80"),
    (b"Content-Type", b"text/plain"), (b"Content-Type", b"application/json; charset=utf-16"),
    (b"Content-Type", b"\xff"),
    (b"Content-Encoding", b"gzip"), (b"Content-Encoding", b"br"), (b"Content-Encoding", b"gzip, gzip"),
    (b"Authorization", b"Bearer "), (b"Authorization", b"Bearer \xff\xfe"), (b"Authorization", b"Basic x"),
    (b"Authorization", b"Bearer " + b"x" * 8000), (b"Authorization", b"Bearer tw_unknown"), (b"Range", b"bytes=-1"),
    (b"If-None-Match", b"\xff, W/"), (b"Last-Event-ID", b"9" * 30), (b"Last-Event-ID", b"999999999999999999-999999"),
    (b"Idempotency-Key", b'"'), (b"Idempotency-Key", b"\xff"), (b"Idempotency-Key", b"x" * 300), (b"X", b"y" * 8000),
    (b"Expect", b"100-continue"), (b"X-Forwarded-For", b"\xff"), (b"Cookie", b"=;" * 1000), (b"Origin", b"null"),
)  # fmt: skip
GZIPPED: tuple[bytes, ...] = (
    gzip.compress(b"[0" + b",0" * 8_000_000 + b"]"),
    gzip.compress(b"{}\n" * 5_000_000),
    gzip.compress(b"[]")[:-4],
    gzip.compress(b"[]") + b"garbage",
    gzip.compress(b"") * 10_000,
    b"\x1f\x8b" + b"\xff" * 1000,
    gzip.compress(gzip.compress(b"[]")),
)  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """An operation of the API. `statuses` are the documented ones."""

    method: str
    path: str
    in_path: tuple[str, ...]
    in_query: tuple[str, ...]
    statuses: frozenset[int]
    body: dict[str, Any] | None
    types: tuple[str, ...]


@dataclass(frozen=True)
class Sent:
    operation: Operation
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = field(repr=False, default=b"")
    chunked: bool = False


def operations_of(document: dict[str, Any]) -> list[Operation]:
    operations = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", [])
            content = operation.get("requestBody", {}).get("content", {})
            operations.append(
                Operation(
                    method.upper(),
                    path,
                    tuple(each["name"] for each in parameters if each["in"] == "path"),
                    tuple(each["name"] for each in parameters if each["in"] == "query"),
                    frozenset(int(status) for status in operation["responses"]),
                    _example(document, content.get("application/json")),
                    tuple(content),
                )
            )
    return operations


def _example(document: dict[str, Any], content: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns the example body of the document, with None for properties without an example."""
    if content is None:
        return None
    schema = content.get("schema", {})
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    first = (schema.get("examples") or [{}])[0]
    return {**dict.fromkeys(schema.get("properties", {})), **(first if isinstance(first, dict) else {})}


def requests_to(operation: Operation, key: str, rng: random.Random) -> Iterator[Sent]:
    """Yields every hostile request to the operation, in no particular order."""
    known = (b"Authorization", b"Bearer " + key.encode())
    sound = {name: b"hostile" if name == "project" else b"1" for name in operation.in_path}
    query = {"project": b"hostile"} if "project" in operation.in_query else {}
    bodies: list[bytes] = [b""]
    if operation.body is not None:
        bodies = [*BODIES, *_mutated(operation.body, rng)]
    for name in operation.in_path:
        for text in TEXTS:
            yield Sent(operation, _target(operation, sound | {name: text}, query), (known,))
    for name in operation.in_query:
        texts = [*map(_cursor, KEYS_OF_CURSORS), *TEXTS] if name == "cursor" else TEXTS
        for text in texts:
            yield Sent(operation, _target(operation, sound, query | {name: text}), (known,))
    plain = _target(operation, sound, query)
    json_type = (b"Content-Type", b"application/json")
    usual = json.dumps(operation.body).encode() if operation.body is not None else b""
    for name, value in HEADERS:
        kept = tuple(header for header in (known, json_type) if header[0] != name)
        yield Sent(operation, plain, (*kept, (name, value)), usual)
    if operation.method in ("POST", "PUT", "PATCH"):
        for body in bodies:
            for headers in ((known, json_type), (json_type,)):
                yield Sent(operation, plain, headers, body, chunked=rng.random() < 0.2)
        for kind in operation.types[1:]:
            for body in bodies:
                yield Sent(operation, plain, (known, (b"Content-Type", kind.encode())), body)
        for body in GZIPPED:
            yield Sent(operation, plain, (known, json_type, (b"Content-Encoding", b"gzip")), body)
        yield Sent(operation, plain, (known, json_type), b"[" + b"{}," * (5 * PADDING) + b"{}]")
        yield Sent(operation, plain, (json_type,), b"[" + b"{}," * (5 * PADDING) + b"{}]", chunked=True)


def _mutated(example: dict[str, Any], rng: random.Random) -> Iterator[bytes]:
    """Yields the example with a hostile value in each of its fields."""
    for name in example:
        for value in rng.sample(VALUES, 8):
            if name == "archived" and value is True:
                continue  # requests to a closed project would reach nothing
            yield json.dumps({key: value if key == name else kept for key, kept in example.items() if kept is not None}
                             | {name: value}).encode()  # fmt: skip
    yield json.dumps(example | {"unknown": 1}).encode()


def _cursor(key: bytes) -> bytes:
    return base64.urlsafe_b64encode(key).rstrip(b"=")


def _target(operation: Operation, in_path: dict[str, bytes], in_query: dict[str, bytes]) -> bytes:
    path = operation.path
    for name, value in in_path.items():
        path = path.replace("{" + name + "}", quote_from_bytes(value, safe=""))
    query = "&".join(f"{quote(name)}={quote_from_bytes(value, safe='')}" for name, value in in_query.items())
    return (path + ("?" + query if query else "")).encode()
