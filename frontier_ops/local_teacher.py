"""A model folder as a teacher: its server runs in a child process on loopback for as long as a run lasts.

The same front as `frontier serve` answers, with requests that wait together decoded together. The child ends when the
pipe to it closes, so that nothing is left of it whatever ends us, a SIGKILL included.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

from frontier_core.errors import DataError, EnvironmentMissing, ServiceError, UsageError
from frontier_core.jsonl import loads

CLOSE_WAIT_S = 5.0
PROBE_BYTES = 1 << 20
# -P keeps the working folder off the path: a user's own `trainer.py` must not shadow ours.
_START = """
import sys
sys.path.insert(0, sys.argv[1])
from frontier_ops.local_teacher_server import main
sys.exit(main(sys.argv[2], sys.argv[3], int(sys.argv[4])))
"""
_ROOT = Path(__file__).resolve().parent.parent


def model_name(folder: Path) -> str:
    """Gives the name a model folder is asked under, e.g. `model@0123456789ab`: other weights, another name.

    Digests the name, size, head and tail of each file: reading all of a large model would take longer than asking it.
    Raises UsageError when there is no model.
    """
    if not (folder / "config.json").is_file():
        hint = "name a folder with config.json, weights and a tokenizer, e.g. a checkpoint of frontier train"
        raise UsageError(f"{folder}: is no model folder", hint=hint)
    digest = blake2b(digest_size=6)
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".jinja")):
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            digest.update(b"%b %d\n%b" % (path.name.encode(), size, file.read(PROBE_BYTES)))
            file.seek(max(0, size - PROBE_BYTES))
            digest.update(file.read())
    return f"{folder.resolve().name}@{digest.hexdigest()}"


@contextmanager
def serving(folder: Path, *, batch_size: int) -> Iterator[str]:
    """Gives the address of a server of the model in a folder; on the way out it is gone.

    Args:
        folder: what transformers can load: config.json, weights, a tokenizer with a chat template.
        batch_size: most requests decoded together.
    Raises:
        UsageError: there is no model. DataError: it can't be loaded. EnvironmentMissing: the serve extra is missing.
    """
    name = model_name(folder)
    for module in ("starlette", "uvicorn", "torch", "transformers"):
        if find_spec(module) is None:
            raise EnvironmentMissing(f"{module} is not installed", hint="pip install 'frontier-data-engine[serve]'")
    command = [sys.executable, "-P", "-c", _START, str(_ROOT), str(folder.resolve()), name, str(batch_size)]
    # Ctrl-C reaches the whole terminal group; the server must live until replies on their way are in.
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        said = loads(line) if line else {}
        if "url" not in said:
            if "failed" in said:
                raise DataError(str(said["failed"]), code="load")
            raise ServiceError(f"{folder}: the model's server ended with status {child.wait()} while it loaded")
        yield str(said["url"])
    finally:
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(CLOSE_WAIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
