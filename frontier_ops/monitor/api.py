"""The monitor's HTTP API: the views under /api, Prometheus metrics, the vault's assets, ledger and jobs.

Read only, but for submitting a job. FastAPI, so its OpenAPI document is at /openapi.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Query
from fastapi import Path as PathParameter
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from frontier_core.errors import ConfigError, FrontierError, UsageError
from frontier_core.version import __version__
from frontier_ops.jobs.job import JobSpec
from frontier_ops.jobs.store import JobStore
from frontier_ops.monitor import rounds, views
from frontier_ops.monitor.metrics import prometheus_text

JobId = Annotated[str, PathParameter(max_length=100, pattern=r"^[a-z_]+-[0-9]{1,15}$")]


class Problem(BaseModel):
    """What an error answer holds."""

    detail: str


class JobRequest(BaseModel):
    """A job to queue; see docs/jobs.md."""

    model_config = ConfigDict(extra="forbid")
    type: str
    argv: list[Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")]] = Field(min_length=1, max_length=1000)
    cwd: str = "."
    env: dict[str, str] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    payload: dict[str, Any] = {}
    priority: str = "normal"
    retries: int = Field(default=0, ge=0, le=100)


def monitor_api(home: Path) -> FastAPI:
    """Gives the application over a home folder."""
    app = FastAPI(title="frontier monitor", version=__version__, docs_url=None, redoc_url=None)
    refused: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Says that the monitor lives."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        """Gives figures of the loop in Prometheus text form."""
        return prometheus_text(home)

    @app.get("/api")
    def index() -> list[str]:
        """Lists the views."""
        return list(views.VIEWS.names())

    @app.get("/api/jobs/warnings")
    def warnings() -> Any:
        """Lists jobs that are stuck."""
        return views.view("warnings", home)

    @app.get("/api/{name}", responses=refused)
    def one_view(name: Annotated[str, PathParameter(max_length=100)]) -> Any:
        """Gives one view."""
        if name not in views.VIEWS.names():
            raise HTTPException(404, f"no view {name!r}; /api lists them")
        return views.view(name, home)

    _vault(app, home, refused)
    return app


def _vault(app: FastAPI, home: Path, refused: dict[int | str, dict[str, Any]]) -> None:
    @app.get("/vault/assets")
    def assets(name: Annotated[str, Query(max_length=1000)] = "") -> list[dict[str, Any]]:
        """Lists data files with their digests, those whose path holds `name`."""
        return [entry for entry in rounds.data(home) if name in entry["file"]]

    @app.get("/vault/assets/{sha256}", responses=refused)
    def asset(sha256: Annotated[str, PathParameter(pattern="^[0-9a-f]{6,64}$")]) -> dict[str, Any]:
        """Gives the data file of a digest, or of its first digits."""
        found = [entry for entry in rounds.data(home) if entry["sha256"].startswith(sha256)]
        if not found:
            raise HTTPException(404, f"no asset has a digest that begins with {sha256}")
        return found[0]

    @app.get("/vault/ledger")
    def ledger(limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> list[dict[str, Any]]:
        """Gives the last events of the job history, newest last."""
        store = _opened(home)
        try:
            return list(store.events())[-limit:]
        finally:
            store.close()

    @app.get("/vault/jobs/{job_id}", responses=refused)
    def job(job_id: JobId) -> dict[str, Any]:
        """Gives one job."""
        store = _opened(home)
        try:
            return store.get(job_id).to_mapping()
        except UsageError as error:
            raise HTTPException(404, error.message) from error
        finally:
            store.close()

    @app.post("/vault/jobs", status_code=201, responses={400: {"model": Problem}})
    def submit(request: Annotated[JobRequest, Body()]) -> dict[str, Any]:
        """Queues a job and gives it."""
        try:
            spec = JobSpec.from_mapping(request.model_dump())
        except ConfigError as error:
            raise HTTPException(400, f"{error.message} {error.hint}".strip()) from error
        store = _opened(home)
        try:
            return store.submit([spec])[0].to_mapping()
        finally:
            store.close()


def _opened(home: Path) -> JobStore:
    try:
        return JobStore(home)
    except FrontierError as error:
        raise HTTPException(503, error.message) from error
