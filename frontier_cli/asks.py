"""Options of commands that ask a model over HTTP: who, how fast, at what price, for how much."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[
    str, typer.Option("--teacher", metavar="T", help="openai:MODEL@URL, anthropic:MODEL@URL or local:FOLDER")
]
Template = Annotated[str, typer.Option("--template", metavar="NAME", help="what is asked: a name or a .yaml file")]
Num = Annotated[int, typer.Option("-n", "--num", min=0, metavar="N", help="tasks from the domains instead of IN")]
Policy = Annotated[str, typer.Option("--policy", metavar="FILE", help="shift counts and levels by this policy")]
Samples = Annotated[int, typer.Option("--samples", min=1, metavar="N", help="answers to each task of IN")]
Journal = Annotated[
    str, typer.Option("--journal", metavar="FILE", help="where replies are kept [OUT.journal.jsonl beside a file]")
]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, metavar="N", help="most requests in flight")]
Rpm = Annotated[float, typer.Option("--rpm", min=0, metavar="N", help="most requests a minute; 0 finds out")]
Tpm = Annotated[float, typer.Option("--tpm", min=0, metavar="N", help="most tokens a minute; 0 is no limit")]
Retries = Annotated[int, typer.Option("--retries", min=0, metavar="N", help="further tries when the service fails")]
Repairs = Annotated[int, typer.Option("--repairs", min=0, metavar="N", help="further asks when an answer is unusable")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, metavar="SEC", help="longest wait for one answer")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, metavar="N", help="longest answer")]
Temperature = Annotated[float | None, typer.Option("--temperature", min=0, metavar="T", help="[the model's own]")]
TopP = Annotated[float | None, typer.Option("--top-p", min=0, max=1, metavar="P", help="[the model's own]")]
Param = Annotated[list[str], typer.Option("--param", metavar="K=V", help="another key of the request, V as JSON")]
NoStructured = Annotated[bool, typer.Option("--no-structured", help="don't send the template's JSON Schema")]
KeyEnv = Annotated[
    str,
    typer.Option(
        "--key-env", metavar="NAME", help="variable that holds the key [the provider's, at its own address only]"
    ),
]
PriceIn = Annotated[float | None, typer.Option("--price-in", min=0, metavar="USD", help="per million input tokens")]
PriceOut = Annotated[float | None, typer.Option("--price-out", min=0, metavar="USD", help="per million output tokens")]
Prices = Annotated[str, typer.Option("--prices", metavar="FILE", help="YAML: MODEL: {in: USD, out: USD}")]
Budget = Annotated[float, typer.Option("--budget-usd", min=0, metavar="USD", help="stop before the job costs more")]
TotalTokens = Annotated[
    int, typer.Option("--max-tokens-total", min=0, metavar="N", help="stop before the job takes more tokens")
]
Tokenizer = Annotated[
    str, typer.Option("--tokenizer", metavar="FILE", help="tokenizer.json for estimates [a rough count]")
]
BatchOut = Annotated[str, typer.Option("--batch-out", metavar="FILE", help="write the requests for a batch API")]
BatchIn = Annotated[str, typer.Option("--batch-in", metavar="FILE", help="take the answers from a batch's results")]
