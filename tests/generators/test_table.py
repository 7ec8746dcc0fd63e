from frontier_core.domains import load_domains
from frontier_core.resources import shipped
from generators.table import GENERATORS
from validators.skills.table import VERIFIERS


def test_every_skill_of_the_shipped_domains_has_a_generator():
    assert {domain.skill for domain in load_domains(shipped("domains.yaml"))} == set(GENERATORS.names())


def test_generators_agree_with_the_shipped_domains():
    domains = {domain.skill: domain for domain in load_domains(shipped("domains.yaml"))}
    for skill in VERIFIERS.names():
        generator = GENERATORS.get(skill)
        assert generator.skill == skill
        assert generator.levels == domains[skill].levels
        assert generator.sample(1, 0, 1)["metadata"]["domain"] == domains[skill].name
