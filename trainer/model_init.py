"""Makes a small model and its tokenizer from nothing: an ordinary transformers folder, the same bytes for a seed.

The architecture is Qwen3's, so whatever serves or tunes Qwen3 takes it. The tokenizer is a byte-level BPE trained on
the given texts; it can spell anything, and every digit is a token of its own, so that arithmetic can be learnt.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from frontier_core.atomic import commit_dir, explain_os_error, temp_beside
from frontier_core.errors import ConfigError, UsageError
from frontier_core.nearest import did_you_mean
from trainer.chat_template import END_OF_TEXT, IM_END, IM_START, plain_chatml
from trainer.runtime import quiet, seeded

# A line break, a digit, a word or a run of signs (with the space before it), any other space: no token spans two of
# them, so a prompt that ends in a line break is encoded alike with and without its answer. (Splitting the space off
# was tried: a fifth more tokens, and names were copied from question to command later, not sooner.)
_PIECES = r"\n|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The shape of a model: sizes in units, `vocab_size` in tokens at most (fewer when the texts are few)."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    max_position_embeddings: int = 4096


PRESETS = {
    "tiny": Preset(
        vocab_size=2048,
        hidden_size=192,
        num_layers=2,
        num_heads=12,
        num_kv_heads=12,
        head_dim=16,
        intermediate_size=384,
    ),
    "small": Preset(
        vocab_size=4096,
        hidden_size=256,
        num_layers=5,
        num_heads=8,
        num_kv_heads=4,
        head_dim=32,
        intermediate_size=768,
    ),
}


def init_model(
    output_dir: str | Path, *, preset: str = "tiny", corpus: Iterable[str] = (), seed: int = 0
) -> dict[str, Any]:
    """Makes a model folder that AutoModelForCausalLM and AutoTokenizer load offline.

    Args:
        output_dir: the folder to make; one that holds a model already is replaced, whole.
        preset: a name in `PRESETS`.
        corpus: texts to train the tokenizer on, such as the model is to read and write; none gives plain bytes.
        seed: of the weights; same preset, corpus and seed, same bytes.
    Returns:
        What was made: preset, seed, vocab_size, num_parameters, path, and the preset's sizes under `shape`.
    Raises:
        ConfigError: no such preset.
        UsageError: the folder can't be written, or holds something that is no model.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}", hint=did_you_mean(preset, PRESETS))
    shape = PRESETS[preset]
    target = Path(output_dir)
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file", hint="name a folder with -o")
    if target.is_dir() and any(target.iterdir()) and not (target / "config.json").is_file():
        raise UsageError(f"{target}: is a folder that holds no model", hint="choose another -o")
    temp = temp_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir()
    except OSError as error:
        raise explain_os_error(error, target) from error
    try:
        with quiet(), seeded(seed):
            tokenizer = _tokenizer(corpus, shape)
            model = _model(tokenizer, shape)
            tokenizer.save_pretrained(temp)
            model.save_pretrained(temp)
        commit_dir(temp, target)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise
    return {
        "path": str(target),
        "preset": preset,
        "seed": seed,
        "vocab_size": len(tokenizer),
        "num_parameters": sum(weight.numel() for weight in model.parameters()),
        "shape": asdict(shape),
    }


def _tokenizer(corpus: Iterable[str], shape: Preset) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT, IM_START, IM_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=IM_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[IM_START],
        chat_template=plain_chatml(),
        model_max_length=shape.max_position_embeddings,
        clean_up_tokenization_spaces=False,
    )


def _model(tokenizer: Any, shape: Preset) -> Any:
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    stop, pad = tokenizer.convert_tokens_to_ids([IM_END, END_OF_TEXT])
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=shape.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        eos_token_id=stop,
        pad_token_id=pad,
        bos_token_id=None,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=stop, pad_token_id=pad, do_sample=False)
    return model
