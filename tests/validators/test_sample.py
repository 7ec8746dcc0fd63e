"""What a sample says of a file: tokens, languages, lengths by skill, level and source."""

import json

import pytest

from frontier_core.errors import UsageError
from validators.language import language_of
from validators.sample import Sampler, facts_of, records_of, sampled_lines, token_counter


def chat(answer, **metadata):
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "metadata": {"skill": "s", **metadata}}


TEXTS = {
    "en": "The files that you moved are not in the folder, and this is what you can do for it.",
    "de": "Die Dateien, die Sie verschoben haben, sind nicht in dem Ordner, und das ist ein Fehler.",
    "fr": "Les fichiers que vous avez déplacés ne sont pas dans le dossier, et il est vide.",
    "es": "Los archivos que usted movió no están en la carpeta, y es un error por lo que se ve.",
    "pt": "Os arquivos que você moveu não estão na pasta, e isso é um erro para as pessoas.",
    "it": "Le cartelle che hai spostato non sono nella posizione di prima, e questo è un errore.",
    "nl": "De bestanden die je hebt verplaatst staan niet in de map, en dat is een fout.",
    "ru": "Файлы, которые вы переместили, не находятся в папке.",
    "zh": "您移动的文件不在该文件夹中。",
    "ja": "移動したファイルはフォルダーにありません。",
    "ko": "이동한 파일이 폴더에 없습니다.",
    "ar": "الملفات التي نقلتها ليست في المجلد.",
    "unknown": "find . -name '*.tmp' -delete; 12 + 30 = 42",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_sentence_is_told_by_its_script_or_its_small_words(language):
    assert language_of(TEXTS[language]) == language


def test_facts_are_told_by_skill_level_and_source_and_an_estimate_says_so():
    records = [chat("x" * 35, level=1, source="a"), chat("x" * 75, level=1, source="b"), chat("x" * 75, skill="t")]
    facts, remarks = facts_of(records, None)
    assert (facts["num_sampled"], remarks) == (3, [])
    # "Why?", a line end and the answer: 40, 80 and 80 bytes
    assert facts["tokens"] == {"how": "estimated from bytes", "mean": 16.7, "p50": 20, "p95": 20, "max": 20}
    assert facts["by_skill"]["s"] == {
        "records": 2, "share": 0.6667, "tokens_mean": 15.0, "tokens_p50": 10, "tokens_p95": 20, "tokens_max": 20,
    }  # fmt: skip
    assert {name: group["records"] for name, group in facts["by_level"].items()} == {"1": 2, "(none)": 1}
    assert {name: group["records"] for name, group in facts["by_source"].items()} == {"a": 1, "b": 1, "(none)": 1}
    assert facts["token_lengths"]["counts"][:3] == [1, 2, 0]
    assert facts["languages"] == {"unknown": {"records": 3, "share": 1.0}}


def test_a_second_language_is_a_warning_that_rejects_nothing():
    _, remarks = facts_of([chat(TEXTS["en"])] * 9 + [chat(TEXTS["es"])], None)
    assert [(found.code, found.severity) for found in remarks] == [("other_language", "warning")]
    assert remarks[0].message == "of 10 sampled records 9 are in en, but also: 1 es"


def test_tokens_are_counted_with_the_tokenizer_of_a_model_folder(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"Why": 0, "?": 1, "no": 2, "[UNK]": 3}, "[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    (tmp_path / "model").mkdir()
    words.save(str(tmp_path / "model" / "tokenizer.json"))
    facts, _ = facts_of([chat("no no no")], tmp_path / "model")
    assert facts["tokens"]["max"] == 5
    assert facts["tokens"]["how"] == f"counted by {tmp_path}/model/tokenizer.json"
    with pytest.raises(UsageError, match=r"holds no tokenizer.json"):
        token_counter(tmp_path)


def test_a_sample_is_spread_over_a_stream_and_over_a_large_file(tmp_path):
    sampler = Sampler(10)
    sampler.take(f"{n}".encode() for n in range(100))
    assert [int(line) for line in sampler.lines] == [0, 16, 32, 48, 64, 80, 96]
    (tmp_path / "big.jsonl").write_text("".join(json.dumps(chat("x" * 20000, n=n)) + "\n" for n in range(40)))
    found = [record["metadata"]["n"] for record in records_of(sampled_lines(tmp_path / "big.jsonl", 20))]
    assert len(found) >= 18
    assert found == sorted(found)
    assert (found[0], found[-1] >= 37) == (0, True)
    assert [r["metadata"]["skill"] for r in records_of([b"{", b"[1]", json.dumps(chat("y")).encode()])] == ["s"]
