"""Servers of the S3 benchmarks: nginx in the shape of S3 and without, rclone and moto; each in a folder of its own."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from benchmarks._harness import Sample, Skipped

__all__ = [
    "ACCESS_KEY",
    "DELAY_S",
    "RATE_BYTES",
    "SECRET_KEY",
    "Nginx",
    "find_tool",
    "serve_moto",
    "serve_nginx",
    "serve_rclone",
]

ACCESS_KEY: Final = "benchmarks"
SECRET_KEY: Final = "not-a-secret"

DELAY_S: Final = 0.030
"""What S3 takes to the first byte, roughly."""

RATE_BYTES: Final = 90_000_000
"""What S3 gives each connection in a second, roughly."""

WORKERS: Final = 2
START_SECONDS_MAX: Final = 20.0
PR_SET_PDEATHSIG: Final = 1

SETTLE_SECONDS: Final = 0.2
"""nginx counts a request when it is done with it, a little after the client has its answer or gave it up."""

HERE: Final = Path(__file__).parent
MODULES: Final = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")

CONFIG: Final = Template("""
daemon off;
user $user;
worker_processes $workers;
worker_rlimit_nofile 16384;
pid $folder/nginx.pid;
error_log $folder/error.log warn;
load_module $modules/ndk_http_module.so;
load_module $modules/ngx_http_lua_module.so;
events { worker_connections 8192; }
http {
  access_log off;
  default_type application/octet-stream;
  client_body_temp_path $folder/tmp-body;
  proxy_temp_path $folder/tmp; fastcgi_temp_path $folder/tmp; uwsgi_temp_path $folder/tmp; scgi_temp_path $folder/tmp;
  client_max_body_size 0;
  client_body_buffer_size $body;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  sendfile on;
  sendfile_max_chunk $chunk;
  tcp_nopush on;
  open_file_cache max=30000 inactive=600s;
  open_file_cache_valid 1s;
  lua_shared_dict counts 1m;
  lua_package_path "$here/?.lua;;";
  log_by_lua_block { require("_s3_server").count() }
  error_page 404 @missing;
  $servers
  server {
    listen 127.0.0.1:$control;
    log_by_lua_block { local _ = nil }
    location / { content_by_lua_block { require("_s3_server").tell() } }
  }
}
""")

SERVER: Final = Template("""
  server {
    listen 127.0.0.1:$port backlog=4096;
    root $root;
    set $$store $root;
    set $$delay_s $delay;
    set $$sink 0;
    $limit
    location @missing {
      default_type application/xml;
      return 404 '<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><RequestId>1</RequestId></Error>';
    }
    location / { access_by_lua_block { require("_s3_server").serve() } }
    location /any/ {
      access_by_lua_block { require("_s3_server").serve() }
      try_files /any/object =404;
    }
    location /sink/ {
      set $$sink 1;
      access_by_lua_block { require("_s3_server").serve() }
    }
  }
""")


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx with two faces of the same folder.

    `plain` answers as fast as it can, `shaped` as S3 does. A folder below `root` is a bucket; every key of the bucket
    ``any`` is the file ``any/object``, and what is put into the bucket ``sink`` is read and forgotten.
    """

    root: Path
    plain: str
    shaped: str
    control: str
    version: str

    def counts(self) -> dict[str, int]:
        """Return how many requests of each method there were, how many connections, errors, and bytes of answers."""
        with _open(self.control) as answer:
            lines = answer.read().decode("ascii").splitlines()
        return {name: int(number) for name, number in (line.split() for line in lines)}

    def counted(self, contender: Callable[[int], Sample]) -> Callable[[int], Sample]:
        """Return a contender whose samples also say what it asked of the server."""

        def call(number: int) -> Sample:
            time.sleep(SETTLE_SECONDS)
            _open(self.control, "DELETE").close()
            sample = contender(number)
            time.sleep(SETTLE_SECONDS)
            counts = self.counts()
            requests = sum(value for name, value in counts.items() if name.isupper())
            return {**sample, "counts": counts, "requests": requests, "connections": counts.get("connections", 0)}

        return call


@contextmanager
def serve_nginx(folder: Path, *, rate_bytes: int = RATE_BYTES) -> Iterator[Nginx]:
    """Serve ``folder/buckets`` until the block ends. Debian's ``nginx-extras`` has what it takes."""
    program, modules = find_tool("nginx", "/usr/sbin"), _find_modules()
    if program is None or modules is None:
        raise Skipped("nginx with its Lua module is not installed: apt-get install nginx-extras.")
    root, work = folder / "buckets", folder / "nginx"
    for path in (root / "bucket", root / "any", root / "sink", work):
        path.mkdir(parents=True, exist_ok=True)
    ports = _free_ports(3)
    servers = "".join(
        SERVER.substitute(port=port, root=root, delay=delay, limit=limit)
        for port, delay, limit in ((ports[0], 0, ""), (ports[1], DELAY_S, f"limit_rate {rate_bytes};"))
    )
    config = CONFIG.substitute(
        user=f"{_user_name()} {_group_name()}",
        workers=WORKERS,
        folder=work,
        modules=modules,
        body="9m",  # the largest bodies that are measured stay in memory
        chunk="512k",  # the rate is kept between chunks: 6 ms at 90 MB/s
        here=HERE,
        servers=servers,
        control=ports[2],
    )
    (work / "nginx.conf").write_text(config, encoding="utf-8")
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr.strip()
    command = [program, "-p", str(work), "-e", str(work / "error.log"), "-c", str(work / "nginx.conf")]
    with _running(command, ports[0], work):
        plain, shaped, control = (f"http://127.0.0.1:{port}" for port in ports)
        yield Nginx(root, plain, shaped, control, version.rpartition(" ")[2])


@contextmanager
def serve_rclone(folder: Path) -> Iterator[str]:
    """Serve a folder with ``rclone serve s3`` (1.65 or newer), and give its endpoint; it has one bucket."""
    program = find_tool("rclone")
    if program is None or "serve s3 remote:path" not in _output([program, "serve", "s3", "--help"]):
        raise Skipped("there is no rclone that has `serve s3` (1.65 or newer, later than in Debian 12)")
    root = folder / "rclone"
    (root / "bucket").mkdir(parents=True)
    port = _free_ports(1)[0]
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
    # --vfs-cache-mode off, the default, hands a body to the disk as it comes.
    with _running([*command, "--config", str(folder / "rclone.conf"), "--log-level", "ERROR", str(root)], port, folder):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serve_moto(folder: Path) -> Iterator[str]:
    """Serve buckets with moto's server, and give its endpoint; it has one bucket."""
    if not _importable("moto", "flask", "flask_cors"):
        raise Skipped("moto's server is not installed: pip install 'moto[s3]' flask flask-cors.")
    port = _free_ports(1)[0]
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, folder):
        endpoint = f"http://127.0.0.1:{port}"
        _open(f"{endpoint}/bucket", "PUT").close()
        yield endpoint


def find_tool(name: str, *folders: str) -> str | None:
    """Return the path of a program: beside this interpreter first, where a wheel puts it."""
    places = [os.path.dirname(sys.executable), os.environ.get("PATH", ""), *folders]
    return shutil.which(name, path=os.pathsep.join(places))


@contextmanager
def _running(command: Sequence[str], port: int, folder: Path) -> Iterator[None]:
    log = folder / f"{os.path.basename(command[0])}-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=_end_with_parent
        )
    try:
        _wait_for(process, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    """Let the kernel end this process when the benchmark is killed and cannot end it itself; elsewhere, do nothing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"the server did not start:\n{said}") from None
            time.sleep(0.02)
        else:
            return


def _open(url: str, method: str = "GET") -> urllib.request.addinfourl:  # type: ignore[name-defined]
    return urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=START_SECONDS_MAX)


def _free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago: bound all at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _find_modules() -> str | None:
    return next((folder for folder in MODULES if glob.glob(f"{folder}/ngx_http_lua_module.so")), None)


def _user_name() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _group_name() -> str:
    import grp

    return grp.getgrgid(os.getgid()).gr_name


def _importable(*names: str) -> bool:
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in names)


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
