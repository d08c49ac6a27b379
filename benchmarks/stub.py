"""A TLS server on this machine that answers the AWS calls of one event, in order."""

import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answers = Sequence[tuple[str, dict[str, Any]]]


class Stub:
    """`calls` are the operations that were called since `expect`."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.calls: list[str] = []
        self._answers: Answers = ()

    def expect(self, answers: Answers) -> None:
        """Answer these from now on, repeatedly."""
        self.calls, self._answers = [], answers

    def answer(self, operation: str) -> dict[str, Any] | None:
        """None if this is not the next call."""
        expected, answer = self._answers[len(self.calls) % len(self._answers)]
        self.calls.append(operation)
        return answer if operation == expected else None


class _Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stub = Stub(f"https://127.0.0.1:{self.server_address[1]}")


@contextmanager
def serve(folder: Path) -> Iterator[tuple[Stub, Path]]:
    """The running stub, and a file with its certificate after those that botocore trusts."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate = _certificate(folder)
    bundle = folder / "ca.pem"
    bundle.write_bytes(
        (Path(botocore.__file__).parent / "cacert.pem").read_bytes() + certificate.read_bytes()
    )
    server = _Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.stub, bundle
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        answer = self.server.stub.answer(operation)
        body = json.dumps(answer or {"__type": "UnexpectedCall"}).encode()
        self.send_response(400 if answer is None else 200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


def _certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, plain))
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(pem))
    return path
