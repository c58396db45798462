"""A stand-in for the model hub on localhost: listing, ranged downloads, gates, and connections that break."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

_API = re.compile(r"^/api/models/(?P<repo>[^/?]+/[^/?]+)(?:/revision/(?P<revision>[^/?]+))?(?:\?.*)?$")
_FILE = re.compile(r"^/(?P<repo>[^/?]+/[^/?]+)/resolve/(?P<revision>[^/]+)/(?P<file>[^?]+)$")


@dataclass
class HubRepo:
    """A repository: its files, its commit, the branches that point to it, the token it wants."""

    files: dict[str, bytes]
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    branches: tuple[str, ...] = ("main",)
    token: str | None = None  # gated: listed for all, files only with this token
    published_sha: dict[str, str] = field(default_factory=dict)  # wrong checksums, on purpose


@dataclass
class Transfer:
    """One answered download: where it started and how many bytes went out."""

    file: str
    start: int
    sent: int


@dataclass
class HubState:
    """What the server serves, how it misbehaves and what it has done."""

    repos: dict[str, HubRepo] = field(default_factory=dict)
    drop_after: dict[str, int] = field(default_factory=dict)  # file -> bytes after which it hangs up, once
    pause_s: float = 0.0  # between pieces of 64 KiB
    status: int | None = None  # answer everything with this status
    transfers: list[Transfer] = field(default_factory=list)
    url: str = ""

    def starts(self, file: str) -> list[int]:
        """Where the downloads of ``file`` started, in their order."""
        return [transfer.start for transfer in self.transfers if transfer.file == file]


@contextmanager
def serve_hub(**repos: HubRepo) -> Iterator[HubState]:
    """The server, for the length of a ``with`` block; ``repos`` are named ORG__NAME."""
    state = HubState({name.replace("__", "/"): repo for name, repo in repos.items()})
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: ClassVar[HubState]

    def do_GET(self) -> None:
        if self.state.status is not None:
            self._answer(self.state.status)
        elif match := _API.match(self.path):
            self._list(match["repo"], match["revision"] or "main")
        elif match := _FILE.match(self.path):
            self._send_file(match["repo"], match["revision"], match["file"])
        else:
            self._answer(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _list(self, name: str, revision: str) -> None:
        repo = self._find(name, revision)
        if repo is None:
            return
        siblings: list[dict[str, Any]] = []
        for file, body in repo.files.items():
            entry: dict[str, Any] = {"rfilename": file, "size": len(body), "blobId": hashlib.sha1(body).hexdigest()}
            if file.endswith(".safetensors"):
                sha = repo.published_sha.get(file, hashlib.sha256(body).hexdigest())
                entry["lfs"] = {"sha256": sha, "size": len(body), "pointerSize": 134}
            siblings.append(entry)
        body = json.dumps({"id": name, "modelId": name, "sha": repo.commit, "siblings": siblings}).encode()
        self._answer(200, body, {"Content-Type": "application/json"})

    def _find(self, name: str, revision: str) -> HubRepo | None:
        repo = self.state.repos.get(name)
        if repo is None:
            self._answer(401, b"", {"X-Error-Code": "RepoNotFound"})
            return None
        if revision not in (repo.commit, *repo.branches):
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return None
        return repo

    def _send_file(self, name: str, revision: str, file: str) -> None:
        repo = self._find(name, revision)
        if repo is None:
            return
        if repo.token is not None and self.headers.get("Authorization") != f"Bearer {repo.token}":
            self._answer(403 if "Authorization" in self.headers else 401, b"", {"X-Error-Code": "GatedRepo"})
            return
        body = repo.files[file]
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        headers = {
            "X-Repo-Commit": repo.commit,
            "ETag": f'"{hashlib.sha1(body).hexdigest()}"',
            "Accept-Ranges": "bytes",
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self._head(206 if start else 200, len(body) - start, headers)
        if self.command == "GET":
            self._stream(file, body, start)

    def _stream(self, file: str, body: bytes, start: int) -> None:
        transfer = Transfer(file, start, 0)
        self.state.transfers.append(transfer)
        end = min(len(body), start + self.state.drop_after.pop(file, len(body)))
        try:
            for offset in range(start, end, 65_536):
                piece = body[offset : min(end, offset + 65_536)]
                self.wfile.write(piece)
                transfer.sent += len(piece)
                time.sleep(self.state.pause_s)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client was cancelled, which is what the test wants
        if transfer.sent < len(body) - start:
            self.close_connection = True

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self._head(status, len(body), headers or {})
        if self.command == "GET":
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""
