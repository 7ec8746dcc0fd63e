"""frontier synth coverage."""

from __future__ import annotations

from frontier_cli import console, options

EXAMPLES = """\
frontier synth coverage verified.jsonl
frontier synth gen -n 5000 | frontier synth coverage --domains domains.yaml --json"""


def command(
    source: options.Input = "-",
    domains: options.Domains = "",
    json: options.Json = False,
) -> int:
    """Show what a file of records covers: skills, levels, scenarios (topics), tool sets and personas.

    With --domains the cells of that file without a single record are named, and the exit code is 1 when there are any.
    """
    from frontier_core.domains import load_domains
    from frontier_core.jsonl import dumps
    from frontier_ops.stage_diversity import coverage

    wanted = [(d.skill, level) for d in load_domains(domains) for level in d.levels] if domains else []
    report = coverage(console.input_source(source), wanted)
    if json:
        console.emit(dumps(report).decode())
        return 1 if report["missing"] else 0
    console.emit(f"{report['num_records']} records, {report['distinct_prompts']} distinct prompts\n")
    levels = {cell["level"]: None for cell in report["cells"]}
    ordered = sorted(levels, key=lambda level: (int(level) if level.isdigit() else 0, level))
    width = max((len(skill["skill"]) for skill in report["skills"]), default=5)
    head = "".join(f"{'level ' + level if level != '-' else 'no level':>10}" for level in ordered)
    console.emit(f"{'skill':<{width}}{head} scenarios evenness")
    counts = {(cell["skill"], cell["level"]): cell["records"] for cell in report["cells"]}
    for skill in report["skills"]:
        name = skill["skill"]
        cells = "".join(f"{counts.get((name, level), '.'):>10}" for level in ordered)
        console.emit(f"{name:<{width}}{cells} {skill['scenarios']:>9} {skill['evenness']:>8.2f}")
    console.emit("\ntool sets: " + ", ".join(f"{name} {count}" for name, count in report["tool_sets"].items()))
    if report["personas"]:
        console.emit("personas: " + ", ".join(f"{name} {count}" for name, count in report["personas"].items()))
    if report["missing"]:
        console.note(f"without a record: {' '.join(report['missing'])}")
    return 1 if report["missing"] else 0
