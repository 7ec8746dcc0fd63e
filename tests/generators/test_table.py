from frontier_core.domains import load_domains
from frontier_core.resources import shipped
from generators.table import GENERATORS
from validators.skills.table import VERIFIERS


def shipped_domains():
    """The default table and those beside it; the demo loop's is a choice out of the default one."""
    beside = sorted(path for path in shipped("config").glob("*-domains.yaml") if path.name != "loop-domains.yaml")
    return [domain for path in (shipped("domains.yaml"), *beside) for domain in load_domains(path)]


def test_every_skill_of_the_shipped_domains_has_a_generator():
    assert {domain.skill for domain in shipped_domains()} == set(GENERATORS.names())


def test_generators_agree_with_the_shipped_domains():
    domains = {domain.skill: domain for domain in shipped_domains()}
    for skill in VERIFIERS.names():
        generator = GENERATORS.get(skill)
        assert generator.skill == skill
        assert generator.levels == domains[skill].levels
        assert generator.sample(1, 0, 1)["metadata"]["domain"] == domains[skill].name
