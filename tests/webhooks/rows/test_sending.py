"""One request over TLS: the address is the checked one, the certificate has to be that of the name."""

import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.webhooks import sending
from app.webhooks.addresses import WebhookTarget

NAME = "ops.example"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["host"].encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The port of a server with a certificate of `ops.example`, which webhooks trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "server.pem"
    file.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    trusted = ssl.create_default_context(cafile=str(file))
    monkeypatch.setattr(sending, "_tls", lambda: trusted)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def post(host: str, port: int) -> sending.AttemptOutcome:
    target = WebhookTarget("https", host, port, "/hook")
    deadline = time.monotonic() + 5
    return sending.post(
        target, {}, b"{}", deadline=deadline, allow_private=True, resolve=lambda _host, _port: ["127.0.0.1"]
    )


def test_the_certificate_of_the_name_is_accepted_from_the_checked_address(port):
    outcome = post(NAME, port)

    assert (outcome.succeeded, outcome.answer) == (True, f"{NAME}:{port}")


def test_the_certificate_of_another_name_is_refused(port):
    outcome = post("other.example", port)

    assert outcome.status is None
    assert "certificate" in str(outcome.trouble)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "localhost"])
def test_another_way_to_write_this_machine_is_refused_when_it_is_resolved(host):
    target = WebhookTarget("https", host, 9, "/")

    outcome = sending.post(target, {}, b"{}", deadline=time.monotonic() + 5, allow_private=False)

    assert "a private address: nothing is sent there" in str(outcome.trouble)
