"""What kinds of jobs there are and which workers take them: the job types and schools of the user's documents.

A job's type says what it is about and, through its school, the role of the worker that takes it; what is run is the
job's own argv. A type that is not listed is refused, so that a typo never waits for a worker that does not exist.
"""

from __future__ import annotations

from enum import StrEnum

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean


class School(StrEnum):
    """Families of jobs that share a kind of worker."""

    TRAINING = "training"
    INFERENCE = "inference"
    FORGE = "forge"
    VAULT = "vault"
    ANALYTICS = "analytics"
    ARCHAEOLOGY = "archaeology"

    @property
    def worker_role(self) -> str:
        """The role a worker must have to take jobs of this school."""
        return _ROLES[self]


_ROLES = {
    School.TRAINING: "trainer",
    School.INFERENCE: "eval_worker",
    School.FORGE: "data_forge",
    School.VAULT: "vault_worker",
    School.ANALYTICS: "analytics",
    School.ARCHAEOLOGY: "analytics",
}

ROLES = tuple(dict.fromkeys(_ROLES.values()))
"""Every worker role, each once."""


class JobType(StrEnum):
    """What a job is about."""

    TRAIN = "train"
    EVAL = "eval"
    SPARRING = "sparring"
    INFERENCE = "inference"
    DATA_GEN = "data_gen"
    DATA_FILTER = "data_filter"
    DATA_CONVERT = "data_convert"
    ARCHIVE = "archive"
    RETENTION = "retention"
    SYNC = "sync"
    ANALYTICS = "analytics"
    REPORT = "report"
    HEALTH_CHECK = "health_check"
    LAYER_STATS = "layer_stats"
    LAYER_DRIFT = "layer_drift"

    @property
    def school(self) -> School:
        """The family this type belongs to."""
        return _SCHOOLS[self]

    @property
    def is_model_anchored(self) -> bool:
        """Says whether the payload must name the model: such a job never asks which one is current."""
        return self in (JobType.EVAL, JobType.SPARRING)


_SCHOOLS = {
    JobType.TRAIN: School.TRAINING,
    JobType.EVAL: School.INFERENCE,
    JobType.SPARRING: School.INFERENCE,
    JobType.INFERENCE: School.INFERENCE,
    JobType.DATA_GEN: School.FORGE,
    JobType.DATA_FILTER: School.FORGE,
    JobType.DATA_CONVERT: School.FORGE,
    JobType.ARCHIVE: School.VAULT,
    JobType.RETENTION: School.VAULT,
    JobType.SYNC: School.VAULT,
    JobType.ANALYTICS: School.ANALYTICS,
    JobType.REPORT: School.ANALYTICS,
    JobType.HEALTH_CHECK: School.ANALYTICS,
    JobType.LAYER_STATS: School.ARCHAEOLOGY,
    JobType.LAYER_DRIFT: School.ARCHAEOLOGY,
}


def job_type_named(name: str) -> JobType:
    """Gives the type of that name, or raises ConfigError with the nearest known one."""
    try:
        return JobType(name)
    except ValueError:
        raise ConfigError(f"unknown job type {name!r}", hint=did_you_mean(name, list(JobType))) from None


def role_named(name: str) -> str:
    """Gives the worker role back, or raises ConfigError with the nearest known one."""
    if name not in ROLES:
        raise ConfigError(f"unknown worker role {name!r}", hint=did_you_mean(name, ROLES))
    return name
