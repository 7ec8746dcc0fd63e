"""The world before a plan: files, folders, links, git repositories, a setup script, services and processes.

Runs inside the sandbox as part of process 1: standard library only. The keys are those of docs/records.md, "A plan's
fixture"; which fixture a record gets is decided outside, in validators/fixtures.py.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from validators.sandbox.faults import BadFixture, check_names, in_words
from validators.sandbox.world import HOME, SETUP_TIMEOUT_S, World, text_of

Json = dict[str, Any]

FIRST_COMMIT = "2023-12-01T{:02d}:{:02d}:00+0000"
"""When a repository's commits were made, a minute after the other, unless they say so: before the plan's own."""
HAS_ZONE = re.compile(r"[+-]\d\d:?\d\d$")
IMPORT_FILE = "/tmp/.frontier-import"
ALIVE_S = 0.03
"""How long the fixture's processes are watched before the plan begins: one that can't start is gone by then."""


def home_path(path: str) -> str:
    """Gives the absolute path of a record's path, or raises BadFixture when it leaves the home folder."""
    if not path or path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise BadFixture(f"path {path!r} leaves the home folder")
    return os.path.join(HOME, path)


@contextmanager
def _making(what: str) -> Iterator[None]:
    """Turns what goes wrong inside into a BadFixture that names what was being made."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError) as error:
        raise BadFixture(f"{what}: {in_words(error)}") from error


def apply_fixture(fixture: Json, world: World, env: dict[str, str]) -> None:
    """Makes the world before the plan, in the order files, folders, links, repositories, setup,
    services, processes.

    Raises:
        BadFixture: it can't be made; says which part of it and why.
    """
    with _making("fixture"):
        check_names(fixture)
        _make_paths(fixture, world)
        for path, wanted in fixture.get("repos", {}).items():
            with _making(f"repository {path}"):
                _make_repo(home_path(path), wanted, world, env)
        if fixture.get("setup"):
            with _making("setup"):
                _run_script("setup", fixture["setup"], world, env)
        for number, service in enumerate(fixture.get("services", [])):
            with _making(f"service on port {service['port']}"):
                world.background[f"service {number}"] = serve_pages(service["port"], service["pages"])
        for wanted in fixture.get("processes", []):
            with _making(f"process {wanted['name']!r}: {wanted['argv'][0]}"):
                _start_process(wanted, world, env)
        _watch_processes(fixture.get("processes", []), world)


def _make_paths(fixture: Json, world: World) -> None:
    for path, wanted in fixture.get("files", {}).items():
        with _making(path):
            if wanted.get("size", 0) > world.limits["disk_bytes"]:
                raise BadFixture(f"{path}: size is beyond the disk limit of {world.limits['disk_bytes']} bytes")
            _write_file(home_path(path), wanted)
    for path in fixture.get("dirs", {}):
        with _making(path):
            _make_folder(home_path(path))
    for path, target in fixture.get("symlinks", {}).items():
        with _making(path):
            _make_folder(os.path.dirname(home_path(path)), home_path(path))
            if os.path.lexists(home_path(path)):
                raise BadFixture(f"{path}: something is there already, so it can't be a link")
            os.symlink(target, home_path(path))
    for path, wanted in fixture.get("dirs", {}).items():
        with _making(path):
            if "mode" in wanted:
                os.chmod(home_path(path), int(wanted["mode"], 8))


def _make_folder(full: str, wanted: str = "") -> None:
    """Makes a folder and those above it for what is wanted in it, or raises BadFixture naming the file in the way."""
    try:
        os.makedirs(full, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        path = os.path.relpath(full, HOME)
        ends = [cut for cut, letter in enumerate(path) if letter == "/"] + [len(path)]
        above = (path[:end] for end in ends)
        file = next((part for part in above if not os.path.isdir(os.path.join(HOME, part))), path)
        name = os.path.relpath(wanted, HOME) if wanted else path
        raise BadFixture(f"{name}: {file} is a file, so it can hold nothing") from error


def _watch_processes(processes: list[Json], world: World) -> None:
    """Raises BadFixture when a process has ended by itself before the plan began: no plan could find it running."""
    until = time.monotonic() + (ALIVE_S if processes else 0)
    while time.monotonic() < until:
        for wanted in processes:
            pid = world.background[wanted["name"]]
            if not world.is_alive(pid):
                world.reap()
                code = world.exited.get(pid, 0)
                raise BadFixture(f"process {wanted['name']!r} ended at once, with {code if code >= 0 else 128 - code}")
        time.sleep(0.005)


def _run_script(what: str, script: str, world: World, env: dict[str, str]) -> None:
    code, _, err, stopped = world.shell("set -e\n" + script, env, SETUP_TIMEOUT_S)
    if code != 0 or stopped:
        raise BadFixture(f"{what} ended with {stopped or code}: {text_of(bytes(err.head[-300:])).strip()}")
    world.kill_all()


def _write_file(path: str, wanted: Json) -> None:
    _make_folder(os.path.dirname(path), path)
    if os.path.isdir(path):
        raise BadFixture(f"{os.path.relpath(path, HOME)}: a folder is there already, so it can't be a file")
    with open(path, "wb") as file:
        if "base64" in wanted:
            file.write(_decoded(wanted["base64"]))
        else:
            file.write(wanted.get("text", "").encode())
        file.write(bytes(max(0, wanted.get("size", 0) - file.tell())))  # real zeros: a hole would show in du
    if "mode" in wanted:
        os.chmod(path, int(wanted["mode"], 8))
    if "mtime" in wanted:
        os.utime(path, (wanted["mtime"], wanted["mtime"]))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("this is no base64") from error


def _make_repo(path: str, wanted: Json, world: World, env: dict[str, str]) -> None:
    """Makes a git repository: all commits by one `git fast-import`, then the branch's files checked out."""
    branch = wanted.get("branch", "main")
    with open(IMPORT_FILE, "wb") as file:
        file.writelines(_import_stream(branch, wanted))
    shell_path, shell_branch = _quoted(path), _quoted(branch)
    script = f"mkdir -p {shell_path}; cd {shell_path}; git init -q; git symbolic-ref HEAD refs/heads/{shell_branch}\n"
    if wanted.get("commits"):
        script += f"git fast-import --quiet --date-format=rfc2822 < {IMPORT_FILE}\ngit reset -q --hard\n"
    _run_script(f"repository {os.path.relpath(path, HOME)}", script, world, env)
    os.unlink(IMPORT_FILE)
    for name, content in wanted.get("uncommitted", {}).items():
        full = home_path(os.path.relpath(os.path.join(path, name), HOME))
        _write_file(full, content if isinstance(content, dict) else {"text": content})


def _import_stream(branch: str, wanted: Json) -> Iterator[bytes]:
    """Yields a repository in git's own import format, commits marked from 1 on. Source: git-fast-import(1)."""
    number = 0
    trunk = wanted.get("commits", [])
    for commit in trunk:
        number += 1
        yield from _import_commit(branch, number, commit, after=number - 1)
    for name, commits in wanted.get("branches", {}).items():
        before = len(trunk)
        yield f"reset refs/heads/{name}\nfrom :{before}\n\n".encode()
        for commit in commits:
            number += 1
            yield from _import_commit(name, number, commit, after=before)
            before = number
    for name, position in wanted.get("tags", {}).items():
        yield f"reset refs/tags/{name}\nfrom :{position}\n\n".encode()


def _import_commit(branch: str, number: int, commit: Json, *, after: int) -> Iterator[bytes]:
    date = commit.get("date", FIRST_COMMIT.format(number // 60 % 24, number % 60)).removesuffix("Z")
    date += "" if HAS_ZONE.search(date) else "+0000"
    message = commit["message"].encode()
    who = commit.get("author", "user <user@sandbox>")
    yield f"commit refs/heads/{branch}\nmark :{number}\n".encode()
    yield f"author {who} {date}\ncommitter {who} {date}\ndata {len(message)}\n".encode() + message + b"\n"
    if after:
        yield f"from :{after}\n".encode()
    for path, content in commit.get("files", {}).items():
        if "\n" in path or path.startswith('"'):
            raise BadFixture(f"git can't import the path {path!r}")
        if content is None:
            yield f"D {path}\n".encode()
            continue
        wanted = content if isinstance(content, dict) else {"text": content}
        data = _decoded(wanted["base64"]) if "base64" in wanted else wanted.get("text", "").encode()
        mode = "100755" if int(wanted.get("mode", "644"), 8) & 0o100 else "100644"
        yield f"M {mode} inline {path}\ndata {len(data)}\n".encode() + data + b"\n"
    yield b"\n"


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _start_process(wanted: Json, world: World, env: dict[str, str]) -> None:
    pid = world.spawn(wanted["argv"], env, HOME, {})
    world.background[wanted["name"]] = pid
    if "pid_file" in wanted:
        _write_file(home_path(wanted["pid_file"]), {"text": f"{pid}\n"})


def serve_pages(port: int, pages: dict[str, str]) -> int:
    """Starts an HTTP/1.0 server on 127.0.0.1 in a process of its own and gives its pid; it listens already."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    pid = os.fork()
    if pid:
        listener.close()
        return pid
    os.setsid()
    while True:
        try:
            client, _ = listener.accept()
            with client:
                client.settimeout(2)
                request = b""
                while b"\r\n\r\n" not in request and (data := client.recv(4096)) and len(request) < 65536:
                    request += data
                client.sendall(_answer_page(request, pages))
        except OSError:
            continue


def _answer_page(request: bytes, pages: dict[str, str]) -> bytes:
    method, _, rest = request.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0].decode("utf-8", "replace")
    if method not in (b"GET", b"HEAD"):
        status, body = "501 Not Implemented", b"not implemented\n"
    elif path in pages:
        status, body = "200 OK", pages[path].encode()
    else:
        status, body = "404 Not Found", b"not found\n"
    kind = {"json": "application/json", "html": "text/html; charset=utf-8"}.get(path.rpartition(".")[2], "text/plain")
    head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else body)
