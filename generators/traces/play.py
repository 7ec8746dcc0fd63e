"""Plays a workflow in a world: draws its slots, runs its script against the services, and writes down the trace.

Every result is what the services answered and every fact is worked out of those results; a reply that does not state
its facts, or an error that the script does not expect, is a mistake of the template and raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.jsonl import dumps
from frontier_core.profiles import dress
from frontier_core.records import Message
from generators.traces.expressions import evaluate
from generators.traces.workflow import Workflow, fact_spec
from validators.services.base import Json, differences, digest, error_of
from validators.services.facts import NoFact, fact_text, unstated
from validators.services.table import execute, seed_world, service_named, tools_of
from validators.skills.tool_use import request_digest

MAX_TRIES = 4
"""How often one call is made until a passing fault is over."""


class Scene:
    """A trace in the making: the world, the messages so far, and what a judge shall expect.

    Args:
        state: the world before.
        tools: what the assistant may call.
        call_id: gives the id of the n-th call, from 0.
    """

    def __init__(self, state: Json, tools: Sequence[Json], call_id: Callable[[int], str]) -> None:
        self.initial_state = state
        self.state = state
        self.tools = list(tools)
        self.messages: list[Message] = []
        self.calls: list[list[Json]] = []
        self.replies: list[Json] = []
        self.results: dict[str, Any] = {}
        self._call_id = call_id

    def system(self, text: str) -> None:
        """Opens the trace with a system turn."""
        self.messages.append({"role": "system", "content": text})

    def user(self, text: str) -> None:
        """Adds a user turn."""
        self.messages.append({"role": "user", "content": text})

    def call(self, calls: Sequence[tuple[str, Json]]) -> list[tuple[str, Any]]:
        """Makes calls in one assistant turn; gives id and result of each."""
        made: list[tuple[str, Any]] = []
        turn: list[Json] = []
        for name, arguments in calls:
            key = self._call_id(len(self.results))
            self.state, result = execute(self.state, name, arguments, tools=self.tools)
            self.results[key] = result
            made.append((key, result))
            function = {"name": name, "arguments": dumps(arguments).decode()}
            turn.append({"id": key, "type": "function", "function": function})
        self.calls.append([{"name": name, "arguments": arguments} for name, arguments in calls])
        self.messages.append({"role": "assistant", "content": None, "tool_calls": turn})
        for key, result in made:
            self.messages.append({"role": "tool", "tool_call_id": key, "content": dumps(result).decode()})
        return made

    def reply(self, text: str, facts: Sequence[Json] = (), kind: str = "answer") -> None:
        """Adds an assistant text; raises ConfigError when it does not state its facts."""
        absent = unstated(text, [fact["text"] for fact in facts])
        if absent:
            raise ConfigError(f"the reply {text!r} does not state {absent!r}")
        self.messages.append({"role": "assistant", "content": dress(text, "emoji_think")})
        self.replies.append({"kind": kind, "facts": list(facts)})

    def expect(self, forbid: Sequence[str] = ()) -> Json:
        """Gives what a judge holds the trace against."""
        changes = differences(self.initial_state, self.state)
        made: Json = {"final_state": {"sha256": digest(self.state), "changes": changes}}
        made |= {"calls": self.calls, "replies": self.replies, "request_sha256": request_digest(self.messages)}
        return {**made, "forbid": list(forbid)} if forbid else made


def play(workflow: Workflow, rng: Random, call_id: Callable[[int], str], *, refuses: bool) -> Scene:
    """Plays one workflow.

    Args:
        workflow: the template.
        rng: decides world, slots and phrasings.
        call_id: gives the id of the n-th call.
        refuses: take the script `refuse`.
    Raises:
        ConfigError: the template does not fit its services; names file, workflow and step.
    """
    state, people = seed_world(rng, workflow.front.tools)
    scope: dict[str, Any] = {"state": state, "user": state["user"], "now": state["now"], "people": people}
    scope["today"] = state["now"][:10]
    try:
        scope |= workflow.draw(rng, scope)
        state = _arranged(state, workflow.given, scope)
    except ConfigError as error:
        raise ConfigError(f"{workflow.where}: {error.message}", hint=error.hint) from error
    scene = Scene(state, tools_of(workflow.front.tools), call_id)
    scene.system(_system(workflow, state))
    actor = _Actor(workflow, scene, {**scope, "state": state}, rng)
    actor.run(workflow.refuse if refuses else workflow.script)
    return scene


def _arranged(state: Json, steps: Sequence[Json], scope: Json) -> Json:
    """The world after the steps of `given`, none of which shows in the trace."""
    for step in steps:
        if "fault" in step:
            faults = state.get("faults", {})
            waiting = [*faults.get(step["fault"], []), step["code"]]
            state = {**state, "faults": {**faults, step["fault"]: waiting}}
        elif "set" in step:
            keys = evaluate(step["set"], scope).strip("/").split("/")
            state = _with(state, keys, evaluate(step["to"], scope))
        else:
            state, result = execute(state, step["call"], evaluate(step.get("with", {}), scope))
            error = error_of(result)
            if error is not None:
                raise ConfigError(f"given: {step['call']}: {error['message']}")
    return state


def _with(state: Json, keys: Sequence[str], value: Any) -> Json:
    if keys[0] not in state:
        raise ConfigError(f"given: the state has no {keys[0]!r}")
    return {**state, keys[0]: value if len(keys) == 1 else _with(state[keys[0]], keys[1:], value)}


def _system(workflow: Workflow, state: Json) -> str:
    abouts = [service_named(name).about for name in workflow.front.tools]
    listed = abouts[0] if len(abouts) == 1 else f"{', '.join(abouts[:-1])} and {abouts[-1]}"
    when = evaluate("{{ now | spoken }} {{ now[:4] }}, {{ now | time }}", state)
    user = state["user"]
    text = f"You are an assistant with access to {listed}. It is {when}. The user is {user['name']} <{user['email']}>."
    return f"{text} {workflow.front.safety.policy}".strip()


class _Actor:
    """Runs the steps of one script."""

    def __init__(self, workflow: Workflow, scene: Scene, scope: dict[str, Any], rng: Random) -> None:
        self._workflow = workflow
        self._scene = scene
        self._scope = scope
        self._rng = rng
        self._ids: dict[str, str] = {}

    def run(self, steps: Sequence[Json]) -> None:
        for step in steps:
            try:
                self._step(step)
            except (ConfigError, NoFact) as error:
                if str(error).startswith(self._workflow.where):
                    raise
                shown = next(iter(step.values()))
                raise ConfigError(f"{self._workflow.where}: step {str(shown)[:60]!r}: {error}") from error

    def _step(self, step: Json) -> None:
        if "user" in step:
            self._scene.user(str(evaluate(self._rng.choice(step["user"]), self._scope)))
        elif "call" in step:
            self._call([step])
        elif "together" in step:
            self._call(step["together"])
        elif "let" in step:
            for name, raw in step["let"].items():
                self._scope[name] = evaluate(raw, self._scope)
        elif "if" in step:
            self.run(step.get("then" if evaluate(step["if"], self._scope) else "else", ()))
        else:
            self._say(step)

    def _call(self, steps: Sequence[Json]) -> None:
        calls = [(step["call"], evaluate(step.get("with", {}), self._scope)) for step in steps]
        made = self._scene.call(calls)
        failed = []
        for step, (key, result) in zip(steps, made, strict=True):
            if "as" in step:
                self._ids[step["as"]] = key
                self._scope[step["as"]] = result
            error = error_of(result)
            if error is not None:
                failed.append((step, error))
        for step, error in failed:
            self._handle(step, error)

    def _handle(self, step: Json, error: Json, tries: int = 1) -> None:
        remedy = (step.get("on") or {}).get(error["code"])
        if remedy is None or tries > MAX_TRIES:
            raise ConfigError(f"{step['call']} answers {error['code']}: {error['message']}")
        self._scope["error"] = error
        if remedy != "retry":
            self.run(remedy)
            return
        [(key, result)] = self._scene.call([(step["call"], evaluate(step.get("with", {}), self._scope))])
        if "as" in step:
            self._ids[step["as"]] = key
            self._scope[step["as"]] = result
        again = error_of(result)
        if again is not None:
            self._handle(step, again, tries + 1)

    def _say(self, step: Json) -> None:
        facts, words = [], {}
        for name, raw in (step.get("facts") or {}).items():
            fact = evaluate(fact_spec(raw), self._scope)
            fact["of"] = [self._source(source) for source in fact["of"]]
            fact["text"] = str(fact["text"]) if fact["op"] == "said" else fact_text(fact, self._scene.results)
            words[name] = fact["text"]
            facts.append({key: fact[key] for key in ("text", "op", "of", "form", "by", "get") if key in fact})
        text = str(evaluate(self._rng.choice(step["say"]), {**self._scope, **words}))
        self._scene.reply(text, facts, step.get("kind", "answer"))

    def _source(self, source: str) -> str:
        name, _, pointer = source.partition("#")
        if name not in self._ids:
            raise ConfigError(f"no call is named {name!r}")
        return f"{self._ids[name]}#{pointer}"
