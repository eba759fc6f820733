"""``forgather convert``."""

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forgather_convert.cli.command_state import CommandState
from forgather_convert.cli.console import (
    echo,
    echo_json,
    keep_quiet,
    phase_display,
    set_up_logging,
)
from forgather_convert.cli.converter_options import CONVERTER_GROUP, converter_options
from forgather_convert.cli.help import GroupedCommand
from forgather_convert.cli.parameters import (
    CheckpointParameter,
    DirectoryParameter,
    DtypeParameter,
    ModelTypeOption,
    ModelTypeParameter,
    SizeParameter,
    check_model_type,
)
from forgather_convert.cli.verbosity import VERBOSITY_OPTIONS, Verbosity, verbosity_options
from forgather_convert.execution.rank import Rank, rank_of_environment
from forgather_convert.options import DEFAULT_PROMPT, LINKS, ConvertOptions
from forgather_convert.source.hub import resolve_source, stay_offline
from forgather_convert.tensors.dtypes import OUTPUT_DTYPES
from forgather_convert.weights.file_names import PYTORCH, SAFETENSORS

if TYPE_CHECKING:
    from forgather_convert.execution.shard_writers import ShardWriters
    from forgather_convert.planning.plan import ConversionPlan

logger = logging.getLogger(__name__)

OPTION_GROUPS = {
    "Source options": (
        "--reverse",
        "--model-type",
        "--checkpoint-path",
        "--base",
        "--follow-links",
    ),
    CONVERTER_GROUP[0]: CONVERTER_GROUP[1],
    "Output options": (
        "--dtype",
        "--dequantize",
        "--max-length",
        "--chat-template-path",
        "--format",
        "--max-shard-size",
        "--drop-unused",
        "--link",
        "--code-only",
        "--text-only",
        "--overwrite",
    ),
    "Vocabulary options": ("--add-tokens", "--skip-default-tokens", "--pad-vocab-to-multiple-of"),
    "Check options": (
        "--trust-remote-code",
        "--no-logit-check",
        "--logit-tolerance",
        "--device",
        "--prompt",
        "--generation-test",
        "--chat",
    ),
    "Reporting options": (
        "--dry-run",
        "--json",
        "--report",
        "--hashes",
        "--debug-params",
        *VERBOSITY_OPTIONS,
    ),
}


class _ConvertCommand(GroupedCommand):
    """Takes ``--link`` by itself for ``--link=hard``; the next word is no value of it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = [f"--link={LINKS[0]}" if word == "--link" else word for word in args]
        return super().parse_args(ctx, given)


@click.command(
    "convert",
    cls=_ConvertCommand,
    option_groups=OPTION_GROUPS,
    examples=(
        "forgather convert path/to/hf_model path/to/fg_model",
        "forgather convert --dtype bf16 path/to/fg_model path/to/hf_model",
    ),
    short_help="Convert a model, in either direction.",
)
@click.argument("source_path", type=DirectoryParameter(path_type=Path))
@click.argument("destination_path", type=DirectoryParameter(path_type=Path))
@click.option(
    "--reverse",
    is_flag=True,
    help="Convert from Forgather to Hugging Face, whatever the config says.",
)
@click.option(
    "--model-type",
    cls=ModelTypeOption,
    type=ModelTypeParameter(),
    help="Model family, if the config does not state it. Forgather models default to llama.",
)
@click.option(
    "--dtype",
    metavar="{" + ",".join(OUTPUT_DTYPES) + "}",
    type=DtypeParameter(),
    help="Data type of the output (also bf16, fp32, fp16). Default: the source's, else bfloat16.",
)
@click.option(
    "--dequantize",
    is_flag=True,
    help="Dequantize quantized weights to --dtype (refused otherwise).",
)
@click.option(
    "--max-length",
    metavar="LENGTH",
    type=click.IntRange(min=1),
    help="Set max_position_embeddings.",
)
@click.option(
    "-c",
    "--checkpoint-path",
    metavar="PATH",
    type=CheckpointParameter(path_type=Path),
    help="Checkpoint of a Forgather model. Default: the latest.",
)
@click.option(
    "--base",
    metavar="DIR",
    type=DirectoryParameter(path_type=Path),
    help="Treat SOURCE_PATH as a PEFT adapter; DIR is its base model. Or: the original of a model "
    "of images and text that was saved elsewhere, without its other parts.",
)
@click.option(
    "--follow-links",
    is_flag=True,
    help="Copy files that symbolic links in SOURCE_PATH point to, outside it.",
)
@click.option(
    "--add-tokens",
    "token_file",
    metavar="YAML_FILE",
    type=click.Path(path_type=Path),
    help="File with tokens to add to the vocabulary.",
)
@click.option(
    "--skip-default-tokens",
    is_flag=True,
    help="Do not add [PAD] to a Hugging Face model without a padding token.",
)
@click.option(
    "--pad-vocab-to-multiple-of",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="Add rows without tokens up to a multiple of N.",
)
@click.option(
    "--device", metavar="DEVICE", default="cpu", show_default=True, help="Device for the checks."
)
@click.option(
    "-g", "--generation-test", is_flag=True, help="Print how the result continues the prompt."
)
@click.option("--chat", is_flag=True, help="With -g: apply the chat template to the prompt.")
@click.option("--prompt", default=DEFAULT_PROMPT, show_default=True, help="Text for the checks.")
@click.option("--debug-params", is_flag=True, help="Log every parameter of both models.")
@click.option(
    "-t",
    "--chat-template-path",
    type=click.Path(path_type=Path),
    help="Jinja template to store as the tokenizer's chat template.",
)
@converter_options
@click.option("--dry-run", is_flag=True, help="Print what would be written, without writing it.")
@click.option(
    "--format",
    "weights_format",
    metavar=f"{{{SAFETENSORS},{PYTORCH}}}",
    type=click.Choice((SAFETENSORS, PYTORCH)),
    default=SAFETENSORS,
    show_default=True,
    help="File format of the weights.",
)
@click.option(
    "--max-shard-size",
    type=SizeParameter(),
    help="Maximum size of a weights file, e.g. 5GB. Default: the source's files if they can be "
    "kept, else 5GB.",
)
@click.option(
    "--drop-unused",
    is_flag=True,
    help="Omit tensors that the model does not use, e.g. layers for multi-token prediction.",
)
@click.option(
    "--link",
    metavar="[=symbolic]",
    type=click.Choice(LINKS),
    help="Write a Forgather model that links to the source's weights files (hard links).",
)
@click.option(
    "--code-only",
    is_flag=True,
    help="Write a Forgather model without weights: config, code and tokenizer.",
)
@click.option(
    "--text-only",
    is_flag=True,
    help="Convert back to the text model alone (of a model of images and text).",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace DESTINATION_PATH once the conversion has succeeded. Everything in it is deleted.",
)
@click.option("--no-logit-check", is_flag=True, help="Neither compare logits nor load the result.")
@click.option(
    "--logit-tolerance",
    metavar="VALUE",
    type=click.FloatRange(min=0.0, min_open=True),
    help="Accept logits that differ by up to VALUE. Default: they must be bit-identical.",
)
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Let the checks run a Forgather model's edited code.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--hashes",
    is_flag=True,
    help="With --json: include each file's SHA-256 (reads the output again).",
)
@click.option(
    "--report",
    "report_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a report of the conversion, with file hashes: .html (web page) or .json.",
)
@verbosity_options("INFO")
def convert_command(
    source_path: Path,
    destination_path: Path,
    debug_params: bool,
    dry_run: bool,
    no_logit_check: bool,
    as_json: bool,
    hashes: bool,
    report_path: Path | None,
    verbosity: Verbosity,
    **options_by_name: Any,
) -> None:
    """Converts the model in SOURCE_PATH and writes it to DESTINATION_PATH.

    A Hugging Face model becomes a Forgather model and vice versa; the source's config tells
    which it is.
    """
    state = click.get_current_context().ensure_object(CommandState)
    state.destination = destination_path
    rank = rank_of_environment()
    if rank is not None and rank.number > 0:
        keep_quiet()
        _run_worker(rank, dry_run)
        return
    messages = set_up_logging(verbosity.level, debug_params, state.warnings)
    if report_path is not None and dry_run:
        raise click.UsageError("--report and --dry-run exclude each other.")
    source_path = resolve_source(source_path)
    base = options_by_name["base"]
    base = None if base is None else resolve_source(base)
    stay_offline()
    if report_path is not None:
        # Before the conversion; the imports that take long come later.
        from forgather_convert.reporting.report_path import check_report_path

        models = (source_path, destination_path, options_by_name["checkpoint_path"], base)
        check_report_path(report_path, [model for model in models if model is not None])
    if options_by_name["chat"] and not options_by_name["generation_test"]:
        raise click.UsageError("--chat needs --generation-test.")
    if options_by_name["model_type"] is not None:
        check_model_type(
            options_by_name["model_type"],
            options_by_name["converter_paths"],
            use_plugins=options_by_name["use_plugins"],
        )
    options = ConvertOptions(
        **{**options_by_name, "base": base},
        logit_check=not no_logit_check,
        hashes=hashes or report_path is not None,
    )
    if dry_run:
        with phase_display(messages, verbosity.shows_progress) as progress:
            from forgather_convert import api

            plan = api.plan(source_path, destination_path, options, progress)
        from forgather_convert.cli import reports
        from forgather_convert.reporting import objects

        if as_json:
            echo_json(objects.plan_object(plan, state.warnings))
        else:
            echo(reports.plan_as_text(plan))
        return
    with (
        _shard_writers(rank) as writers,
        phase_display(messages, verbosity.shows_progress) as progress,
    ):
        from forgather_convert import api
        from forgather_convert.cli import reports
        from forgather_convert.conversion.conversion import ConversionRequest
        from forgather_convert.reporting import objects

        def on_plan(plan: "ConversionPlan") -> None:
            if plan.vocabulary is not None:
                reports.print_vocabulary(plan.vocabulary, messages.console)

        result = api.run(
            ConversionRequest.of(source_path, destination_path, options),
            progress,
            on_plan,
            state.note_written,
            None if writers is None else writers.execute,
        )
    if report_path is not None:
        from forgather_convert.reporting.write import write_report

        write_report(result, report_path, state.warnings)
    logger.info(reports.closing_line(result))
    if as_json:
        echo_json(objects.result_object(result, state.warnings))
    elif result.generation is not None:
        echo(reports.generation_as_text(result.generation))


def _shard_writers(rank: Rank | None) -> "AbstractContextManager[ShardWriters | None]":
    """The processes that torchrun started; ``None`` if this is the only one."""
    if rank is None:
        return nullcontext()
    from forgather_convert.execution.shard_writers import ShardWriters

    return ShardWriters(rank)


def _run_worker(rank: Rank, dry_run: bool) -> None:
    """What all processes but the first do."""
    if not dry_run:
        from forgather_convert.execution.shard_writers import ShardWriters

        with ShardWriters(rank) as writers:
            writers.run_worker()
