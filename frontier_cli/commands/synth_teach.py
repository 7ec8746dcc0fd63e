"""frontier synth teach."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from frontier_cli import asks, console, options

if TYPE_CHECKING:
    from frontier_ops.stage_teach import Teaching

EXAMPLES = """\
frontier synth teach -n 200 --skill shell --template shell_plan --teacher openai:qwen3@http://127.0.0.1:8000 -o p.jsonl
frontier synth gen --skill math_mc | frontier synth teach --template skill_answer --teacher anthropic:MODEL --dry-run"""


def command(
    source: options.Input = "-",
    teacher: asks.Name = "",
    template: asks.Template = "",
    num: asks.Num = 0,
    domains: options.Domains = "",
    skill: options.Skills = [],  # noqa: B006 (Typer copies it)
    level: options.Levels = [],  # noqa: B006
    policy: asks.Policy = "",
    samples: asks.Samples = 1,
    seed: options.Seed = 0,
    profile: options.Profile = "emoji_think",
    output: options.OutputPath = "-",
    rejects: options.Rejects = "",
    max_rejects: options.MaxRejects = "0",
    journal: asks.Journal = "",
    concurrency: asks.Concurrency = 16,
    rpm: asks.Rpm = 0.0,
    tpm: asks.Tpm = 0.0,
    retries: asks.Retries = 5,
    repairs: asks.Repairs = 2,
    timeout: asks.Timeout = 300.0,
    max_tokens: asks.MaxTokens = 1024,
    temperature: asks.Temperature = None,
    top_p: asks.TopP = None,
    param: asks.Param = [],  # noqa: B006
    no_structured: asks.NoStructured = False,
    key_env: asks.KeyEnv = "",
    price_in: asks.PriceIn = None,
    price_out: asks.PriceOut = None,
    prices: asks.Prices = "",
    budget_usd: asks.Budget = 0.0,
    max_tokens_total: asks.TotalTokens = 0,
    tokenizer: asks.Tokenizer = "",
    batch_out: asks.BatchOut = "",
    batch_in: asks.BatchIn = "",
    dry_run: options.DryRun = False,
    force: options.Force = False,
) -> int:
    """Ask a teacher model for records, each answer checked, each reply paid for once.

    IN holds tasks: objects whose keys fill the template, or whole records. With -n they come from the domains. What
    breaks off goes on with the same command: replies are kept in the journal, and limits are the job's, not the run's.
    """
    asked = SimpleNamespace(**locals())
    teaching = _teaching(asked)
    if dry_run:
        return _say_estimate(teaching, output)
    if batch_out or batch_in:
        return _run_batch(teaching, asked)
    return _run(teaching, asked)


def _teaching(asked: SimpleNamespace) -> Teaching:
    from frontier_core.errors import UsageError
    from frontier_core.profiles import profile_named
    from frontier_ops.stage_teach import Teaching
    from generators.teachers.ledger import chosen_price
    from generators.teachers.wire import parse_teacher, sampling_of
    from generators.templates import load_template, template_names

    if not asked.template:
        raise UsageError("--template is missing", hint=f"templates there are: {', '.join(template_names())}")
    teacher = parse_teacher(asked.teacher)
    return Teaching(
        teacher=teacher,
        template=load_template(asked.template),
        tasks=_tasks(asked),
        sampling=sampling_of(
            asked.param, max_tokens=asked.max_tokens, temperature=asked.temperature, top_p=asked.top_p
        ),
        profile=profile_named(asked.profile),
        seed=asked.seed,
        samples=asked.samples,
        is_structured=not asked.no_structured,
        repairs=asked.repairs,
        retries=asked.retries,
        timeout_s=asked.timeout,
        concurrency=asked.concurrency,
        requests_per_minute=asked.rpm,
        tokens_per_minute=asked.tpm,
        price=chosen_price(teacher.model, asked.prices, asked.price_in, asked.price_out),
        budget_usd=asked.budget_usd,
        max_tokens_total=asked.max_tokens_total,
        key_env=asked.key_env,
        tokenizer=asked.tokenizer,
        journal=asked.journal,
    )


def _tasks(asked: SimpleNamespace) -> Any:
    """A file or a pipe, or with -n the cells of the domains."""
    from frontier_core.errors import UsageError

    if not asked.num:
        if asked.domains or asked.skill or asked.level or asked.policy:
            raise UsageError("--domains, --skill, --level and --policy need -n", hint="-n N asks for N tasks of them")
        return console.input_source(asked.source)
    if asked.source != "-" or asked.samples > 1:
        raise UsageError("-n makes its own tasks; leave IN and --samples out", hint="or leave -n out")
    from frontier_core.domains import choose_domains, load_domains
    from frontier_ops.stage_generate import choose_requests

    chosen = choose_domains(load_domains(asked.domains or None), options.split_names(asked.skill))
    return choose_requests(chosen, asked.num, levels=asked.level, policy=asked.policy)


def _say_estimate(teaching: Teaching, output: str) -> int:
    from frontier_core.jsonl import dumps
    from frontier_ops.stage_teach import estimate

    found = estimate(teaching, output=output)
    console.emit(dumps(found).decode())
    basis = f"measured on {found['num_measured']} replies" if found["num_measured"] else "a rough count"
    cost = "" if found["usd"] is None else f", ${found['usd']:.4f}"
    tokens = f"{found['tokens_in']} tokens in, {found['tokens_out']} out"
    console.note(f"{found['num_requests']} requests, {tokens}{cost} ({basis}); nobody was asked")
    return 0


def _run(teaching: Teaching, asked: SimpleNamespace) -> int:
    from frontier_cli.verdicts import Complaints, allowed_rejects, finish
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_teach import is_paid, teach

    allowed_rejects(asked.max_rejects, 0)  # a typo is said before the work, not after
    if is_paid(teaching) and not (asked.force or asked.budget_usd or asked.max_tokens_total):
        _consent(teaching)
    target = Target(output=asked.output, rejects=asked.rejects, pipe=console.data_stream())
    with console.Progress("teach", teaching.num_tasks()) as progress:
        result = teach(teaching, target, on_note=console.note, on_reject=Complaints(), on_progress=progress.update)
    code = finish("taught", result, asked.max_rejects, kept_in=str(target.rejects_path or ""))
    used = result.report
    cost = f", ${used['usd_this_run']:.4f} (job ${used['usd']:.4f})" if "usd" in used else ""
    console.note(f"{used['num_requests']} requests, {used['num_cached']} from the journal{cost}")
    if "num_unasked" in used:
        console.note("stopped by the budget; the same command with a larger one goes on")
        return 1
    return code


def _run_batch(teaching: Teaching, asked: SimpleNamespace) -> int:
    from frontier_cli.verdicts import Complaints, finish
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_teach import batch

    target = Target(output=asked.output, rejects=asked.rejects, pipe=console.data_stream())
    result = batch(teaching, target, results=asked.batch_in, requests=asked.batch_out, on_reject=Complaints())
    if asked.batch_out:
        console.note(f"{result.report['num_requests']} requests in {asked.batch_out}")
    return finish("taught", result, asked.max_rejects, kept_in=str(target.rejects_path or ""))


def _consent(teaching: Teaching) -> None:
    """Money is spent with a yes on a terminal, or with a limit or --force off it."""
    from frontier_core.errors import UsageError

    hint = "--budget-usd or --max-tokens-total sets a limit, --force asks without one; --dry-run estimates"
    if (teaching.source == "-" and isinstance(teaching.tasks, str)) or not sys.stdin.isatty():
        raise UsageError("this asks a paid service", hint=hint)
    sys.stderr.write(f"ask {teaching.teacher.model} about {teaching.num_tasks()} tasks, without a limit? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was asked", hint=hint)
