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
    "import": ("import_files", "take other tools' data into the contract: JSON Lines, Parquet, folders"),
    "convert": ("convert", "convert records to other tools' forms and back"),
    "validate": ("validate", "hold records against the schema gate and the content gate"),
    "lake add": ("lake_add", "add records to a data lake, exact duplicates passed over"),
    "lake ls": ("lake_ls", "list a lake's shards, their licences and where they came from"),
    "lake stats": ("lake_stats", "count a lake's records by their metadata"),
    "lake query": ("lake_query", "find records of a lake by a filter over their metadata"),
    "lake export": ("lake_export", "write a lake's records to JSON Lines or Parquet"),
    "lake compact": ("lake_compact", "merge the small shards of a lake"),
    "lake retire": ("lake_retire", "take a bad shard out and name what was made from it"),
    "lake gc": ("lake_gc", "remove what no kept state of a lake needs"),
    "lake verify": ("lake_verify", "compare every file of a lake with its manifest"),
    "stream": ("stream", "draw a deterministic weighted stream of records from a profile"),
    "model init": ("model_init", "make a small model and tokenizer to train from scratch"),
    "model layers": ("model_layers", "show statistics of a model's weights, by layer"),
    "model drift": ("model_drift", "show how far weights moved between two checkpoints"),
    "train": ("train", "train a model on records, with loss per tag and checkpoints"),
    "checkpoints list": ("checkpoints_list", "list a run's checkpoints and say which are whole"),
    "checkpoints verify": ("checkpoints_verify", "read every byte of checkpoints against their manifests"),
    "checkpoints prune": ("checkpoints_prune", "keep the newest and the best checkpoints, remove the rest"),
    "checkpoints snapshot": ("checkpoints_snapshot", "keep the newest checkpoint as the day's snapshot"),
    "eval": ("eval", "answer held-out problems and score them with the verifiers"),
    "telemetry ingest": ("telemetry_ingest", "turn training and evaluation logs into telemetry lines"),
    "reweight": ("reweight", "turn telemetry into a sampling policy, each change with its reason"),
    "reweight plot": ("reweight_plot", "draw each cell's weight by round, with its rails and reasons"),
    "reweight replay": ("reweight_replay", "compute every weight of a policy again, bit for bit"),
    "curriculum status": ("curriculum_status", "show where each skill stands: levels mastered, open, next"),
    "curriculum advance": ("curriculum_advance", "open the next level of every skill that is ready for it"),
    "curriculum set": ("curriculum_set", "close the levels of a skill above one, or open them"),
    "compare": ("compare", "rank checkpoints by their answers to the same problems"),
    "deploy": ("deploy", "put a checkpoint into service: hashed, atomic, reversible"),
    "deploy status": ("deploy_status", "show a target's releases and what happened last"),
    "deploy rollback": ("deploy_rollback", "make an older release current again"),
    "deploy verify": ("deploy_verify", "read every byte of a release against its manifest"),
    "deploy prune": ("deploy_prune", "remove old releases from a target"),
    "serve": ("serve", "answer /v1/chat/completions with a deployed release"),
    "ask": ("ask", "ask a served model one question"),
    "top": ("top", "show the loop live in a terminal"),
    "dashboard": ("dashboard", "show the loop in a browser"),
    "api": ("api", "answer what the loop does over HTTP, with metrics"),
    "skills serve": ("skills_serve", "serve one skill over HTTP: generate and judge from another host"),
    "skills generate": ("skills_generate", "get records from a skill service"),
    "daemon run": ("daemon_run", "turn the loop unattended, from the inbox to the deployed model"),
    "daemon status": ("daemon_status", "say whether a daemon runs, in which round, and what is queued"),
    "daemon pause": ("daemon_pause", "suspend the loop"),
    "daemon resume": ("daemon_resume", "let a paused loop go on"),
    "daemon stop": ("daemon_stop", "end the daemon; its jobs wait in the queue"),
    "jobs submit": ("jobs_submit", "queue a command with its inputs, outputs and priority"),
    "jobs work": ("jobs_work", "take jobs from the queue and run them"),
    "jobs list": ("jobs_list", "list jobs and where they stand"),
    "jobs watch": ("jobs_watch", "print each change of a job as it happens"),
    "jobs pause": ("jobs_pause", "suspend running jobs"),
    "jobs resume": ("jobs_resume", "let paused jobs go on"),
    "jobs stop": ("jobs_stop", "end running jobs"),
    "jobs cancel": ("jobs_cancel", "take waiting jobs out of the queue"),
    "jobs retry": ("jobs_retry", "queue ended jobs again"),
    "jobs history": ("jobs_history", "print what happened to jobs, as JSON Lines"),
    "jobs warnings": ("jobs_warnings", "say which jobs are stuck, and exit 1 when there are any"),
    "jobs rebuild": ("jobs_rebuild", "make the job store anew from its history"),
    "lineage show": ("lineage_show", "show what a file was made from, back to the seeds"),
    "lineage verify": ("lineage_verify", "check that data and history are what they were"),
    "lineage report": ("lineage_report", "show which generators' records fail at which validator"),
    "lineage graph": ("lineage_graph", "draw what files were made from: text, DOT, Mermaid, SVG, HTML"),
    "lineage export": ("lineage_export", "write lineage for other tools: OpenLineage, Croissant"),
    "sandbox build": ("sandbox_build", "make the image that the Docker sandboxes run plans in"),
    "sandbox check": ("sandbox_check", "try what no plan may do on each sandbox of this machine"),
    "hosts check": ("hosts_check", "say which hosts and services of config/hosts.json answer"),
    "doctor": ("doctor", "look at machine, services, models and data; judge a run"),
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
