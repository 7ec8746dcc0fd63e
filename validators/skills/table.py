"""Which verifier judges which skill; one line a skill. Plug-ins register under `frontier.verifiers`."""

from __future__ import annotations

from frontier_core.registry import Registry

VERIFIERS = Registry(
    "skill",
    group="frontier.verifiers",
    builtin={
        "syllo": "validators.skills.syllo:verify",
        "binary": "validators.skills.binary:verify",
        "discrimination": "validators.skills.discrimination:verify",
        "math_mc": "validators.skills.math_mc:verify",
        "sequence_predict": "validators.skills.sequence_predict:verify",
    },
)
