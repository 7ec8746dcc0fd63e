"""What share of a graph a whole data set touches: the union over its records' `graph_coverage`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from frontier_core.records import Record, metadata_of


@dataclass(slots=True)
class Coverage:
    """Nodes, edges and relations of one graph that records touch; `add` each record, then read the shares.

    Memory grows with the graph, not with the number of records.
    """

    num_records: int = 0
    num_nodes: int = 0
    num_edges: int = 0
    num_relations: int = 0
    nodes: set[str] = field(default_factory=set)
    edges: set[int] = field(default_factory=set)
    relations: set[str] = field(default_factory=set)

    def add(self, coverage: Record) -> None:
        """Counts in the `graph_coverage` of one record."""
        self.num_records += 1
        self.num_nodes, self.num_edges = coverage["num_nodes"], coverage["num_edges"]
        self.num_relations = coverage["num_relations"]
        self.nodes.update(coverage["node_ids"])
        self.edges.update(coverage["edge_ids"])
        self.relations.update(coverage["relations"])

    def report(self) -> dict[str, Any]:
        """Gives the counts and the shares covered, between 0 and 1."""
        return {
            "num_records": self.num_records,
            "num_nodes": self.num_nodes,
            "num_edges": self.num_edges,
            "num_relations": self.num_relations,
            "node_share": len(self.nodes) / max(1, self.num_nodes),
            "edge_share": len(self.edges) / max(1, self.num_edges),
            "relation_share": len(self.relations) / max(1, self.num_relations),
        }


def graphs_covered(records: Iterable[Record]) -> dict[str, Coverage]:
    """Gives the coverage of each graph, by the sha256 of its file; records over invented worlds are left out.

    Args:
        records: of any skill; those without a graph are passed over.
    """
    found: dict[str, Coverage] = {}
    for record in records:
        metadata = metadata_of(record)
        digest, coverage = metadata.get("graph_sha256"), metadata.get("graph_coverage")
        if isinstance(digest, str) and isinstance(coverage, dict):
            found.setdefault(digest, Coverage()).add(coverage)
    return found
