"""The generation test: the converted model and the source continue a prompt."""

import gc
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import ValidationError, cause_of
from forgather_convert.logit_check.prompts import fixed_ids, try_load_tokenizer
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.request import PlannedModel
from forgather_convert.progress import Progress
from forgather_convert.tensors.dtypes import to_torch

logger = logging.getLogger(__name__)

_NEW_TOKENS = 40

#: Called with the text so far and the tokens per second.
_OnText = Callable[[str, float], None]


@dataclass(frozen=True)
class Continuation:
    """A model's continuation of a prompt, generated greedily.

    Attributes:
        text: The generated text; empty if the model has no tokenizer.
        token_ids: The generated tokens.
        seconds: The time that it took, including the prompt.
    """

    text: str
    token_ids: tuple[int, ...]
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        return len(self.token_ids) / self.seconds


@dataclass(frozen=True)
class Generation:
    """A prompt and its continuations by both models.

    Attributes:
        prompt: The prompt; empty if the result has no tokenizer.
        is_chat: Whether the chat template was applied to it.
        result: The continuation by the converted model.
        source: The continuation by the uncast source.
    """

    prompt: str
    is_chat: bool
    result: Continuation
    source: Continuation

    @property
    def text(self) -> str:
        """The prompt with the result's continuation."""
        return f"{self.prompt}{self.separator}{self.result.text}"

    @property
    def separator(self) -> str:
        """What separates prompt and continuation: a reply begins on a line of its own."""
        return "\n" if self.is_chat else ""


def generate(
    planned: PlannedModel,
    directory: Path,
    options: ConvertOptions,
    source_dtype: str,
    progress: Progress,
) -> Generation:
    """Continues a prompt greedily with both models, one after the other.

    Args:
        planned: The conversion.
        directory: The directory of its result.
        options: The prompt, whether to apply the chat template, and the device.
        source_dtype: The dtype to run the source in.
        progress: Receives the text while it is generated.

    Raises:
        ValidationError: A model fails to generate, or lacks the chat template that is needed.
    """
    destination, source = planned.destination, planned.source
    tokenizer = try_load_tokenizer(directory, destination.config_object)
    # Models refer to themselves: those of the check may still be in memory, and below, the result.
    gc.collect()
    prompt_input = _PromptInput.make(tokenizer, options, _num_tokens(planned))
    result = _continue(
        "converted model",
        lambda: destination.load(directory),
        (planned.plan.dtype, options.device),
        prompt_input,
        lambda text, rate: progress.generated("result", f"{prompt_input.shown}{text}", rate),
    )
    gc.collect()
    own = try_load_tokenizer(source.directory, source.config_object)
    of_source = prompt_input if own is None else prompt_input.read_by(own)
    expected = _continue(
        "source",
        lambda: source.load(planned.source_state),
        (source_dtype, options.device),
        of_source,
        lambda text, rate: progress.generated("source", f"{prompt_input.shown}{text}", rate),
    )
    generation = Generation(
        "" if tokenizer is None else options.prompt, options.chat, result, expected
    )
    _log(generation)
    return generation


@dataclass(frozen=True)
class _PromptInput:
    """The input of a model.

    Attributes:
        tokenizer: The tokenizer; ``None`` if there is none.
        text: The text, to which the chat template has been applied if requested.
        shown: What a user sees before the continuation.
        is_chat: Whether the chat template has already added the special tokens.
        ids: The token ids of the text, or fixed ones without a tokenizer.
    """

    tokenizer: Any
    text: str
    shown: str
    is_chat: bool
    ids: Sequence[int]

    @classmethod
    def make(cls, tokenizer: Any, options: ConvertOptions, num_tokens: int) -> "_PromptInput":
        text = _chat_text(tokenizer, options.prompt) if options.chat else options.prompt
        if tokenizer is None:
            return cls(None, "", "", False, fixed_ids(range(num_tokens)))
        shown = f"{options.prompt}\n" if options.chat else options.prompt
        return cls(None, text, shown, options.chat, ()).read_by(tokenizer)

    def read_by(self, tokenizer: Any) -> "_PromptInput":
        """The same text, tokenized by another tokenizer."""
        ids = tokenizer(self.text, add_special_tokens=not self.is_chat)["input_ids"]
        if not ids:
            raise ValidationError(
                f"The generation test cannot start: the prompt {self.text!r} has no tokens. Give "
                "another one with --prompt, or leave out --generation-test."
            )
        return _PromptInput(
            tokenizer, self.text, self.shown, self.is_chat, [int(id_) for id_ in ids]
        )


def _chat_text(tokenizer: Any, prompt: str) -> str:
    """The prompt as a user's message, ready for the answer."""
    if getattr(tokenizer, "chat_template", None) is None:
        raise ValidationError(
            "The generation test cannot use --chat: the result's tokenizer has no chat template. "
            "Nothing was written. Give one with --chat-template-path, or leave out --chat."
        )
    messages = [{"role": "user", "content": prompt}]
    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
    except Exception as error:
        # A template is a foreign program, which may fail in any way.
        raise ValidationError(
            f"The chat template fails on a user message: {cause_of(error)}. Nothing "
            "was written. Leave out --chat to convert anyway."
        ) from error


def _num_tokens(planned: PlannedModel) -> int:
    """The number of ids, from the first one, that both models have."""
    vocabulary = planned.plan.vocabulary
    if vocabulary is None:
        return planned.source.config_object.get_text_config().vocab_size  # type: ignore[no-any-return]
    return min(vocabulary.size_before, vocabulary.size)


def _continue(
    name: str,
    load: Callable[[], Any],
    placement: tuple[str, str],
    prompt_input: _PromptInput,
    on_text: _OnText,
) -> Continuation:
    """Generates with a model, in a dtype and on a device."""
    import torch

    from forgather_convert.logit_check.streamed_parameters import take_into_memory

    dtype, device = placement
    model = take_into_memory(load(), to_torch(dtype), device)
    inputs = torch.tensor([prompt_input.ids], device=model.device)
    since = time.monotonic()
    try:
        with torch.no_grad():
            output = model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=_NEW_TOKENS,
                do_sample=False,
                # Overrides the model's settings: beam search has no text until it ends.
                num_beams=1,
                pad_token_id=_padding(model),
                streamer=None
                if prompt_input.tokenizer is None
                else _streamer(prompt_input.tokenizer, on_text),
            )
    except Exception as error:
        raise ValidationError(
            f"The {name} fails to generate: {cause_of(error)}. Nothing was "
            "written. Leave out --generation-test to convert anyway."
        ) from error
    seconds = time.monotonic() - since
    new = tuple(output[0, len(prompt_input.ids) :].tolist())
    text = ""
    if prompt_input.tokenizer is not None:
        text = str(prompt_input.tokenizer.decode(new, skip_special_tokens=True))
    return Continuation(text, new, seconds)


def _streamer(tokenizer: Any, on_text: _OnText) -> Any:
    from transformers import TextStreamer

    class Streamer(TextStreamer):  # type: ignore[misc]
        """Passes the text on after every word."""

        def __init__(self) -> None:
            super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
            self._text = ""
            self._num_tokens = 0
            self._since: float | None = None

        def put(self, value: Any) -> None:
            if self._since is None:
                # The first call is for the prompt.
                self._since = time.monotonic()
            else:
                self._num_tokens += value.numel()
            super().put(value)

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            self._text += text
            seconds = time.monotonic() - (self._since or 0.0)
            on_text(self._text, self._num_tokens / seconds if seconds else 0.0)

    return Streamer()


def _log(generation: Generation) -> None:
    speed = f"{generation.result.tokens_per_second:.1f}"
    if generation.source.token_ids == generation.result.token_ids:
        logger.info(
            "Generated %d tokens at %s tokens/s; the source generates the same tokens",
            len(generation.result.token_ids),
            speed,
        )
        return
    logger.info(
        "Generated %d tokens at %s tokens/s; the source generates other tokens: %s",
        len(generation.result.token_ids),
        speed,
        generation.source.text or " ".join(map(str, generation.source.token_ids)),
    )


def _padding(model: object) -> int | None:
    """A padding token for ``generate``, which a single prompt does not use."""
    config = getattr(model, "generation_config", None)
    for name in ("pad_token_id", "eos_token_id"):
        value = getattr(config, name, None)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, int) and value >= 0:
            return value
    return None
