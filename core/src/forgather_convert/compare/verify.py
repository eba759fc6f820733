"""Compares two model directories of any kind."""

from dataclasses import dataclass
from pathlib import Path

from forgather_convert.compare.configs import compare_across, compare_configs
from forgather_convert.compare.models import ComparedModel, read_compared
from forgather_convert.compare.result import FieldDifference, Verification
from forgather_convert.compare.tensors import compare_tensors
from forgather_convert.compare.tokenizers import compare_tokenizers
from forgather_convert.errors import ValidationError
from forgather_convert.families.converter import HFConverter
from forgather_convert.logit_check.device import check_device
from forgather_convert.logit_check.logits import CheckSettings, LogitComparison, compare_logits
from forgather_convert.models.opening import ModelRequest
from forgather_convert.models.reference import rope_fields_of
from forgather_convert.options import DEFAULT_PROMPT, ConvertOptions
from forgather_convert.progress import Phase, Progress
from forgather_convert.tensors.weight_mapping import WeightMapping


@dataclass(frozen=True)
class VerifyOptions:
    """The options of ``forgather verify``, with its defaults.

    Attributes:
        device: Where the logits are computed, as torch names it.
        prompt: The text that tokenizers and models are compared on.
        logit_check: Compare the logits as well.
        trust_remote_code: Let a Forgather model's own code run even where it was edited, that is,
            where it is not what the generator writes.
        dequantize: Compare the dequantized values of quantized weights.
        converter: The name of the installed distribution to take the converter from.
        converter_paths: Directories and files to search for converters first.
        use_plugins: Whether the converters of installed distributions may be used.
    """

    device: str = "cpu"
    prompt: str = DEFAULT_PROMPT
    logit_check: bool = True
    trust_remote_code: bool = False
    dequantize: bool = False
    converter: str | None = None
    converter_paths: tuple[Path, ...] = ()
    use_plugins: bool = True

    def __post_init__(self) -> None:
        self.to_convert_options()

    def to_convert_options(self) -> ConvertOptions:
        """The options of a conversion that reads a directory in the same way.

        Raises:
            OptionError: An option has an invalid value.
        """
        return ConvertOptions(**vars(self))


def verify(
    a: Path,
    b: Path,
    options: VerifyOptions | None = None,
    progress: Progress | None = None,
    *,
    converter: HFConverter | None = None,
) -> Verification:
    """Compares two models: configs, weights, tokenizers and logits.

    Each may be a Hugging Face or a Forgather model, or a checkpoint of one. Memory does not grow
    with the models.

    Args:
        a: One directory.
        b: The other.
        options: Options that differ from the defaults.
        progress: Receives progress, in the phases ``READ``, ``COMPARE`` and ``CHECK``.
        converter: The converter to use; by default, it is found by the models' type.

    Raises:
        ForgatherConvertError: One of them cannot be read.
    """
    options, progress = options or VerifyOptions(), progress or Progress()
    progress.start(Phase.READ)
    if options.logit_check:
        check_device(options.device)
    asked = options.to_convert_options()
    one, other = (read_compared(ModelRequest(Path(path), asked, converter)) for path in (a, b))
    if one.detection.model_type != other.detection.model_type:
        progress.finish()
        return _of_other_families(one, other)
    mapping = _mapping(one, other)
    fields = _compare_configs(one, other)
    tensors = compare_tensors(one, other, mapping, progress)
    logits, reason = None, "--no-logit-check was given"
    if options.logit_check:
        logits, reason = _compare_logits(one, other, mapping, options, progress)
    progress.finish()
    return Verification(
        a=one.description,
        b=other.description,
        config=tuple(field for field in fields if not field.is_of_initialization),
        initialization=tuple(field for field in fields if field.is_of_initialization),
        tensors=tensors,
        tokenizer=compare_tokenizers(one, other, options.prompt),
        logits=logits,
        not_compared=reason if logits is None else None,
        logits_are_wanted=options.logit_check,
    )


def _of_other_families(a: ComparedModel, b: ComparedModel) -> Verification:
    kinds = a.detection.model_type, b.detection.model_type
    return Verification(
        a=a.description,
        b=b.description,
        config=(FieldDifference("model_type", *kinds),),
        tensors=None,
        tokenizer=None,
        logits=None,
        not_compared="they are models of different families",
    )


def _mapping(a: ComparedModel, b: ComparedModel) -> WeightMapping | None:
    """The mapping from ``a``'s tensor names to ``b``'s; ``None`` if they are the same."""
    if a.is_forgather == b.is_forgather:
        return None
    mapping = a.hooks.weight_mapping()
    return mapping.inverted() if a.is_forgather else mapping


def _compare_configs(a: ComparedModel, b: ComparedModel) -> tuple[FieldDifference, ...]:
    differences = compare_configs(a.source.config_object, b.source.config_object)
    if a.is_forgather != b.is_forgather:
        hf, forgather = (b, a) if a.is_forgather else (a, b)
        rope_fields = tuple(rope_fields_of(hf.source.own_config, hf.hooks, "the config"))
        across = compare_across(
            hf.source.own_config,
            forgather.source.own_config,
            hf.hooks.get_field_names(),
            rope_fields,
        )
        if a.is_forgather:
            across = tuple(FieldDifference(one.name, one.b, one.a) for one in across)
        differences += across
    return tuple({difference.name: difference for difference in differences}.values())


def _compare_logits(
    a: ComparedModel,
    b: ComparedModel,
    mapping: WeightMapping | None,
    options: VerifyOptions,
    progress: Progress,
) -> tuple[LogitComparison | None, str]:
    """Compares the logits; the second value says why they could not be compared."""
    sizes = a.source.config.vocab_size, b.source.config.vocab_size
    if sizes[0] != sizes[1]:
        return None, f"A has {sizes[0]} vocabulary rows, B has {sizes[1]}"
    try:
        comparison = compare_logits(
            a.checked("model A"),
            b.checked("model B"),
            CheckSettings(
                dtype=_dtype_of_run(a.detection.dtype, b.detection.dtype),
                prompt=options.prompt,
                device=options.device,
                mapping=None
                if mapping is None
                else mapping.renamed(a.source.loaded_name, b.source.loaded_name),
            ),
            progress=progress,
        )
    except ValidationError as error:
        # The rest of the message is about the output of a conversion.
        return None, str(error).partition(" Nothing was written.")[0].rstrip(".")
    return comparison, ""


def _dtype_of_run(a: str, b: str) -> str:
    """The dtype that both models run in.

    If theirs differ, the weights of one are rounded as a conversion to the other's would.
    """
    if a == b:
        return a
    short = {a, b} & {"float16", "bfloat16"}
    return short.pop() if len(short) == 1 else "float32"
