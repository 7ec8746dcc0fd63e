"""The peers that benchmarks/teacher.py measures beside us, and their virtual environments.

    python benchmarks/teacher_peers.py FOLDER     makes FOLDER/NAME for each peer by pip: minutes, 3 GB

They do not install next to our stack, so each has an environment of its own. Then `teacher.py --peers FOLDER`, or
FRONTIER_TEACHER_PEERS=FOLDER. Each script below reads {"question": ...} lines from standard input, asks at concurrency
64 by the peer's own means, and prints a line for each answer.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "openai": ("openai",),
    "curator": ("bespokelabs-curator",),
    "data-designer": ("data-designer",),
    "distilabel": ("distilabel[openai]", "requests"),  # it imports requests and does not ask for it
    "synthetic-data-kit": ("synthetic-data-kit", "openai"),
}

SCRIPTS = {
    "openai": """
import asyncio, json, sys
from openai import AsyncOpenAI
async def main(url):
    async with AsyncOpenAI(base_url=url + "/v1", api_key="none") as client:
        async def work():
            for line in sys.stdin:
                turns = [{"role": "user", "content": json.loads(line)["question"]}]
                done = await client.chat.completions.create(model="m", messages=turns)
                print(json.dumps({"reply": done.choices[0].message.content}))
        await asyncio.gather(*(work() for _ in range(64)))
asyncio.run(main(sys.argv[1]))
""",
    "curator": """
import json, os, sys, tempfile
os.environ |= {"OPENAI_API_KEY": "none", "CURATOR_CACHE_DIR": tempfile.mkdtemp(dir="."), "TELEMETRY_ENABLED": "0",
               "CURATOR_DISABLE_RICH_DISPLAY": "1", "HF_DATASETS_OFFLINE": "1"}
import tiktoken
class Words:  # the real one downloads its vocabulary; this is cheaper, which favours the peer
    def encode(self, text, **_): return text.split()
tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_, **__: Words()
from bespokelabs import curator
class Ask(curator.LLM):
    def prompt(self, row): return row["question"]
    def parse(self, row, response): return [{"reply": response}]
limits = {"max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10, "max_concurrent_requests": 64}
ask = Ask(model_name="m", backend="openai", backend_params={"base_url": sys.argv[1] + "/v1", **limits})
for row in ask([json.loads(line) for line in sys.stdin]).dataset:
    print(json.dumps(row))
""",
    "data-designer": """
import json, os, sys, tempfile
os.environ |= {"NEMO_TELEMETRY_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}
os.environ["DATA_DESIGNER_HOME"] = tempfile.mkdtemp(dir=".")
import pandas
import data_designer.config as dd
from data_designer.interface import DataDesigner
rows = [json.loads(line) for line in sys.stdin]
provider = dd.ModelProvider(name="p", endpoint=sys.argv[1] + "/v1", provider_type="openai", api_key="none")
asked = dd.ChatCompletionInferenceParams(max_parallel_requests=64)
model = dd.ModelConfig(alias="m", model="m", provider="p", inference_parameters=asked, skip_health_check=True)
build = dd.DataDesignerConfigBuilder(model_configs=[model])
build.with_seed_dataset(dd.DataFrameSeedSource(df=pandas.DataFrame(rows)))
build.add_column(dd.LLMTextColumnConfig(name="reply", prompt="{{ question }}", model_alias="m"))
designer = DataDesigner(artifact_path=tempfile.mkdtemp(dir="."), model_providers=[provider])
made = designer.create(build, num_records=len(rows)).load_dataset()
for reply in made["reply"]:
    print(json.dumps({"reply": reply}))
""",
    "distilabel": """
import json, os, sys
from distilabel.models.llms import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
if __name__ == "__main__":
    rows = [{"instruction": json.loads(line)["question"]} for line in sys.stdin]
    with Pipeline(name="bench") as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=64)
        ask = OpenAILLM(model="m", base_url=sys.argv[1] + "/v1", api_key="none")
        load >> TextGeneration(llm=ask, input_batch_size=64)
    made = pipeline.run(use_cache=False)
    for row in made["default"]["train"]:
        print(json.dumps({"reply": row["generation"]}))
""",
    "synthetic-data-kit": """
import json, os, sys
out = os.dup(1)
os.dup2(2, 1)  # it prints banners
from synthetic_data_kit.models.llm_client import LLMClient
client = LLMClient(provider="api-endpoint", api_base=sys.argv[1] + "/v1", api_key="none", model_name="m")
client.sleep_time = 0.0
turns = [[{"role": "user", "content": json.loads(line)["question"]}] for line in sys.stdin]
with open(out, "w") as stream:
    for reply in client.batch_completion(turns, batch_size=64):
        stream.write(json.dumps({"reply": reply}) + "\\n")
""",
}


def python_of(peer: str, folder: str) -> str | None:
    """Gives the interpreter that has a peer, None when there is none; the openai SDK may be among our own packages."""
    found = Path(folder, peer, "bin", "python") if folder else None
    if found is not None and found.exists():
        return str(found.absolute())
    return sys.executable if peer == "openai" else None


def main() -> None:
    """Makes the environments; one that fails is named and the others are made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for peer, packages in PACKAGES.items():
        subprocess.run([sys.executable, "-m", "venv", str(folder / peer)], check=True)
        done = subprocess.run([str(folder / peer / "bin" / "pip"), "install", "--quiet", *packages])
        print(f"{peer}: {'made' if done.returncode == 0 else 'could not be installed'}")


if __name__ == "__main__":
    main()
