"""The options of a conversion."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from forgather_convert.errors import OptionError
from forgather_convert.tensors.dtypes import OUTPUT_DTYPES
from forgather_convert.weights.file_names import PYTORCH, SAFETENSORS

DEFAULT_PROMPT = "The old bridge crosses the river where"
DEFAULT_MAX_SHARD_SIZE = 5_000_000_000

#: The kinds of links to a source's weights.
LINKS = ("hard", "symbolic")

#: The largest values that memory and all file formats allow.
_LARGEST = {
    "max_length": 2**31 - 1,
    "max_shard_size": 2**63 - 1,
    "pad_vocab_to_multiple_of": 1_000_000,
}
_LONGEST_PROMPT = 10_000

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?")
_SCALES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class ConvertOptions:
    """The options of ``forgather convert``, with its defaults.

    Attributes:
        reverse: Convert from Forgather to Hugging Face, whatever the config says.
        model_type: The family, if the config does not state it or is wrong.
        dtype: Data type of the output; ``None`` keeps the source's.
        dequantize: Dequantize quantized weights, which are refused otherwise.
        max_length: Maximum sequence length of the output; ``None`` keeps the source's.
        checkpoint_path: The checkpoint of a Forgather source to convert.
        base: The base model of an adapter; or the original of a composite whose trained weights
            were saved without its other parts, such as the vision tower.
        token_file: A YAML file with tokens to add.
        skip_default_tokens: Do not add a padding token if the tokenizer has none.
        pad_vocab_to_multiple_of: Round the number of vocabulary rows up to a multiple of this.
        chat_template_path: A file with a Jinja template for the output's tokenizer.
        device: The device for the logit check and the generation test, as torch names it.
        generation_test: Continue the prompt with the result and the source.
        chat: Apply the result's chat template to the prompt of the generation test.
        prompt: The text that the checks run on.
        converter: The name of the installed distribution to take the converter from.
        converter_paths: Directories and files to search for converters first.
        use_plugins: Whether the converters of installed distributions may be used.
        weights_format: ``"safetensors"`` or ``"pytorch"``.
        max_shard_size: Maximum size of a weights file in bytes; ``None`` keeps the source's
            division if possible, and is 5 GB otherwise.
        overwrite: Replace an existing destination once the new model is complete.
        trust_remote_code: Let the check run a Forgather source's own code even if it differs from
            what the generator writes.
        follow_links: Copy files outside the source that symbolic links in it point to.
        drop_unused: Leave out the tensors that the model does not use.
        link: Write a Forgather model that links to the source's weights files: ``"hard"`` or
            ``"symbolic"``; ``None`` to write weights.
        code_only: Write the config, code and tokenizer of a Forgather model, and no weights.
        text_only: Convert a composite back to its text model alone.
        logit_check: Compare the logits of source and result before the result appears.
        logit_tolerance: How much the logits may differ; ``None`` if not at all.
        hashes: Compute the SHA-256 of every file of the result, which reads all of it again.
    """

    reverse: bool = False
    model_type: str | None = None
    dtype: str | None = None
    dequantize: bool = False
    max_length: int | None = None
    checkpoint_path: Path | None = None
    base: Path | None = None
    token_file: Path | None = None
    skip_default_tokens: bool = False
    pad_vocab_to_multiple_of: int = 1
    chat_template_path: Path | None = None
    device: str = "cpu"
    generation_test: bool = False
    chat: bool = False
    prompt: str = DEFAULT_PROMPT
    converter: str | None = None
    converter_paths: tuple[Path, ...] = ()
    use_plugins: bool = True
    weights_format: str = SAFETENSORS
    max_shard_size: int | None = None
    overwrite: bool = False
    trust_remote_code: bool = False
    follow_links: bool = False
    drop_unused: bool = False
    link: str | None = None
    code_only: bool = False
    text_only: bool = False
    logit_check: bool = True
    logit_tolerance: float | None = None
    hashes: bool = False

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in OUTPUT_DTYPES:
            raise OptionError(
                f"'{self.dtype}' is not a data type for the output. Choose one of "
                f"{', '.join(OUTPUT_DTYPES)}."
            )
        if self.weights_format not in (SAFETENSORS, PYTORCH):
            raise OptionError(
                f"'{self.weights_format}' is not a weights format. Choose "
                f"'{SAFETENSORS}' or '{PYTORCH}'."
            )
        if self.link not in (None, *LINKS):
            raise OptionError(f"'{self.link}' is not a kind of link. Choose {' or '.join(LINKS)}.")
        if self.link is not None and (self.code_only or not self.keeps_division or self.dtype):
            raise OptionError(
                "--link gives the source's files as they are. Leave out --code-only, --dtype, "
                "--format and --max-shard-size."
            )
        if self.converter is not None and not self.use_plugins:
            raise OptionError(
                f"The converter of '{self.converter}' cannot be used without plugins. Leave out "
                "--no-plugins or --converter."
            )
        if self.chat and not self.generation_test:
            raise OptionError(
                "--chat only applies to the generation test. Add --generation-test, or leave out "
                "--chat."
            )
        if self.logit_tolerance is not None:
            _check_tolerance(self.logit_tolerance, self.logit_check)
        for name, most in _LARGEST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise OptionError(f"{name} must be from 1 to {most}, not {value}.")
        _check_prompt(self.prompt)

    @property
    def keeps_division(self) -> bool:
        """Whether weights may stay in the files and the format that they are in."""
        return self.max_shard_size is None and self.weights_format == SAFETENSORS


def _check_tolerance(tolerance: float, logit_check: bool) -> None:
    if not 0.0 < tolerance < math.inf:
        raise OptionError(
            f"The logit tolerance must be a positive number, not {tolerance:g}. Without one, "
            "logits must be bit-identical."
        )
    if not logit_check:
        raise OptionError(
            "A tolerance has no meaning without the logit check. Leave out --logit-tolerance or "
            "--no-logit-check."
        )


def _check_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise OptionError("The prompt is empty. Give a text for the checks with --prompt.")
    if len(prompt) > _LONGEST_PROMPT:
        raise OptionError(
            f"The prompt has {len(prompt)} characters; it must be at most {_LONGEST_PROMPT}. The "
            "checks compute logits for all of it at once."
        )
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise OptionError("The prompt is not valid text. Give it as UTF-8.") from error


def parse_size(text: str) -> int:
    """Reads a size in bytes: ``"5GB"`` (decimal), ``"512MiB"`` (binary) or ``"1000000"``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise OptionError(f"'{text}' is not a size. Write it as 5GB, 500MB, 512MiB or in bytes.")
    number, scale, binary = match.groups()
    exact = float(number) * (1024 if binary else 1000) ** _SCALES[scale.lower()]
    if exact > _LARGEST["max_shard_size"]:
        raise OptionError(f"'{text[:40]}' is larger than any file can be. Give a smaller size.")
    size = int(exact)
    if size < 1:
        raise OptionError(f"'{text}' is less than one byte. Give a larger size.")
    return size
