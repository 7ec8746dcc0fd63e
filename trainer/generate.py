"""Greedy answers to many conversations at once, for evaluation: the same prompts as training, token for token.

Prompts are sorted by length and padded on the left; rows that are done leave the batch, cache and all. Sampling and
streaming are the server's business (frontier_ops).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.profiles import ProfileName
from frontier_core.records import Message
from trainer.chat_template import IM_END, apply_profile, encode, render_prompt
from trainer.checkpoints import resolve_model
from trainer.runtime import quiet, seeded

ONE_THREAD_BELOW = 5_000_000
"""Parameters below which one thread decodes: sharing out maps this small costs more than it saves (measured on two
cores under load, tiny preset: 0.9 CPU s on one thread, 8.9 on two, same answers)."""

Progress = Callable[[int, int], None]
"""Called after every batch with (conversations done, conversations in all)."""


def generate_answers(
    model_dir: str | Path,
    conversations: Sequence[list[Message]],
    *,
    profile: ProfileName,
    max_new_tokens: int | Sequence[int],
    batch_size: int = 32,
    on_progress: Progress | None = None,
    on_answer: Callable[[int, str], None] | None = None,
) -> list[str]:
    """Gives the model's next assistant text for each conversation, in order, as it came (profile still on).

    Args:
        model_dir: a model folder, a checkpoint, or a run (its newest checkpoint).
        conversations: chat turns up to where the assistant is to speak.
        profile: decides whether a template with `<think>` blocks is replaced, as in training.
        max_new_tokens: where an answer that does not end is cut off; one number, or one per conversation.
        batch_size: conversations at a time.
        on_progress: told how many are done.
        on_answer: given each answer with its place among the conversations, as soon as its batch is done.
    Raises:
        UsageError, ConfigError: no model there, or its template can't be rendered turn by turn.
    """
    limits = [max_new_tokens] * len(conversations) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if min(limits, default=1) < 1 or batch_size < 1 or len(limits) != len(conversations):
        raise ConfigError("max_new_tokens and batch_size must be at least 1")
    folder = resolve_model(model_dir)
    answers = [""] * len(conversations)
    with quiet(), seeded(0):
        tokenizer, model = _load(folder)
        apply_profile(tokenizer, profile)
        encoded = encode(tokenizer, [render_prompt(tokenizer, turns) for turns in conversations])
        prompts = [ids for ids, _ in encoded]
        stops = _stop_ids(tokenizer, model)
        order = sorted(range(len(prompts)), key=lambda index: (-limits[index], -len(prompts[index]), index))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            outputs = _greedy(model, [prompts[row] for row in rows], stops, [limits[row] for row in rows])
            for row, ids in zip(rows, outputs, strict=True):
                answers[row] = tokenizer.decode(ids, skip_special_tokens=True)
                if on_answer is not None:
                    on_answer(row, answers[row])
            if on_progress is not None:
                on_progress(min(start + batch_size, len(order)), len(order))
    return answers


def token_counts(model_dir: str | Path, texts: Sequence[str]) -> list[int]:
    """Gives how many tokens each text has for the model's tokenizer, without loading the model."""
    from transformers import AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(resolve_model(model_dir), local_files_only=True)
        return [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts]


def _load(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="float32")
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{folder}: the model can't be loaded: {reason}") from error
    if model.num_parameters() < ONE_THREAD_BELOW:
        torch.set_num_threads(1)
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _stop_ids(tokenizer: Any, model: Any) -> set[int]:
    """Gives the ids that end an answer: the end mark of ChatML where it is one token, and the model's own."""
    marks = tokenizer.encode(IM_END, add_special_tokens=False)
    stops = set(marks) if len(marks) == 1 else set()
    for value in (tokenizer.eos_token_id, model.generation_config.eos_token_id):
        stops.update(value if isinstance(value, list) else [value])
    return {stop for stop in stops if stop is not None}


def _greedy(model: Any, prompts: list[list[int]], stops: set[int], limits: list[int]) -> list[list[int]]:
    """Gives the most likely continuation of each prompt, without its stop token, at most its limit of tokens long."""
    # B rows still open, T tokens so far
    import torch
    from transformers import DynamicCache

    device = model.device
    width = max(map(len, prompts))
    ids_BT = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
    mask_BT = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
    for number, prompt in enumerate(prompts):
        ids_BT[number, width - len(prompt) :] = torch.tensor(prompt, device=device)
        mask_BT[number, width - len(prompt) :] = 1
    outputs: list[list[int]] = [[] for _ in prompts]
    open_rows = list(range(len(prompts)))
    stop_ids = torch.tensor(sorted(stops), device=device)
    cache = DynamicCache(config=model.config)
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        for length in range(1, max(limits) + 1):
            logits_BV = model(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                position_ids=positions_BT,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            best_B = logits_BV.argmax(-1)
            goes_on_B = ~torch.isin(best_B, stop_ids)
            for row, token, is_open in zip(list(open_rows), best_B.tolist(), goes_on_B.tolist(), strict=True):
                if is_open:
                    outputs[row].append(token)
            has_room_B = torch.tensor([limits[row] > length for row in open_rows], device=device)
            keep_B = goes_on_B & has_room_B
            if not keep_B.all():
                open_rows = [row for row, is_open in zip(open_rows, keep_B.tolist(), strict=True) if is_open]
                if not open_rows:
                    break
                kept = keep_B.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                best_B, mask_BT, positions_BT = best_B[kept], mask_BT[kept], positions_BT[kept]
            ids_BT = best_B[:, None]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(open_rows), 1)], dim=-1)
            positions_BT = positions_BT[:, -1:] + 1
    return outputs
