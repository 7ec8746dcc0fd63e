"""A shared folder: text files with owners; others' files can be read, not changed."""

from __future__ import annotations

from random import Random

from validators.services.base import Cast, Json, Service, ToolError, address, found, one_of, text, tool
from validators.services.people import add_days, listed

FOLDERS = ("/reports", "/notes", "/contracts", "/drafts")
STEMS = listed(
    "budget,travel,hiring,launch,security,survey,roadmap,inventory,training,press,pricing,warranty,energy,catering,"
    "archive,logistics"
)
SENTENCES = (
    "The team agreed on the next steps.",
    "Two points are still open.",
    "Numbers were checked twice.",
    "The supplier confirmed the dates.",
    "Feedback was mostly positive.",
    "A summary follows next week.",
    "Costs stayed within the plan.",
    "The schedule needs one more review.",
)
NUM_FILES = 6


def _seed(rng: Random, cast: Cast) -> Json:
    files: Json = {}
    for number, stem in enumerate(rng.sample(STEMS, NUM_FILES)):
        path = f"{FOLDERS[number % 3]}/{stem}.md"
        owner = cast.user["email"] if number < 4 else rng.choice(cast.people)["email"]
        lines = rng.sample(SENTENCES, rng.randint(2, 4))
        files[path] = {
            "path": path,
            "owner": owner,
            "modified": add_days(cast.now, -rng.randint(1, 40)),
            "text": "\n".join([f"# {stem.capitalize()}", *lines]),
            "shared_with": [],
        }
    return {"files": files}


def _head(file: Json) -> Json:
    about = {key: file[key] for key in ("path", "owner", "modified")}
    return {**about, "num_words": len(file["text"].split())}


def _list(own: Json, given: Json, _state: Json) -> Json:
    folder = given["folder"].rstrip("/") + "/"
    paths = sorted(path for path in own["files"] if path.startswith(folder))
    if not paths:
        raise ToolError("not_found", f"no folder {given['folder']!r}")
    return {"files": [_head(own["files"][path]) for path in paths]}


def _search(own: Json, given: Json, _state: Json) -> Json:
    words = given["query"].lower()
    hits = [
        file for path, file in sorted(own["files"].items()) if words in path.lower() or words in file["text"].lower()
    ]
    return {"files": [_head(file) for file in hits]}


def _read(own: Json, given: Json, _state: Json) -> Json:
    file = found(own["files"], given["path"], "file")
    return {**_head(file), "text": file["text"]}


def _own_file(own: Json, path: str, state: Json) -> Json:
    file = found(own["files"], path, "file")
    if file["owner"] != state["user"]["email"]:
        raise ToolError("permission_denied", f"{path} belongs to {file['owner']}, you may only read it")
    return file


def _path(path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
        raise ToolError("invalid_argument", f"path: {path!r} must begin with / and name a file")
    return path


def _write(own: Json, given: Json, state: Json) -> Json:
    path = _path(given["path"])
    if path in own["files"]:
        if not given.get("overwrite", False):
            raise ToolError("conflict", f"{path} exists already, set overwrite to replace it")
        _own_file(own, path, state)
    own["files"][path] = {
        "path": path,
        "owner": state["user"]["email"],
        "modified": state["now"][:10],
        "text": given["text"],
        "shared_with": own["files"].get(path, {}).get("shared_with", []),
    }
    return _head(own["files"][path])


def _append(own: Json, given: Json, state: Json) -> Json:
    file = _own_file(own, given["path"], state)
    file["text"] += "\n" + given["text"]
    file["modified"] = state["now"][:10]
    return _head(file)


def _move(own: Json, given: Json, state: Json) -> Json:
    file = _own_file(own, given["path"], state)
    target = _path(given["to"])
    if target in own["files"]:
        raise ToolError("conflict", f"{target} exists already")
    own["files"][target] = {**own["files"].pop(file["path"]), "path": target}
    return _head(own["files"][target])


def _delete(own: Json, given: Json, state: Json) -> Json:
    file = _own_file(own, given["path"], state)
    del own["files"][file["path"]]
    return {"deleted": file["path"]}


def _share(own: Json, given: Json, state: Json) -> Json:
    file = _own_file(own, given["path"], state)
    if any(share["email"] == given["email"] for share in file["shared_with"]):
        raise ToolError("conflict", f"{file['path']} is shared with {given['email']} already")
    file["shared_with"].append({"email": given["email"], "role": given["role"]})
    return {"path": file["path"], "shared_with": file["shared_with"]}


_PATH = text("path of the file, e.g. /notes/budget.md")

SERVICE = Service(
    name="files",
    about="a shared folder",
    seed=_seed,
    tools=(
        tool("files_list", "List the files of a folder.", _list, required={"folder": text("e.g. /notes")}),
        tool(
            "files_search",
            "Find files by words in their path or text.",
            _search,
            required={"query": text("what to look for")},
        ),
        tool("files_read", "Read a file.", _read, required={"path": _PATH}),
        tool(
            "files_write",
            "Write a new file, or replace one with overwrite.",
            _write,
            required={"path": _PATH, "text": text("the whole text")},
            optional={"overwrite": {"type": "boolean", "description": "replace a file that is there"}},
            writes=True,
        ),
        tool(
            "files_append",
            "Add text at the end of a file.",
            _append,
            required={"path": _PATH, "text": text("what to add")},
            writes=True,
        ),
        tool(
            "files_move",
            "Move or rename a file.",
            _move,
            required={"path": _PATH, "to": text("the new path")},
            writes=True,
        ),
        tool("files_delete", "Delete a file for good.", _delete, required={"path": _PATH}, writes=True),
        tool(
            "files_share",
            "Share a file with a person.",
            _share,
            required={"path": _PATH, "email": address("with whom"), "role": one_of("what they may do", "read", "edit")},
            writes=True,
        ),
    ),
)
