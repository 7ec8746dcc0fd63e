"""A lineage for other tools: OpenLineage run events (Marquez, DataHub, ...) and Croissant (dataset search, MLCommons).

OpenLineage: one COMPLETE event per file with a sidecar, oldest first, with the standard facets for versions, counts,
quality and the engine; a run's id is derived from its sidecar, so exporting twice gives the same runs.
Croissant: one description of a data file with its digest, size, licences and fields. Signing is not covered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from frontier_core.errors import DataError
from frontier_core.jsonl import read_records
from frontier_core.lineage import Link, chain, meta_digest
from frontier_core.records import Record, metadata_of

PRODUCER = "https://pypi.org/project/frontier-data-engine"
NAMESPACE = "frontier"
SAMPLED_ROWS = 1000
JSON_LINES, PARQUET = "application/jsonlines", "application/vnd.apache.parquet"
_SPEC = "https://openlineage.io/spec"
_FACETS = {
    "version": "1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",
    "dataQualityMetrics": "1-0-2/DataQualityMetricsInputDatasetFacet.json#/$defs/DataQualityMetricsInputDatasetFacet",
    "dataQualityAssertions": "1-0-1/DataQualityAssertionsDatasetFacet.json#/$defs/DataQualityAssertionsDatasetFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
    "jobType": "2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "dataSource": "1-0-1/DatasourceDatasetFacet.json#/$defs/DatasourceDatasetFacet",
}


def openlineage(file: Path, *, namespace: str = NAMESPACE) -> Iterator[dict[str, Any]]:
    """Yields the run events of everything a file was made from, and its own last.

    Raises:
        UsageError: there is no such file.
    """
    links = [link for link in chain(file) if link.meta is not None]
    known = {link.path.resolve(): link for link in links}
    for link in reversed(links):
        yield _event(link, known, namespace)


def _event(link: Link, known: dict[Path, Link], namespace: str) -> dict[str, Any]:
    meta = link.meta or {}
    inputs = []
    for entry in meta["inputs"]:
        path = link.path.parent / entry["path"]
        other = known.get(path.resolve())
        facets = _facets(version={"datasetVersion": entry["sha256"]}) if "sha256" in entry else {}
        metrics = _metrics(other.meta) if other and other.meta else {}
        inputs.append(
            {"namespace": namespace, "name": str(path.resolve()), "facets": facets, "inputFacets": _facets(**metrics)}
        )
    data = meta["data"]
    statistics = {"size": data["bytes"], "fileCount": data.get("num_files", 1)}
    statistics |= {"rowCount": data["num_records"]} if "num_records" in data else {}
    output = {
        "namespace": namespace,
        "name": str(link.path.resolve()),
        "facets": _facets(version={"datasetVersion": data["sha256"]}, **_assertions(meta)),
        "outputFacets": _facets(outputStatistics=statistics),
    }
    version = str(meta["code_version"])
    engine = {"version": version, "name": "frontier", "openlineageAdapterVersion": version}
    job = {"processingType": "BATCH", "integration": "FRONTIER", "jobType": "COMMAND"}
    run = {"_producer": PRODUCER, "_schemaURL": f"{PRODUCER}#FrontierRunFacet", **_own(meta)}
    return {
        "eventType": "COMPLETE",
        "eventTime": meta["created_at"],
        "producer": PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": _run_id(link), "facets": {**_facets(processing_engine=engine), "frontier": run}},
        "job": {"namespace": namespace, "name": str(meta["stage"]).replace(" ", "_"), "facets": _facets(jobType=job)},
        "inputs": inputs,
        "outputs": [output],
    }


def _facets(**facets: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"_producer": PRODUCER, "_schemaURL": f"{_SPEC}/facets/{_FACETS[name]}", **value}
        for name, value in facets.items()
    }


def _metrics(meta: dict[str, Any]) -> dict[str, Any]:
    data = meta["data"]
    return {
        "dataQualityMetrics": {
            "bytes": data["bytes"], "columnMetrics": {},
            **({"rowCount": data["num_records"]} if "num_records" in data else {}),
        }
    }  # fmt: skip


def _assertions(meta: dict[str, Any]) -> dict[str, Any]:
    rejects = meta.get("rejects") or {}
    if not rejects:
        return {}
    listed = [{"assertion": code, "success": False} for code in rejects]
    return {"dataQualityAssertions": {"assertions": listed}}


def _own(meta: dict[str, Any]) -> dict[str, Any]:
    return {
        key: meta[key]
        for key in ("command", "producer", "seed", "params", "counts", "rejects", "meta_sha256")
        if key in meta
    }


def _run_id(link: Link) -> str:
    """Gives a UUID that the sidecar's words and the file's place determine."""
    seed = f"{meta_digest(link.meta or {})} {link.path.resolve()}"
    return str(UUID(bytes=sha256(seed.encode()).digest()[:16], version=4))


def _is_parquet(file: Path) -> bool:
    return file.suffix == ".parquet"


def _records(file: Path) -> Iterator[tuple[Record, Any]]:
    """Yields what each row of a data file holds, and its licence; of Parquet the columns that are not empty."""
    if not _is_parquet(file):
        yield from ((record, metadata_of(record).get("source_license")) for record in read_records(file))
        return
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as table:
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                yield {key: value for key, value in row.items() if value is not None}, row.get("source_license")


def croissant(file: Path, *, name: str = "", url: str = "") -> dict[str, Any]:
    """Gives the Croissant description (JSON-LD) of a data file with a sidecar.

    Args:
        file: JSON Lines, or Parquet of `lake export`, that a frontier command wrote.
        name: the dataset's name; the file's when left out.
        url: where it can be fetched; the file's name when left out.
    Raises:
        DataError: it has no sidecar, or no records.
    """
    link = next(chain(file))
    if link.meta is None or file.is_dir():
        raise DataError("has no sidecar", path=str(file), code="sidecar", hint="a frontier command writes one")
    data, licences, fields = link.meta["data"], Counter[str](), dict[str, str]()
    for number, (record, licence) in enumerate(_records(file)):
        licences.update(filter(None, [str(licence or "")]))
        if number < SAMPLED_ROWS:
            fields |= {key: _type_of(value) for key, value in record.items() if key not in fields}
    listed = sorted(licences)
    stem = name or file.name.partition(".")[0]
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": stem,
        "description": _described(link.meta),
        "url": url or file.name,
        "version": str(link.meta["code_version"]),
        "datePublished": str(link.meta["created_at"])[:10],
        **({"license": listed if len(listed) > 1 else listed[0]} if listed else {}),
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": "data", "name": file.name, "contentUrl": url or file.name,
                "contentSize": f"{data['bytes']} B", "encodingFormat": PARQUET if _is_parquet(file) else JSON_LINES,
                "sha256": data["sha256"],
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet", "@id": "records", "name": "records",
                "field": [
                    {
                        "@type": "cr:Field", "@id": f"records/{key}", "name": key,
                        "dataType": kind,
                        "source": {"fileObject": {"@id": "data"}, "extract": {"column": key}},
                    }
                    for key, kind in fields.items()
                ],
            }
        ],
    }  # fmt: skip


def _described(meta: dict[str, Any]) -> str:
    made = f"Made by frontier {meta['stage']}" + (f" ({meta['producer']})" if meta["producer"] else "")
    counts = ", ".join(f"{tag}: {count}" for tag, count in list(meta["counts"].items())[:20])
    return f"{made}, {meta['data'].get('num_records', 0)} records. {counts}".strip()


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "sc:Boolean"
    if isinstance(value, int):
        return "sc:Integer"
    return "sc:Float" if isinstance(value, float) else "sc:Text"


def _context() -> dict[str, Any]:
    """The names of Croissant 1.0, as its specification gives them."""
    words = ("citeAs", "column", "conformsTo", "dct", "dataBiases", "dataCollection", "examples", "extract", "field",
             "fileProperty", "fileObject", "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5",
             "parentField", "path", "personalSensitiveInformation", "recordSet", "references", "regex", "repeated",
             "replace", "samplingRate", "separator", "source", "subField", "transform",
             "equivalentProperty")  # fmt: skip
    plain = {word: f"cr:{word}" for word in words if word not in ("conformsTo", "dct", "examples", "citeAs")}
    return {
        "@language": "en", "@vocab": "https://schema.org/", "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/", "dct": "http://purl.org/dc/terms/", "sc": "https://schema.org/",
        **plain, "citeAs": "cr:citeAs", "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
    }  # fmt: skip
