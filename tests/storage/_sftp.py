"""An SFTP server in this process: files below a folder, connections that break as they are told."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

USER, PASSWORD = "ana", "a-secret-password"

Fault = Callable[[str, str], str]
"""From a verb and a path to ``"before"`` or ``"after"``, when the connection is to break, or to nothing."""


def no_fault(verb: str, path: str) -> str:
    """Let everything pass."""
    return ""


class SftpServer:
    """Serves a folder to one user, as OpenSSH does: its plain rename makes a hard link, so that it replaces nothing.

    With `replaces`, rename is as careless as that of some other servers.
    """

    def __init__(self) -> None:
        self.root = Path()
        self.fault: Fault = no_fault
        self.replaces = False
        self.log: list[tuple[str, str]] = []
        self._key = paramiko.Ed25519Key.from_private_key(_new_key())
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._transports: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def reset(self, root: Path) -> None:
        """Serve another folder, faultlessly, to new connections only."""
        self.hang_up()
        self.root, self.fault, self.replaces, self.log = root, no_fault, False, []

    def hang_up(self) -> None:
        """Break every connection."""
        while self._transports:
            self._transports.pop().close()

    def close(self) -> None:
        """Stop."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        self.hang_up()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                transport = paramiko.Transport(connection)
                transport.add_server_key(self._key)
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, server_of_all=self)
                self._transports.append(transport)
                transport.start_server(server=_Login(), event=threading.Event())


def _new_key() -> Any:
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return io.StringIO(text.decode())


class _Login(paramiko.ServerInterface):  # type: ignore[misc]
    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == (USER, PASSWORD)
        return int(paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def get_allowed_auths(self, username: str) -> str:
        return "password"


class _Handle(paramiko.SFTPHandle):  # type: ignore[misc]
    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.stat(self.filename))


class _Files(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """The verbs, on files below the folder."""

    def __init__(self, server: Any, *args: Any, server_of_all: SftpServer, **options: Any) -> None:
        super().__init__(server, *args, **options)
        self._owner = server_of_all
        self._root = server_of_all.root

    def _do(self, verb: str, path: str, action: Callable[[str], Any]) -> Any:
        self._owner.log.append((verb, path))
        fault = self._owner.fault(verb, path)
        if fault == "before":
            self._owner.hang_up()
            return paramiko.SFTP_FAILURE  # which nobody hears
        try:
            found = action(f"{self._root}/{self.canonicalize(path).lstrip('/')}")
        except OSError as error:
            found = paramiko.SFTPServer.convert_errno(error.errno or 0)
        if fault == "after":
            self._owner.hang_up()
        return paramiko.SFTP_OK if found is None else found

    def list_folder(self, path: str) -> Any:
        def read(real: str) -> list[paramiko.SFTPAttributes]:
            with os.scandir(real) as entries:
                return [paramiko.SFTPAttributes.from_stat(e.stat(follow_symlinks=False), e.name) for e in entries]

        return self._do("list", path, read)

    def stat(self, path: str) -> Any:
        return self._do("stat", path, lambda real: paramiko.SFTPAttributes.from_stat(os.stat(real)))

    def lstat(self, path: str) -> Any:
        return self._do("lstat", path, lambda real: paramiko.SFTPAttributes.from_stat(os.lstat(real)))

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> Any:
        def begin(real: str) -> paramiko.SFTPHandle:
            file = os.fdopen(os.open(real, flags, 0o644), "wb" if flags & os.O_WRONLY else "rb")
            handle = _Handle(flags)
            handle.filename = real
            handle.readfile = handle.writefile = file
            return handle

        return self._do("open", path, begin)

    def remove(self, path: str) -> Any:
        return self._do("remove", path, os.remove)

    def rename(self, oldpath: str, newpath: str) -> Any:
        old = f"{self._root}/{self.canonicalize(oldpath).lstrip('/')}"

        def move(new: str) -> None:
            if self._owner.replaces:
                os.replace(old, new)
            else:
                os.link(old, new)
                os.remove(old)

        return self._do("rename", newpath, move)

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> Any:
        return self._do("mkdir", path, os.mkdir)

    def rmdir(self, path: str) -> Any:
        return self._do("rmdir", path, os.rmdir)
