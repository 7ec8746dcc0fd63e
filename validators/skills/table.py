"""Which verifier judges which skill; one line a skill. Plug-ins register under `frontier.verifiers`."""

from __future__ import annotations

from frontier_core.registry import Registry

GYM_TASKS = (
    "chain_sum", "products", "basic_arithmetic", "base_conversion", "gcd", "lcm", "count_bits", "count_primes",
    "prime_factorization", "fraction_simplification", "letter_counting", "spell_backward", "word_sequence_reversal",
    "word_sorting", "number_filtering", "course_schedule", "spiral_matrix", "rotate_matrix",
    "binary_matrix", "largest_island",
)  # fmt: skip
"""The tasks of reasoning-gym that are skills `rg_NAME`, there to be generated when that library is installed."""

VERIFIERS = Registry(
    "skill",
    group="frontier.verifiers",
    builtin={
        "syllo": "validators.skills.syllo:verify",
        "binary": "validators.skills.binary:verify",
        "discrimination": "validators.skills.discrimination:verify",
        "math_mc": "validators.skills.math_mc:verify",
        "sequence_predict": "validators.skills.sequence_predict:verify",
        "tool_use": "validators.skills.tool_use:verify",
        "multi_hop": "validators.skills.multi_hop:verify",
        "graph_qa": "validators.skills.graph_qa:verify",
        **{f"rg_{task}": "validators.skills.reasoning_gym:verify" for task in GYM_TASKS},
    },
)
