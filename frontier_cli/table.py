"""Every command: its words, the module that holds it, and its line in `frontier -h`. Imports nothing."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "synth gen": ("synth_gen", "generate candidate records from domains, skills and a policy"),
    "synth teach": ("synth_teach", "ask a teacher model for records: journaled, paced, budgeted"),
    "synth verify": ("synth_verify", "run each plan in a disposable sandbox, recompute each answer"),
    "synth format": ("synth_format", "write verified records as Delta, Echo or chat"),
    "synth replay": ("synth_replay", "make records again from their metadata, byte for byte"),
    "synth dedup": ("synth_dedup", "drop records that repeat an earlier one, exactly or nearly"),
    "synth coverage": ("synth_coverage", "show what records cover: skills, levels, scenarios, tools"),
    "synth review": ("synth_review", "accept, edit or reject records by hand"),
    "synth spar": ("synth_spar", "let a model answer, write its mistakes as records to train on"),
    "convert": ("convert", "convert records to other tools' forms and back"),
    "validate": ("validate", "hold records against the schema gate and the content gate"),
    "model init": ("model_init", "make a small model and tokenizer to train from scratch"),
    "model layers": ("model_layers", "show statistics of a model's weights, by layer"),
    "model drift": ("model_drift", "show how far weights moved between two checkpoints"),
    "train": ("train", "train a model on records, with loss per tag and checkpoints"),
    "eval": ("eval", "answer held-out problems and score them with the verifiers"),
    "telemetry ingest": ("telemetry_ingest", "turn training and evaluation logs into telemetry lines"),
    "reweight": ("reweight", "turn telemetry into a sampling policy, each change with its reason"),
    "compare": ("compare", "rank checkpoints by their answers to the same problems"),
    "deploy": ("deploy", "put a checkpoint into service: hashed, atomic, reversible"),
    "serve": ("serve", "answer /v1/chat/completions with a deployed release"),
    "ask": ("ask", "ask a served model one question"),
    "lineage show": ("lineage_show", "show what a file was made from, back to the seeds"),
    "sandbox build": ("sandbox_build", "make the image that the Docker sandboxes run plans in"),
    "sandbox check": ("sandbox_check", "try what no plan may do on each sandbox of this machine"),
    "config show": ("config_show", "show each option's value and where it came from"),
    "report": ("report", "write the loop's report page and print its table"),
}


def find_command(words: list[str]) -> tuple[str, int]:
    """Gives the command that the first words name and how many words that took; ("", 0) when they name none."""
    for length in (2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and name in COMMANDS:
            return name, length
    return "", 0


def group_commands(group: str) -> list[str]:
    """Gives the commands of a group: "synth" -> ["synth gen", ...]."""
    return [name for name in COMMANDS if name.startswith(f"{group} ")]
