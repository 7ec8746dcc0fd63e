"""The providers' batch APIs: the same requests as a file to upload, the results as a journal to go on from.

`custom_id` is the journal's key, so results may come in any order, in parts, or with gaps. A second round (answers that
need repair, requests that failed) is another batch file from the same command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from frontier_core.errors import DataError, ServiceDecodeError
from frontier_core.jsonl import Output, Row, read_rows
from frontier_core.records import Record
from generators.teachers.client import Request, Unanswered
from generators.teachers.journal import Journal
from generators.teachers.ledger import Ledger
from generators.teachers.wire import Reply, Wire

MAX_REQUESTS = {"openai": 50_000, "anthropic": 100_000}
"""Requests the providers take in one batch."""


class BatchOutbox:
    """Writes requests instead of sending them, each once.

    OpenAI's form is JSON Lines to upload with purpose `batch`; Anthropic's is one document to post to
    /v1/messages/batches.

    Args:
        path: the file; it appears whole, on leaving the context.
        wire: whose form.
    """

    def __init__(self, path: str, wire: Wire) -> None:
        self.num_requests = 0
        self._wire = wire
        self._output = Output(path)
        self._is_document = wire.kind == "anthropic"
        self._keys: set[str] = set()

    def __enter__(self) -> BatchOutbox:
        self._output.__enter__()
        if self._is_document:
            self._output.write_raw(b'{"requests":[')
        return self

    def add(self, request: Request) -> None:
        """Writes one request."""
        if request.key in self._keys:
            return
        self._keys.add(request.key)
        line = orjson.dumps(self._wire.batch_line(request.key, orjson.loads(request.raw)))
        self._output.write_raw(b"," + line if self._is_document and self.num_requests else line)
        self.num_requests += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if self._is_document and kind is None:
            self._output.write_raw(b"]}")
        self._output.__exit__(kind, error, trace)


def read_results(source: str, wire: Wire, journal: Journal, on_bad: Callable[[Row, DataError], None]) -> dict[str, str]:
    """Files every reply of a results file in the journal; those it has already stay as they are.

    Args:
        source: the file.
        wire: whose form.
        journal: gets the replies.
        on_bad: gets each line that is no result, and why.
    Returns:
        The reason of each failed request, by its key.
    Raises:
        DataError: no line is a result; says what is wrong with the first.
    """
    failures: dict[str, str] = {}
    num_good = 0
    bad: list[tuple[Row, DataError]] = []
    for row in read_rows(source):
        problem = row.problem or _problem(row)
        if problem is not None:
            bad.append((row, problem))
            continue
        num_good += 1
        key = row.record["custom_id"]
        reply, reason = _reply(row.record, wire)
        if reply is None:
            failures[key] = reason
        elif journal.find(key) is None:
            journal.add(key, reply)
    if not num_good:
        raise bad[0][1]
    for row, problem in bad:
        on_bad(row, problem)
    return failures


def _problem(row: Row) -> DataError | None:
    key = row.record.get("custom_id")
    if isinstance(key, str) and len(key) == 32 and not set(key) - set("0123456789abcdef"):
        return None
    hint = "is it the results file of a batch written with --batch-out?"
    message, pointer = "custom_id is not a key of ours", "/custom_id"
    return DataError(message, path=row.path, line=row.number, pointer=pointer, hint=hint, code="bad_result")


def _reply(record: Record, wire: Wire) -> tuple[Reply | None, str]:
    """Gives the reply of a line, or None and why there is none."""
    try:
        document, reason = wire.batch_result(record)
        return (None if document is None else wire.reply(document)), reason
    except ServiceDecodeError as error:
        return None, error.message
    except (AttributeError, TypeError):
        return None, "the result has another form than the provider's"


class Offline:
    """Gives replies from a journal alone; what is not there goes to the outbox, if there is one.

    Args:
        journal: replies.
        ledger: books replies, each as it is used.
        failures: why some requests have none, by key.
        outbox: takes what must be asked still.
    """

    def __init__(
        self, journal: Journal, ledger: Ledger, *, failures: dict[str, str], outbox: BatchOutbox | None
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._failures = failures
        self._outbox = outbox

    async def ask(self, request: Request) -> Reply:
        """Gives the reply of the journal. Raises Unanswered: code `batched` when it was written to the outbox."""
        reply = self._journal.find(request.key)
        if reply is not None:
            self._ledger.num_cached += 1
            return reply
        if self._outbox is not None:
            self._outbox.add(request)
            raise Unanswered("batched", "the request is in the batch file")
        reason = self._failures.get(request.key)
        if reason is not None:
            raise Unanswered("batch_failed", f"the batch failed: {reason}")
        raise Unanswered("not_in_batch", "the results hold no answer to this request; --batch-out writes what is left")
