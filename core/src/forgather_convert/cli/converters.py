"""``forgather converters``."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from forgather_convert.cli import converter_reports as reports
from forgather_convert.cli.command_state import CommandState
from forgather_convert.cli.console import echo, echo_json, set_up_logging
from forgather_convert.cli.converter_options import (
    CONVERTER_PATHS,
    NO_PLUGINS,
    converter_options,
)
from forgather_convert.cli.parameters import ModelTypeParameter
from forgather_convert.cli.verbosity import Verbosity, verbosity_options
from forgather_convert.discovery.found import PluginCandidate, Status
from forgather_convert.errors import ConverterError
from forgather_convert.source.hub import stay_offline

if TYPE_CHECKING:
    from forgather_convert.converter_tools.check import CheckStep
    from forgather_convert.families.hook_calls import FamilyHooks

Command = TypeVar("Command", bound=Callable[..., Any])
#: Converters that ``list --check`` does not try to import.
_NOT_IMPORTED = (
    Status.DISABLED,
    Status.INCOMPATIBLE,
    Status.MISSING_MODULE,
    Status.UNREADABLE,
    Status.OF_THE_FRAMEWORK,
)


_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def _start(verbosity: Verbosity) -> None:
    state = click.get_current_context().ensure_object(CommandState)
    set_up_logging(verbosity.level, warnings=state.warnings)
    stay_offline()


_VERBOSITY = verbosity_options("WARNING")


@click.group("converters", short_help="List, show, check and create converters.")
def converters_group() -> None:
    """Lists, shows, checks and creates converters for model families."""


@converters_group.command("list", short_help="List all converters.")
@CONVERTER_PATHS
@NO_PLUGINS
@click.option("--check", is_flag=True, help="Import each converter in a separate process.")
@_JSON
@_VERBOSITY
def list_command(
    converter_paths: tuple[Path, ...],
    no_plugins: bool,
    check: bool,
    as_json: bool,
    verbosity: Verbosity,
) -> None:
    """Lists all converters: what each converts, where it comes from, and its status.

    Nothing is imported, except with --check.
    """
    _start(verbosity)
    from forgather_convert.discovery.choice import find_converters
    from forgather_convert.discovery.extensions import find_extensions

    converters = find_converters(converter_paths, use_plugins=not no_plugins)
    checked: dict[PluginCandidate, str | None] = {}
    if check:
        from forgather_convert.converter_tools.import_probe import import_problem

        checked = {
            converter: import_problem(converter)
            for converter in converters
            if converter.status not in _NOT_IMPORTED
        }
    extensions = find_extensions(use_plugins=not no_plugins)
    rows = [reports.converter_object(converter, checked) for converter in converters]
    more = [reports.extension_object(extension) for extension in extensions]
    if as_json:
        echo_json([*rows, *more])
    else:
        reports.print_converters(rows)
        reports.print_extensions(more)
    _exit_if(any(checked.values()))


@converters_group.command("show", short_help="Show one converter: classes, hooks, mapping.")
@click.argument("model_type", metavar="TYPE", type=ModelTypeParameter())
@converter_options
@_JSON
@_VERBOSITY
def show_command(
    model_type: str,
    converter_paths: tuple[Path, ...],
    converter: str | None,
    use_plugins: bool,
    as_json: bool,
    verbosity: Verbosity,
) -> None:
    """Shows the converter of the model type TYPE: classes, hooks, components, mapping."""
    _start(verbosity)
    from forgather_convert.converter_tools.description import describe
    from forgather_convert.discovery.choice import resolve_converter

    hooks = resolve_converter(
        model_type, converter_paths, converter=converter, use_plugins=use_plugins
    )
    description = describe(hooks)
    if as_json:
        echo_json(reports.description_object(description))
    else:
        reports.print_description(description)


@converters_group.command("check", short_help="Check converters with tiny models.")
@click.argument("target", metavar="[TYPE|PATH]", required=False)
@converter_options
@_JSON
@_VERBOSITY
def check_command(
    target: str | None,
    converter_paths: tuple[Path, ...],
    converter: str | None,
    use_plugins: bool,
    as_json: bool,
    verbosity: Verbosity,
) -> None:
    """Checks the converter of a model type, those in a file or directory, or all.

    Imports each converter, compares its hooks with their specifications and its mapping with
    both models, and converts tiny models in both directions.
    """
    _start(verbosity)
    if target is None:
        from forgather_convert.discovery.choice import find_converters, warn_skipped

        candidates = find_converters(converter_paths, use_plugins=use_plugins)
        skipped = [it for it in candidates if it.status is Status.OF_THE_FRAMEWORK]
        warn_skipped(skipped)
        loads = _loads(
            candidate
            for candidate in candidates
            if candidate.status is not Status.DISABLED and candidate not in skipped
        )
    elif _is_path(target):
        from forgather_convert.discovery.converter_files import find_in_path

        loads = _loads(find_in_path(Path(target)))
    else:
        from forgather_convert.discovery.choice import resolve_converter

        model_type = target

        def load() -> "list[FamilyHooks]":
            return [
                resolve_converter(
                    model_type, converter_paths, converter=converter, use_plugins=use_plugins
                )
            ]

        loads = [(model_type, load)]
    if not loads:
        raise ConverterError(
            f"There is no converter to check{f' in {target}' if target else ''}. The file of a "
            "converter must be named converter.py or *_converter.py."
        )
    results = []
    for name, load_them in loads:
        for title, steps in _checks(name, load_them):
            results.append(reports.check_object(title, steps))
            if not as_json:
                reports.print_check(title, steps)
    if as_json:
        echo_json(results)
    _exit_if(not all(result["ok"] for result in results))


@converters_group.command("new", short_help="Create a distribution with a new converter.")
@click.argument("name")
@click.option(
    "--model-type",
    metavar="TYPE",
    help="model_type of the models to convert, as in their config.json. Default: NAME.",
)
@click.option(
    "--hf-class",
    metavar="CLASS",
    help="Model class in transformers. Default: derived from the model type.",
)
@click.option(
    "--from",
    "known_as",
    metavar="TYPE",
    help="Draft the converter from transformers' code for this model type.",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Parent directory. Default: the current directory.",
)
@_VERBOSITY
def new_command(
    name: str,
    model_type: str | None,
    hf_class: str | None,
    known_as: str | None,
    directory: Path,
    verbosity: Verbosity,
) -> None:
    """Creates the distribution forgather-convert-NAME with a converter, tests and a README.

    Prints the path of the new directory.
    """
    _start(verbosity)
    from forgather_convert.converter_tools.new import create_distribution

    root = create_distribution(directory, name, model_type, hf_class, known_as)
    echo(str(root))
    if verbosity.shows_progress:
        reports.print_next_steps(root, model_type or known_as or name.replace("-", "_"))


def _loads(
    converters: Iterable[PluginCandidate],
) -> "list[tuple[str, Callable[[], list[FamilyHooks]]]]":
    """The name of each converter, and a function that imports it."""
    from functools import partial

    from forgather_convert.discovery.choice import load_converter

    return [
        (f"{converter.model_type or '?'} ({converter.place})", partial(load_converter, converter))
        for converter in converters
    ]


def _checks(
    name: str, load: "Callable[[], list[FamilyHooks]]"
) -> "Iterable[tuple[str, list[CheckStep]]]":
    """The steps for each converter that ``load`` returns; the import is the first."""
    from forgather_convert.converter_tools import check as steps

    handles: list[FamilyHooks] = []

    def import_it() -> str:
        handles.extend(load())
        if not handles:
            raise ConverterError("It registers no converter. Use @register_converter.")
        return ", ".join(hooks.origin for hooks in handles)

    imported = steps.attempt(steps.IMPORTED, import_it)
    if not handles:
        yield name, [imported]
    for hooks in handles:
        title = name if len(handles) == 1 else f"{hooks.model_type} ({hooks.origin})"
        yield title, [imported, *steps.check_converter(hooks)]


def _is_path(target: str) -> bool:
    from forgather_convert.discovery.choice import find_converters

    if os.sep in target or target.endswith(".py") or target in (os.curdir, os.pardir):
        return True
    is_type = any(converter.model_type == target for converter in find_converters())
    return not is_type and Path(target).exists()


def _exit_if(has_failed: bool) -> None:
    # Not ctx.exit: click turns that into a return value, which is ignored.
    if has_failed:
        raise SystemExit(1)
