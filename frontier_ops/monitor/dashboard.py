"""The dashboard: the monitor's API with one page over it, and a question box for the model in service.

The page is a file without a build step; it only reads. The question goes to `frontier serve` (or whatever speaks its
protocol) at the given URL, by this server, so that the browser needs no other address.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import Body, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from frontier_core.errors import ServiceAuthError, ServiceError
from frontier_core.resources import shipped
from frontier_ops.hosts import Service
from frontier_ops.monitor.api import monitor_api
from frontier_ops.service_clients import PredictionClient
from frontier_ops.services import ServiceClient

CHAT_TIMEOUT_S = 60.0
_POLICY = "default-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"


class Question(BaseModel):
    """What the page's question box sends."""

    question: str = Field(min_length=1, max_length=20_000)


def dashboard(home: Path, *, model_url: str, model_key: str = "") -> FastAPI:
    """Gives the application.

    Args:
        home: the folder it shows.
        model_url: where the model in service answers.
        model_key: what it wants to see; the browser never sees it.
    """
    app = monitor_api(home)
    page = shipped("templates/dashboard.html").read_text(encoding="utf-8")

    @app.get("/", response_class=HTMLResponse)
    def index() -> HTMLResponse:
        """Gives the page."""
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    @app.post("/chat", responses={502: {"description": "no model answers"}})
    def chat(asked: Annotated[Question, Body()]) -> dict[str, str]:
        """Asks the model in service."""
        service = Service(
            name="inference", url=model_url, timeout_s=CHAT_TIMEOUT_S, max_retries=0, api_key=model_key
        )  # fmt: skip
        try:
            with ServiceClient(service) as client:
                prediction = PredictionClient(client)
                answer = prediction.chat([{"role": "user", "content": asked.question}], model=prediction.models()[0])
        except (ServiceError, IndexError, KeyError) as error:
            message = error.message if isinstance(error, ServiceError) else "the server lists no model"
            if isinstance(error, ServiceAuthError):
                message += f"; {error.hint}"
            raise HTTPException(502, message) from error
        return {"answer": answer}

    return app
