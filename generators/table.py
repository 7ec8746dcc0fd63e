"""Which generator makes which skill; one line a skill. Plug-ins register under `frontier.generators`."""

from __future__ import annotations

from frontier_core.registry import Registry
from validators.skills.table import GYM_TASKS

GENERATORS = Registry(
    "skill",
    group="frontier.generators",
    builtin={
        "syllo": "generators.procedural.syllo:GENERATOR",
        "binary": "generators.procedural.binary:GENERATOR",
        "discrimination": "generators.procedural.discrimination:GENERATOR",
        "math_mc": "generators.procedural.math_mc:GENERATOR",
        "sequence_predict": "generators.procedural.sequence_predict:GENERATOR",
        "shell_file_system": "generators.procedural.shell.file_system:GENERATOR",
        "shell_text_processing": "generators.procedural.shell.text_processing:GENERATOR",
        "shell_archives": "generators.procedural.shell.archives:GENERATOR",
        "shell_git": "generators.procedural.shell.git:GENERATOR",
        "shell_system_info": "generators.procedural.shell.system_info:GENERATOR",
        "shell_network": "generators.procedural.shell.network:GENERATOR",
        "shell_processes": "generators.procedural.shell.processes:GENERATOR",
        "shell_scheduling": "generators.procedural.shell.scheduling:GENERATOR",
        "tool_use": "generators.traces.tool_use:GENERATOR",
        "multi_hop": "generators.procedural.multi_hop:GENERATOR",
        "graph_qa": "generators.graphs.graph_qa:GENERATOR",
        **{f"rg_{task}": f"generators.reasoning_gym:{task}" for task in GYM_TASKS},
    },
)
