"""What each service can be asked, in words of its own: thin clients over ServiceClient.

    PredictionClient  inference  a model in service: `frontier serve`, or any OpenAI-compatible endpoint
    OracleClient      inference  the same model watched: which release it is, and how sure it is of what it says
    VaultClient       vault      data files by digest, the ledger, jobs (`frontier api`)
    TaskClient        scheduler  the queue of jobs: submit, wait, what is stuck (`frontier api`)

Errors and retries are ServiceClient's; an answer that lacks what was promised is a ServiceDecodeError. Jobs are
submitted once: a POST without an idempotency key is not repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frontier_core.errors import ServiceDecodeError, ServiceUnavailable
from frontier_core.records import Record
from frontier_ops.services import ServiceClient

POLL_S = 0.5
ENDED = frozenset({"completed", "failed", "stopped", "skipped"})
"""States of a job that no worker will take up again by itself."""


class PredictionClient:
    """Asks a model in service (`frontier serve`, vLLM, any OpenAI-compatible endpoint)."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def models(self) -> list[str]:
        """Gives the names of the models it serves."""
        listed = self._client.get_json("/v1/models")
        return [str(model["id"]) for model in _held(self._client, listed, "data", list)]

    def chat(self, messages: Sequence[Mapping[str, Any]], *, model: str = "default", **parameters: Any) -> str:
        """Gives the model's answer to a conversation; parameters as the chat completions API names them."""
        return str(_choice(self._client, _chat(self._client, messages, model, parameters))["message"]["content"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An answer with who gave it and how much each of its tokens surprised the model (-ln p, in nats)."""

    text: str
    release: str
    model: str
    tokens: tuple[str, ...]
    surprises: tuple[float, ...]

    @property
    def surprise(self) -> float:
        """The mean over tokens, 0.0 for an empty answer; its exponential is the answer's perplexity."""
        return sum(self.surprises) / len(self.surprises) if self.surprises else 0.0


class OracleClient:
    """Watches a model in service: the release that answers, and how sure it is."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def status(self) -> Record:
        """Gives {status, release, model, warm, loading, rejected}. Raises ServiceUnavailable until it is ready."""
        answer: Record = self._client.get_json("/readyz")
        return answer

    def consult(self, messages: Sequence[Mapping[str, Any]], *, model: str = "", **parameters: Any) -> Reading:
        """Asks greedily, unless `temperature` says otherwise, and gives the answer with its surprises.

        Args:
            messages: the conversation.
            model: its name; "" takes the first that is served.
            parameters: as the chat completions API names them.
        """
        name = model or PredictionClient(self._client).models()[0]
        asked = {"temperature": 0, **parameters, "logprobs": True}
        answer = _chat(self._client, messages, name, asked)
        choice = _choice(self._client, answer)
        try:
            tokens = choice["logprobs"]["content"]
            return Reading(
                text=str(choice["message"]["content"]),
                release=str(answer.get("system_fingerprint") or "").removeprefix("frontier-"),
                model=str(answer["model"]),
                tokens=tuple(str(token["token"]) for token in tokens),
                surprises=tuple(-float(token["logprob"]) for token in tokens),
            )
        except (KeyError, TypeError, ValueError) as error:
            message = f"{self._client.service.name}: the answer holds no log-probabilities"
            raise ServiceDecodeError(message, hint="frontier serve gives them; does the server?") from error


class VaultClient:
    """Asks the vault: data files by their digest, the ledger of what happened, jobs."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def assets(self, name: str = "") -> list[Record]:
        """Gives data files with their digests, those whose path holds `name`."""
        return list(self._client.get_json("/vault/assets", name=name))

    def asset(self, sha256: str) -> Record:
        """Gives the data file of a digest or of its first digits; ServiceHttpError 404 when there is none."""
        return dict(self._client.get_json(f"/vault/assets/{sha256}"))

    def ledger(self, limit: int = 100) -> list[Record]:
        """Gives the last events of the job history, newest last."""
        return list(self._client.get_json("/vault/ledger", limit=limit))

    def job(self, job_id: str) -> Record:
        """Gives one job; ServiceHttpError 404 when there is none."""
        return dict(self._client.get_json(f"/vault/jobs/{job_id}"))

    def submit_job(self, spec: Mapping[str, Any]) -> Record:
        """Queues a job and gives it; the spec as docs/jobs.md has it: {type, argv, priority, payload, ...}."""
        return dict(self._client.post_json("/vault/jobs", json=dict(spec)))


class TaskClient:
    """Hands tasks to the scheduler's queue and learns what became of them."""

    def __init__(
        self,
        client: ServiceClient,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._vault = VaultClient(client)
        self._sleep = sleep
        self._clock = clock

    def submit(self, kind: str, argv: Sequence[str], **spec: Any) -> Record:
        """Queues a task of a job type (`eval`, `sparring`, ...); further words of the spec as docs/jobs.md has them."""
        return self._vault.submit_job({**spec, "type": kind, "argv": list(argv)})

    def tasks(self) -> list[Record]:
        """Gives the last tasks, newest first."""
        return list(self._client.get_json("/api/jobs"))

    def warnings(self) -> Record:
        """Gives what is stuck: {stuck_pending, stuck_running, orphaned_jobs, summary}."""
        return dict(self._client.get_json("/api/jobs/warnings"))

    def wait(self, job_id: str, *, timeout_s: float = 3600.0) -> Record:
        """Gives a task when it has ended, however it did.

        Raises:
            ServiceUnavailable: it has not after `timeout_s`; it goes on.
        """
        deadline = self._clock() + timeout_s
        while True:
            job = self._vault.job(job_id)
            if job.get("state") in ENDED:
                return job
            if self._clock() >= deadline:
                message = f"{self._client.service.name}: {job_id} is {job.get('state')} after {timeout_s:g} s"
                raise ServiceUnavailable(message, hint="frontier jobs warnings says what is stuck")
            self._sleep(POLL_S)


def _chat(
    client: ServiceClient, messages: Sequence[Mapping[str, Any]], model: str, parameters: Mapping[str, Any]
) -> Record:  # fmt: skip
    body = {"model": model, "messages": list(messages), **parameters}
    return dict(client.post_json("/v1/chat/completions", json=body))


def _choice(client: ServiceClient, answer: Record) -> Record:
    choices = _held(client, answer, "choices", list)
    if not choices or not isinstance(choices[0].get("message"), dict):
        raise ServiceDecodeError(f"{client.service.name}: the answer holds no choice")
    choice: Record = choices[0]
    return choice


def _held(client: ServiceClient, answer: Any, key: str, kind: type) -> Any:
    held = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(held, kind):
        raise ServiceDecodeError(f"{client.service.name}: the answer holds no {key}")
    return held
