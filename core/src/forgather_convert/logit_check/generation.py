"""The generation test: what the converted model says, and what the source says."""

import gc
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgather_convert.errors import ValidationError
from forgather_convert.logit_check.prompts import fixed_ids, try_load_tokenizer
from forgather_convert.options import ConvertOptions
from forgather_convert.planning.request import PlannedConversion
from forgather_convert.progress import Progress
from forgather_convert.tensors.dtypes import to_torch

logger = logging.getLogger(__name__)

_NEW_TOKENS = 40

#: Is told the text so far, and the tokens per second.
_OnText = Callable[[str, float], None]


@dataclass(frozen=True)
class Continuation:
    """What a model makes of a prompt, greedily.

    Attributes:
        text: The text that was generated; empty if the model has no tokenizer.
        token_ids: The generated tokens.
        seconds: How long that took, the prompt included.
    """

    text: str
    token_ids: tuple[int, ...]
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        return len(self.token_ids) / self.seconds


@dataclass(frozen=True)
class Generation:
    """A prompt, and how both models continue it.

    Attributes:
        prompt: The text that was given; empty if the result has no tokenizer.
        is_chat: Whether it was given as a message, in the chat template.
        result: The continuation by the converted model.
        source: The continuation by the source, as it is stored.
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
        """What stands between a prompt and a continuation: an answer has lines of its own."""
        return "\n" if self.is_chat else ""


def generate(
    planned: PlannedConversion,
    directory: Path,
    options: ConvertOptions,
    source_dtype: str,
    progress: Progress,
) -> Generation:
    """Continues a prompt greedily with both models, one after the other.

    Args:
        planned: The conversion.
        directory: Where its result is.
        options: The prompt, whether it is a message of a chat, and the device.
        source_dtype: The type to run the source in.
        progress: Is told the text while it is generated.

    Raises:
        ValidationError: A model does not generate, or has no chat template where one is needed.
    """
    destination, source = planned.destination, planned.source
    tokenizer = try_load_tokenizer(directory, destination.config_object)
    given = _Given.make(tokenizer, options, _num_tokens(planned))
    result = _continue(
        "converted model",
        lambda: destination.load(directory),
        (planned.plan.dtype, options.device),
        given,
        lambda text, rate: progress.generated("result", f"{given.shown}{text}", rate),
    )
    gc.collect()
    own = try_load_tokenizer(source.directory, source.config_object)
    of_source = given if own is None else given.read_by(own)
    expected = _continue(
        "source",
        lambda: source.load(planned.source_state),
        (source_dtype, options.device),
        of_source,
        lambda text, rate: progress.generated("source", f"{given.shown}{text}", rate),
    )
    found = Generation("" if tokenizer is None else options.prompt, options.chat, result, expected)
    _tell(found)
    return found


@dataclass(frozen=True)
class _Given:
    """What a model gets.

    Attributes:
        tokenizer: Reads the text, and writes what is generated; ``None`` if there is none.
        text: The text, with what the chat template puts around it.
        shown: What a user sees in front of the continuation.
        is_chat: Whether the chat template has already put the special tokens.
        ids: The text in tokens, or fixed ones without a tokenizer.
    """

    tokenizer: Any
    text: str
    shown: str
    is_chat: bool
    ids: Sequence[int]

    @classmethod
    def make(cls, tokenizer: Any, options: ConvertOptions, num_tokens: int) -> "_Given":
        text = _chat_text(tokenizer, options.prompt) if options.chat else options.prompt
        if tokenizer is None:
            return cls(None, "", "", False, fixed_ids(range(num_tokens)))
        shown = f"{options.prompt}\n" if options.chat else options.prompt
        return cls(None, text, shown, options.chat, ()).read_by(tokenizer)

    def read_by(self, tokenizer: Any) -> "_Given":
        """The same text in the tokens of a tokenizer."""
        ids = tokenizer(self.text, add_special_tokens=not self.is_chat)["input_ids"]
        if not ids:
            raise ValidationError(
                f"The generation test cannot begin: the prompt {self.text!r} has no tokens. Give "
                "another one with --prompt, or leave out --generation-test."
            )
        return _Given(tokenizer, self.text, self.shown, self.is_chat, [int(id_) for id_ in ids])


def _chat_text(tokenizer: Any, prompt: str) -> str:
    """The prompt as a user's message, ready for the answer."""
    if getattr(tokenizer, "chat_template", None) is None:
        raise ValidationError(
            "The generation test has no chat template to use: the result's tokenizer has none. "
            "Nothing was written. Give one with --chat-template-path, or leave out --chat."
        )
    messages = [{"role": "user", "content": prompt}]
    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
    except Exception as error:
        # A template is a program of somebody else's.
        raise ValidationError(
            f"The chat template does not take a message: {type(error).__name__}: {error}. Nothing "
            "was written. Leave out --chat to convert all the same."
        ) from error


def _num_tokens(planned: PlannedConversion) -> int:
    """How many ids, from the first one, both models have."""
    vocabulary = planned.plan.vocabulary
    if vocabulary is None:
        return planned.source.config_object.get_text_config().vocab_size  # type: ignore[no-any-return]
    return min(vocabulary.size_before, vocabulary.size)


def _continue(
    name: str, load: Callable[[], Any], place: tuple[str, str], given: _Given, on_text: _OnText
) -> Continuation:
    """Lets a model generate, in a dtype and on a device."""
    import torch

    from forgather_convert.logit_check.streamed_parameters import take_into_memory

    dtype, device = place
    model = take_into_memory(load(), to_torch(dtype), device)
    inputs = torch.tensor([given.ids], device=model.device)
    since = time.monotonic()
    try:
        with torch.no_grad():
            output = model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=_NEW_TOKENS,
                do_sample=False,
                # Whatever the model's own settings say: beams have no text until they end.
                num_beams=1,
                pad_token_id=_padding(model),
                streamer=None if given.tokenizer is None else _streamer(given.tokenizer, on_text),
            )
    except Exception as error:
        raise ValidationError(
            f"The {name} does not generate: {type(error).__name__}: {error}. Nothing was "
            "written. Leave out --generation-test to convert all the same."
        ) from error
    seconds = time.monotonic() - since
    new = tuple(output[0, len(given.ids) :].tolist())
    text = ""
    if given.tokenizer is not None:
        text = str(given.tokenizer.decode(new, skip_special_tokens=True))
    return Continuation(text, new, seconds)


def _streamer(tokenizer: Any, on_text: _OnText) -> Any:
    from transformers import TextStreamer

    class Streamer(TextStreamer):  # type: ignore[misc]
        """Passes the text on, whenever there is a word more."""

        def __init__(self) -> None:
            super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
            self._text = ""
            self._num_tokens = 0
            self._since: float | None = None

        def put(self, value: Any) -> None:
            if self._since is None:
                # This is the prompt.
                self._since = time.monotonic()
            else:
                self._num_tokens += value.numel()
            super().put(value)

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            self._text += text
            seconds = time.monotonic() - (self._since or 0.0)
            on_text(self._text, self._num_tokens / seconds if seconds else 0.0)

    return Streamer()


def _tell(found: Generation) -> None:
    speed = f"{found.result.tokens_per_second:.1f}"
    if found.source.token_ids == found.result.token_ids:
        logger.info(
            "Generated %d tokens at %s tokens/s; the source generates the same",
            len(found.result.token_ids),
            speed,
        )
        return
    logger.info(
        "Generated %d tokens at %s tokens/s; the source goes on in another way: %s",
        len(found.result.token_ids),
        speed,
        found.source.text or " ".join(map(str, found.source.token_ids)),
    )


def _padding(model: object) -> int | None:
    """A padding token for ``generate``, which is unused with a single prompt."""
    config = getattr(model, "generation_config", None)
    for name in ("pad_token_id", "eos_token_id"):
        value = getattr(config, name, None)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, int) and value >= 0:
            return value
    return None
