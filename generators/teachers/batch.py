"""The providers' batch APIs: the same requests as a file to upload, the results as a journal to go on from.

`custom_id` is the journal's key, so results may come in any order, in parts, or with gaps. A second round (answers that
need repair, requests that failed) is another batch file from the same command.
"""

from __future__ import annotations

from typing import Any

import orjson

from frontier_core.errors import DataError, ServiceDecodeError
from frontier_core.jsonl import Output, read_rows
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


def read_results(source: str, wire: Wire, journal: Journal) -> dict[str, str]:
    """Files every reply of a results file in the journal; those it has already stay as they are.

    Returns:
        The reason of each failed request, by its key.
    Raises:
        DataError: a line is no result; names it.
    """
    failures: dict[str, str] = {}
    for row in read_rows(source):
        if row.problem is not None:
            raise row.problem
        key = row.record.get("custom_id")
        if not isinstance(key, str) or len(key) != 32 or set(key) - set("0123456789abcdef"):
            message = "custom_id is not a key of ours"
            hint = "is it the results file of a batch written with --batch-out?"
            raise DataError(message, path=row.path, line=row.number, pointer="/custom_id", hint=hint)
        document, reason = wire.batch_result(row.record)
        try:
            reply = wire.reply(document) if document is not None else None
        except ServiceDecodeError as error:
            reply, reason = None, error.message
        if reply is None:
            failures[key] = reason
        elif journal.find(key) is None:
            journal.add(key, reply)
    return failures


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
