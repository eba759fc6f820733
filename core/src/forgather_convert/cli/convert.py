"""``forgather convert``."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forgather_convert.cli.console import (
    LOG_LEVELS,
    echo,
    echo_json,
    keep_quiet,
    progress_bar,
    set_up_logging,
    stderr_console,
)
from forgather_convert.cli.outcome import Outcome
from forgather_convert.errors import OptionError
from forgather_convert.execution.rank import Rank, rank_of_environment
from forgather_convert.options import DEFAULT_PROMPT, ConvertOptions, parse_size
from forgather_convert.source.hub import resolve_source, stay_offline
from forgather_convert.tensors.dtypes import OUTPUT_DTYPES
from forgather_convert.weights.checkpoint import PYTORCH, SAFETENSORS

if TYPE_CHECKING:
    from forgather_convert.execution.team import Team
    from forgather_convert.planning.plan import ConversionPlan


class ModelTypeParameter(click.ParamType):  # type: ignore[type-arg]
    """A model type; the installed ones are shown in the help."""

    name = "model-type"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        from forgather_convert.discovery.choice import installed_converters

        installed = sorted(installed_converters())
        return "{" + ",".join(installed) + "}" if installed else "TYPE"


class SizeParameter(click.ParamType):  # type: ignore[type-arg]
    """A size in bytes, with a unit."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            return parse_size(str(value))
        except OptionError as error:
            self.fail(str(error), param, ctx)


@click.command("convert")
@click.argument("source_path", type=click.Path(path_type=Path))
@click.argument("destination_path", type=click.Path(path_type=Path))
@click.option("--reverse", is_flag=True, help="Convert from Forgather to Hugging Face, always.")
@click.option(
    "--model-type",
    type=ModelTypeParameter(),
    help="The model's family, if the config does not say. Default: llama, for Forgather models.",
)
@click.option(
    "--dtype",
    type=click.Choice(OUTPUT_DTYPES),
    help="Data type of the output. Default: the source's, else bfloat16.",
)
@click.option(
    "--dequantize", is_flag=True, help="Convert what FP8 or MXFP4 weights stand for to the dtype."
)
@click.option("--max-length", type=click.IntRange(min=1), help="Maximum sequence length.")
@click.option(
    "-c",
    "--checkpoint-path",
    type=click.Path(path_type=Path),
    help="Checkpoint of a Forgather model to convert. Default: the latest.",
)
@click.option(
    "--base",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Convert an adapter of PEFT: the model that it was made for.",
)
@click.option(
    "--add-tokens",
    "token_file",
    metavar="YAML_FILE",
    type=click.Path(path_type=Path),
    help="Tokens to add to the vocabulary.",
)
@click.option(
    "--skip-default-tokens",
    is_flag=True,
    help="Do not add [PAD] where a Hugging Face model has no padding token.",
)
@click.option(
    "--pad-vocab-to-multiple-of",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="Grow the vocabulary to a multiple of this.",
)
@click.option("--device", default="cpu", show_default=True, help="Where the checks run.")
@click.option("-g", "--generation-test", is_flag=True, help="Continue a prompt with the result.")
@click.option("--prompt", default=DEFAULT_PROMPT, show_default=True, help="Text for the checks.")
@click.option("--debug-params", is_flag=True, help="Print the names of all parameters.")
@click.option(
    "-t",
    "--chat-template-path",
    type=click.Path(path_type=Path),
    help="Jinja template to store as the tokenizer's chat template.",
)
@click.option(
    "--converter-path",
    "converter_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Directory or file to search for converters first. Can be given several times.",
)
@click.option(
    "--converter",
    metavar="DIST",
    help="Installed distribution to take the converter from, where several have one.",
)
@click.option("--no-plugins", is_flag=True, help="Use no converter of installed distributions.")
@click.option("--dry-run", is_flag=True, help="Print what would be written, and write nothing.")
@click.option(
    "--format",
    "weights_format",
    type=click.Choice((SAFETENSORS, PYTORCH)),
    default=SAFETENSORS,
    show_default=True,
    help="Format of the weights.",
)
@click.option(
    "--max-shard-size",
    type=SizeParameter(),
    help="Largest weights file, as 5GB. Default: the source's files, where they can be kept.",
)
@click.option("--overwrite", is_flag=True, help="Replace the destination when all is done.")
@click.option("--no-logit-check", is_flag=True, help="Do not compare source and result.")
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Let the check run a Forgather model's own code where it was edited.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    default="INFO",
    show_default=True,
)
def convert_command(
    source_path: Path,
    destination_path: Path,
    reverse: bool,
    model_type: str | None,
    dtype: str | None,
    dequantize: bool,
    max_length: int | None,
    checkpoint_path: Path | None,
    base: Path | None,
    token_file: Path | None,
    skip_default_tokens: bool,
    pad_vocab_to_multiple_of: int,
    device: str,
    generation_test: bool,
    prompt: str,
    debug_params: bool,
    chat_template_path: Path | None,
    converter_paths: tuple[Path, ...],
    converter: str | None,
    no_plugins: bool,
    dry_run: bool,
    weights_format: str,
    max_shard_size: int | None,
    overwrite: bool,
    no_logit_check: bool,
    trust_remote_code: bool,
    as_json: bool,
    log_level: str,
) -> None:
    """Converts the model in SOURCE_PATH and writes it to DESTINATION_PATH.

    A Hugging Face model becomes a Forgather model, and the other way round; the source's
    config tells which it is. With --base, SOURCE_PATH is an adapter of that model.
    """
    outcome = click.get_current_context().ensure_object(Outcome)
    outcome.destination = destination_path
    rank = rank_of_environment()
    if rank is not None and rank.number > 0:
        keep_quiet()
        _take_part(rank, dry_run)
        return
    set_up_logging(log_level.upper(), debug_params)
    source_path = resolve_source(source_path)
    base = None if base is None else resolve_source(base)
    stay_offline()
    if converter is not None and no_plugins:
        raise click.UsageError("--converter and --no-plugins exclude each other.")
    options = ConvertOptions(
        reverse=reverse,
        model_type=model_type,
        dtype=dtype,
        dequantize=dequantize,
        max_length=max_length,
        checkpoint_path=checkpoint_path,
        base=base,
        token_file=token_file,
        skip_default_tokens=skip_default_tokens,
        pad_vocab_to_multiple_of=pad_vocab_to_multiple_of,
        chat_template_path=chat_template_path,
        device=device,
        generation_test=generation_test,
        prompt=prompt,
        converter=converter,
        converter_paths=converter_paths,
        use_plugins=not no_plugins,
        weights_format=weights_format,
        max_shard_size=max_shard_size,
        overwrite=overwrite,
        trust_remote_code=trust_remote_code,
        logit_check=not no_logit_check,
    )
    from forgather_convert import api
    from forgather_convert.cli import reports

    if dry_run:
        plan = api.plan(source_path, destination_path, options)
        if as_json:
            echo_json(reports.plan_object(plan))
        else:
            echo(reports.plan_as_text(plan))
        return
    with _team(rank) as team, progress_bar() as bar:

        def on_plan(plan: "ConversionPlan") -> None:
            if plan.vocabulary is not None:
                stderr_console().print(reports.vocabulary_table(plan.vocabulary), soft_wrap=False)
            bar.start(sum(shard.num_bytes for shard in plan.shards))

        result = api.convert(
            source_path,
            destination_path,
            options,
            on_plan=on_plan,
            on_progress=bar.advance,
            on_written=outcome.note_written,
            write=None if team is None else team.execute,
        )
    if as_json:
        echo_json(reports.result_object(result))
    elif result.generation is not None:
        echo(reports.generation_as_text(result.generation))


def _team(rank: Rank | None) -> "AbstractContextManager[Team | None]":
    """The processes that torchrun started; nothing where this one is alone."""
    if rank is None:
        return nullcontext()
    from forgather_convert.execution.team import Team

    return Team(rank)


def _take_part(rank: Rank, dry_run: bool) -> None:
    """What all processes but the first do."""
    if not dry_run:
        from forgather_convert.execution.team import Team

        with Team(rank) as team:
            team.take_part()
