"""Resumable uploads (tus 1.0.0): offsets, checksums, locks, kills, a full disk, and what a finished file leads to."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from lit.api import uploads as module
from lit.streams import caching
from lit.streams.raw_files import raw_files
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES

CONTENT = (SAMPLES / "IBM.N_20131007.csv.gz").read_bytes()
NAME = "IBM.N_20131007.csv.gz"
PATCH = {"Content-Type": "application/offset+octet-stream"}


class Server:
    """A server process over a data folder; it can be killed and started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(Path(__file__).parent / "upload_server.py"), str(self.data)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url, self.token = self.process.stdout.readline().split()
        headers = {"Authorization": f"Bearer {self.token}", "Tus-Resumable": "1.0.0"}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def kill(self) -> None:
        self.http.close()
        self.process.kill()
        self.process.wait()

    def create(self, content: bytes = CONTENT, name: str = NAME, **meta: str) -> httpx.Response:
        return self.http.post(
            "/api/teams/demo/uploads",
            headers={"Upload-Length": str(len(content)), "Upload-Metadata": metadata(filename=name, **meta)},
        )

    def patch(self, where: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
        return self.http.patch(where, content=data, headers={**PATCH, "Upload-Offset": str(offset), **headers})

    def offset(self, where: str) -> int:
        reply = self.http.head(where)
        assert reply.status_code == 200 and reply.headers["cache-control"] == "no-store"
        return int(reply.headers["upload-offset"])


def metadata(**pairs: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def checksum(data: bytes, name: str = "sha256") -> str:
    return f"{name} {base64.b64encode(hashlib.new(name, data).digest()).decode()}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("data"))
    yield server
    server.kill()


@pytest.fixture
def server(running: Server) -> Server:
    shutil.rmtree(running.data / "demo", ignore_errors=True)
    return running


def test_a_file_comes_in_chunks_is_checked_and_wanted_in_the_cache(server: Server) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    made = server.create(sha256=digest)
    where = made.headers["location"]
    assert made.status_code == 201 and made.headers["upload-offset"] == "0" and "upload-expires" in made.headers
    edges = [0, 1, 70_000, 200_000, len(CONTENT)]
    for begin, end in itertools.pairwise(edges):
        assert not (server.data / "demo" / "raw" / NAME).exists()
        reply = server.patch(where, begin, CONTENT[begin:end], **{"Upload-Checksum": checksum(CONTENT[begin:end])})
        assert reply.status_code == 204, reply.text
        assert reply.headers["upload-offset"] == str(end) and reply.headers["tus-resumable"] == "1.0.0"
    assert (server.data / "demo" / "raw" / NAME).read_bytes() == CONTENT
    assert server.offset(where) == len(CONTENT)  # a client whose last answer was lost asks again
    workspace = Workspace(server.data, "demo")
    (shown,) = raw_files(workspace)
    assert (shown.path, shown.state, shown.adapter, shown.size) == (NAME, "waiting", "refinitiv", len(CONTENT))
    assert [wish.path for wish in caching.pending(workspace)] == [str(server.data / "demo" / "raw" / NAME)]
    assert server.http.get("/api/teams/demo/uploads").json() == []


def test_what_is_spoken_here_is_said(server: Server) -> None:
    reply = server.http.options("/api/teams/demo/uploads")
    assert reply.status_code == 204 and reply.headers["tus-version"] == "1.0.0"
    assert set(reply.headers["tus-extension"].split(",")) >= {"creation", "checksum", "termination", "expiration"}
    assert "sha1" in reply.headers["tus-checksum-algorithm"].split(",")


@pytest.mark.fault
def test_a_server_killed_in_the_middle_of_a_chunk_goes_on_at_the_right_offset(tmp_path: Path) -> None:
    server = Server(tmp_path)
    content = np.random.default_rng(0).bytes(3_000_000)
    where = server.create(content, "big.csv", sha256=hashlib.sha256(content).hexdigest()).headers["location"]
    target = urlsplit(server.url)
    link = http.client.HTTPConnection(str(target.hostname), target.port)
    link.putrequest("PATCH", where)
    headers = {**PATCH, "Authorization": f"Bearer {server.token}", "Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    for key, value in {**headers, "Content-Length": str(len(content))}.items():
        link.putheader(key, value)
    link.endheaders()
    link.send(content[:2_500_000])
    part = next((tmp_path / "demo" / "raw" / ".uploads").glob("*.part"))
    deadline = time.monotonic() + 30
    while part.stat().st_size < 1_000_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    server.kill()
    link.close()
    uploads = module.Uploads(Workspace(tmp_path, "demo"))  # what a new server begins with
    (upload,) = uploads.all()
    offset = uploads.offset(upload)
    assert 1_000_000 <= offset <= 2_500_000
    with uploads.locked(upload), uploads.writing(upload) as writer:
        writer.write(content[offset:])
    assert uploads.finish(upload).read_bytes() == content


@pytest.mark.fault
def test_bytes_whose_checksum_was_never_compared_do_not_count_after_a_kill(server: Server) -> None:
    where = server.create().headers["location"]
    server.patch(where, 0, CONTENT[:1000])
    folder = server.data / "demo" / "raw" / ".uploads"
    upload_id = where.rsplit("/", 1)[1]
    with (folder / f"{upload_id}.part").open("ab") as part:  # as a killed request with a checksum leaves it
        part.write(b"garbage")
    (folder / f"{upload_id}.unchecked").write_text("1000")
    assert server.offset(where) == 1000
    assert server.patch(where, 1000, CONTENT[1000:]).status_code == 204
    assert (server.data / "demo" / "raw" / NAME).read_bytes() == CONTENT


def test_a_client_that_goes_away_leaves_what_it_sent(server: Server) -> None:
    where = server.create().headers["location"]
    target = urlsplit(server.url)
    with socket.create_connection((str(target.hostname), target.port)) as link:
        head = (
            f"PATCH {where} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nTus-Resumable: 1.0.0\r\n"
            f"Upload-Offset: 0\r\nContent-Type: {PATCH['Content-Type']}\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        )
        link.sendall(head.encode() + CONTENT[:50_000])
        time.sleep(0.3)
    deadline = time.monotonic() + 20
    while server.offset(where) < 50_000 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.offset(where) == 50_000


def test_a_second_writer_is_refused_while_the_first_is_at_work(server: Server) -> None:
    where = server.create().headers["location"]
    began, go = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield CONTENT[:10]
        began.set()
        go.wait(30)
        yield CONTENT[10:20]

    replies: list[int] = []
    headers = {**PATCH, "Upload-Offset": "0"}
    first = threading.Thread(
        target=lambda: replies.append(server.http.patch(where, content=slow(), headers=headers).status_code)
    )
    first.start()
    began.wait(30)
    deadline = time.monotonic() + 20
    while (reply := server.patch(where, 0, b"xx")).status_code != 423 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert reply.status_code == 423 and "another request" in reply.json()["detail"]
    assert server.http.delete(where).status_code == 423
    go.set()
    first.join(30)
    assert replies == [204] and server.offset(where) == 20


def test_wrong_offsets_checksums_and_lengths_change_nothing(server: Server) -> None:
    where = server.create(sha256="0" * 64).headers["location"]
    server.patch(where, 0, CONTENT[:100])
    assert server.patch(where, 0, CONTENT).status_code == 409
    assert server.patch(where, 101, CONTENT[101:]).status_code == 409
    for name in ("sha1", "sha256", "md5"):
        reply = server.patch(where, 100, b"damaged on the way", **{"Upload-Checksum": checksum(b"as sent", name)})
        assert reply.status_code == 460 and server.offset(where) == 100
    assert server.patch(where, 100, b"x", **{"Upload-Checksum": "crc32 AAAA"}).status_code == 400
    assert server.patch(where, 100, b"x", **{"Upload-Checksum": "sha1 ???"}).status_code == 400
    assert server.patch(where, 100, b"x", **{"Content-Type": "text/plain"}).status_code == 415
    assert server.http.patch(where, content=b"x", headers=PATCH).status_code == 400
    assert server.http.head(where, headers={"Tus-Resumable": "0.2.0"}).status_code == 412
    assert server.patch(where, 100, CONTENT[100:] + b"more").status_code == 400
    offset = server.offset(where)
    reply = server.patch(where, offset, CONTENT[offset:])  # whole now, but not what the client's digest says
    assert reply.status_code == 460 and "0000" in reply.json()["detail"]
    assert server.http.head(where).status_code == 404
    assert raw_files(Workspace(server.data, "demo")) == []


@pytest.mark.parametrize(
    ("meta", "code", "words"),
    [
        ({"filename": "../../escape.csv"}, 400, "not usable"),
        ({"filename": ".hidden"}, 400, "not usable"),
        ({"filename": "/etc/passwd"}, 400, "not usable"),
        ({"filename": "a\0b"}, 400, "not usable"),
        ({"relativePath": "a/../../b.csv", "filename": "b.csv"}, 400, "not usable"),
        ({}, 400, "names no file"),
        ({"filename": "x.csv", "adapter": "nonesuch"}, 400, "nonesuch"),
        ({"filename": "x.csv", "adapter": "../x"}, 400, "not usable"),
        ({"filename": "x.csv", "adapter": "csv", "parameters": '{"tiem": "t"}'}, 400, "'tiem'"),
        ({"filename": "x.csv", "adapter": "csv", "parameters": "[1"}, 400, "no JSON object"),
        ({"filename": "x.csv", "sha256": "12"}, 400, "64 hexadecimal"),
    ],
)
def test_unusable_metadata_are_told(server: Server, meta: dict[str, str], code: int, words: str) -> None:
    headers = {"Upload-Length": "5", "Upload-Metadata": metadata(**meta)}
    reply = server.http.post("/api/teams/demo/uploads", headers=headers)
    assert reply.status_code == code and words in reply.json()["detail"], reply.text
    assert not list(server.data.rglob("*.part"))


def test_folders_names_that_exist_empty_files_and_unknown_uploads(server: Server) -> None:
    made = server.create(name="x.csv.gz", relativePath="aapl/2016/x.csv.gz", adapter="csv", parameters='{"time": "t"}')
    assert server.patch(made.headers["location"], 0, CONTENT).status_code == 204
    assert (server.data / "demo/raw/aapl/2016/x.csv.gz").read_bytes() == CONTENT
    (shown,) = raw_files(Workspace(server.data, "demo"))
    assert (shown.path, shown.adapter, shown.parameters) == ("aapl/2016/x.csv.gz", "csv", {"time": "t"})
    again = server.create(name="x.csv.gz", relativePath="aapl/2016/x.csv.gz")
    assert again.status_code == 409 and "is in raw already" in again.json()["detail"]
    assert server.create(b"").status_code == 400
    for name in ("0" * 32, "..%2F..%2Fx", "nothing"):
        assert server.http.head(f"/api/teams/demo/uploads/{name}").status_code in (404, 405)
    headers = {"Upload-Defer-Length": "1", "Upload-Metadata": metadata(filename="y.csv")}
    assert server.http.post("/api/teams/demo/uploads", headers=headers).status_code == 400


def test_two_uploads_of_one_name_never_overwrite_each_other(server: Server) -> None:
    first, second = (server.create().headers["location"] for _ in range(2))
    assert server.patch(first, 0, CONTENT).status_code == 204
    reply = server.patch(second, 0, bytes(len(CONTENT)))
    assert reply.status_code == 409 and "came into raw meanwhile" in reply.json()["detail"]
    assert (server.data / "demo" / "raw" / NAME).read_bytes() == CONTENT


def test_creation_with_the_first_bytes_termination_and_methods_in_disguise(server: Server) -> None:
    headers = {"Upload-Length": str(len(CONTENT)), "Upload-Metadata": metadata(filename=NAME), **PATCH}
    made = server.http.post("/api/teams/demo/uploads", headers=headers, content=CONTENT[:500])
    assert made.status_code == 201 and made.headers["upload-offset"] == "500"
    where = made.headers["location"]
    (listed,) = server.http.get("/api/teams/demo/uploads").json()
    assert (listed["path"], listed["offset"], listed["length"]) == (NAME, 500, len(CONTENT))
    disguised = {**PATCH, "Upload-Offset": "500", "X-HTTP-Method-Override": "PATCH"}
    assert server.http.post(where, headers=disguised, content=CONTENT[500:600]).status_code == 204
    assert server.offset(where) == 600
    assert server.http.delete(where).status_code == 204
    assert server.http.head(where).status_code == 404
    assert not list((server.data / "demo/raw/.uploads").iterdir())


def test_a_server_killed_between_the_last_byte_and_the_check_finishes_when_asked(server: Server) -> None:
    where = server.create(sha256=hashlib.sha256(CONTENT).hexdigest()).headers["location"]
    part = server.data / "demo/raw/.uploads" / f"{where.rsplit('/', 1)[1]}.part"
    part.write_bytes(CONTENT)
    assert server.offset(where) == len(CONTENT)
    assert (server.data / "demo" / "raw" / NAME).read_bytes() == CONTENT
    assert caching.pending(Workspace(server.data, "demo"))


def test_a_viewer_sees_uploads_and_cannot_make_any(server: Server) -> None:
    made = server.http.post("/api/keys", json={"name": "page", "role": "viewer", "teams": ["demo"]})
    headers = {"Authorization": f"Bearer {made.json()['token']}", "Upload-Length": "5"}
    (server.data / "demo").mkdir()
    assert server.http.get("/api/teams/demo/uploads", headers=headers).status_code == 200
    assert server.http.post("/api/teams/demo/uploads", headers=headers).status_code == 403
    assert server.http.get("/api/teams/other/uploads", headers=headers).status_code == 403


# --- a full disk, and time


@pytest.fixture
def store(workspace: Workspace) -> module.Uploads:
    return module.Uploads(workspace)


def test_a_file_without_room_is_refused_before_a_byte_of_it(
    store: module.Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda _: module.RESERVE_BYTES + 99)
    with pytest.raises(module.NoSpaceError, match="has 100 bytes and the disk has room for"):
        store.create(100, metadata(filename="x.csv"))
    assert store.create(99, metadata(filename="x.csv")).length == 99


def test_a_disk_that_fills_up_keeps_what_was_taken(tmp_path: Path) -> None:
    """The process may write files of 64 kB at the most, which ends as a full disk does."""
    code = (
        "import resource, signal, sys; sys.argv[1:] = [sys.argv[1]];"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
        f"sys.path.insert(0, {str(Path(__file__).parent.parent)!r});"
        "from tests.upload_server import main; main()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url, token = process.stdout.readline().split()
    try:
        headers = {"Authorization": f"Bearer {token}", "Tus-Resumable": "1.0.0"}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as http_client:
            made = http_client.post(
                "/api/teams/demo/uploads",
                headers={"Upload-Length": str(len(CONTENT)), "Upload-Metadata": metadata(filename=NAME)},
            )
            where = made.headers["location"]
            reply = http_client.patch(where, content=CONTENT, headers={**PATCH, "Upload-Offset": "0"})
            assert reply.status_code == 507 and "goes on from what was taken" in reply.json()["detail"]
            assert http_client.head(where).headers["upload-offset"] == "65536"
    finally:
        process.kill()
        process.wait()
    uploads = module.Uploads(Workspace(tmp_path, "demo"))
    (upload,) = uploads.all()
    with uploads.writing(upload) as writer:
        writer.write(CONTENT[65_536:])
    assert uploads.finish(upload).read_bytes() == CONTENT


def test_uploads_that_nobody_goes_on_with_are_dropped(
    store: module.Uploads, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = store.create(10, metadata(filename="old.csv"))
    part = workspace.root / "raw" / ".uploads" / f"{old.id}.part"
    past = time.time() - module.EXPIRY_SECONDS - 1
    os.utime(part, (past, past))
    young: Any = store.create(10, metadata(filename="young.csv"))
    assert [upload.id for upload in store.all()] == [young.id] and not part.exists()
