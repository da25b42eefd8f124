"""The executor over TLS, with certificates made here, straight and through a proxy's tunnel."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.storage import _s3
from tests.transfer._raw import get, make_executor
from tests.transfer.test_executor_jobs import Steps, several

from holdall_store.config import NetworkEnvironment
from holdall_store.errors import StorageError
from holdall_store.transfer._exchange import Request


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate that vouches for itself, and return its file and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server of the tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


class TlsServer(_s3.S3Server):
    """The server of S3 behind TLS."""

    def __init__(self, files: tuple[Path, Path]) -> None:
        super().__init__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        plain = self._server
        assert isinstance(plain, ThreadingHTTPServer)
        # The handshake is the handler's, in its thread: one client that never ends it stops no other.
        plain.socket = context.wrap_socket(plain.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for the tests here."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(files: tuple[Path, Path]) -> Iterator[TlsServer]:
    """Run a server behind TLS with a hundred small objects and a large one."""
    made = TlsServer(files)
    made.reset()
    for number in range(100):
        made.buckets["bucket"][f"k{number}"] = bytes([number]) * 100
    made.buckets["bucket"]["large"] = bytes(range(256)) * 20_000
    yield made
    made.close()


def trusting(files: tuple[Path, Path], proxy: str | None = None) -> NetworkEnvironment:
    """Return a network in which the certificate is trusted."""
    return NetworkEnvironment(https_proxy=proxy, ca_bundle=str(files[0]))


def test_many_objects_over_tls(server: TlsServer, files: tuple[Path, Path]) -> None:
    """Small ones and a large one, received and sent; connections are kept."""
    with make_executor(server.url, concurrency=4, network=trusting(files)) as executor:
        memory = bytearray(256 * 20_000)
        found = list(executor.run([several([number]) for number in range(100)], bytes_max=1 << 30))
        list(executor.run([get("large", target=memoryview(memory))], bytes_max=1))
        parts = (memoryview(memory)[:1_000_000], bytes(3_000_000), b"end")

        def put() -> Steps:
            (response,) = yield [Request("PUT", "bucket", "sent", body=parts)]
            return response.status

        assert list(executor.run([put()], bytes_max=1)) == [200]
        assert executor.statistics()["connections"] <= 4
    assert found == [bytes([number]) * 100 for number in range(100)]
    assert memory == server.buckets["bucket"]["large"]
    assert server.buckets["bucket"]["sent"] == b"".join(bytes(part) for part in parts)


def test_an_unknown_certificate_is_refused(server: TlsServer) -> None:
    """Nobody reads from a server that nobody vouches for; the error says how to trust it, and is not waited for."""
    with make_executor(server.url, network=NetworkEnvironment()) as executor:
        with pytest.raises(StorageError, match="AWS_CA_BUNDLE"):
            list(executor.run([get("k1")], bytes_max=1))
        assert executor.statistics()["retries"] == 0


def test_a_server_without_tls(files: tuple[Path, Path]) -> None:
    """A server that speaks plain http at an https address is an error after a short while."""
    plain = _s3.S3Server()
    plain.reset()
    try:
        url = plain.url.replace("http:", "https:")
        with make_executor(url, deadline=0.3, network=trusting(files)) as executor, pytest.raises(StorageError):
            list(executor.run([get("k1")], bytes_max=1))
    finally:
        plain.close()


def tunnel(listener: socket.socket, asked: list[bytes]) -> None:
    """Be a proxy for one connection."""
    client, _ = listener.accept()
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    asked.append(head)
    host, _, port = head.split(b" ")[1].decode().partition(":")
    server = socket.create_connection((host, int(port)))
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return  # whoever closed first is gone already

    back = threading.Thread(target=copy, args=(server, client))
    back.start()
    copy(client, server)
    back.join()
    client.close()
    server.close()


def test_through_a_tunnel(server: TlsServer, files: tuple[Path, Path]) -> None:
    """A proxy is asked for a tunnel, in which the server's certificate is checked as ever."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=tunnel, args=(listener, asked))
        thread.start()
        proxy = f"http://me:hidden@127.0.0.1:{listener.getsockname()[1]}"
        with make_executor(server.url, concurrency=1, network=trusting(files, proxy)) as executor:
            assert list(executor.run([several([1]), several([2])], bytes_max=1)) == [b"\1" * 100, b"\2" * 100]
        thread.join()
    address = server.url.removeprefix("https://").encode()
    assert asked[0].startswith(b"CONNECT " + address + b" HTTP/1.1\r\nhost: " + address + b"\r\n")
    assert b"proxy-authorization: Basic bWU6aGlkZGVu\r\n" in asked[0]
