"""Small corpora for the tests of streams and the lake."""

import json


def write_domain(path, name, num, *, first=0, **metadata):
    """A file of `num` records whose only difference is their number."""
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"{name} {i}"},
                    {"role": "assistant", "content": "x" * (i % 40)},
                ],
                "metadata": {"skill": name, "level": i % 3 + 1, "number": i, **metadata},
            }
        )
        for i in range(first, first + num)
    ]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def numbers(records):
    return [(record["metadata"]["skill"], record["metadata"]["number"]) for record in records]
