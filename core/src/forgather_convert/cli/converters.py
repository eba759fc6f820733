"""``forgather converters``."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from forgather_convert.cli import converter_reports as reports
from forgather_convert.cli.console import echo, echo_json, set_up_logging
from forgather_convert.cli.converter_options import (
    CONVERTER_PATHS,
    NO_PLUGINS,
    converter_options,
)
from forgather_convert.cli.outcome import Outcome
from forgather_convert.cli.parameters import ModelTypeParameter
from forgather_convert.cli.verbosity import verbosity_options
from forgather_convert.discovery.found import PluginCandidate, Status
from forgather_convert.errors import ConverterError
from forgather_convert.source.hub import stay_offline

if TYPE_CHECKING:
    from forgather_convert.converter_tools.check import CheckStep
    from forgather_convert.families.hook_calls import FamilyHooks

Command = TypeVar("Command", bound=Callable[..., Any])
#: Not looked at by ``list --check``.
_NOT_IMPORTED = (
    Status.DISABLED,
    Status.INCOMPATIBLE,
    Status.MISSING_MODULE,
    Status.UNREADABLE,
    Status.OF_THE_FRAMEWORK,
)


_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _start(level: str) -> None:
    outcome = click.get_current_context().ensure_object(Outcome)
    set_up_logging(level, warnings=outcome.warnings)
    stay_offline()


_VERBOSITY = verbosity_options("WARNING")


@click.group("converters", short_help="List, show, check and create converters.")
def converters_group() -> None:
    """Lists, shows, checks and creates converters of model families."""


@converters_group.command("list", short_help="All converters.")
@CONVERTER_PATHS
@NO_PLUGINS
@click.option("--check", is_flag=True, help="Import each, in a process of its own.")
@_JSON
@_VERBOSITY
def list_command(
    converter_paths: tuple[Path, ...], no_plugins: bool, check: bool, as_json: bool, level: str
) -> None:
    """Lists all converters: what each converts, where it is, and whether it can be used.

    Nothing is imported, unless --check asks for it.
    """
    _start(level)
    from forgather_convert.discovery.choice import find_converters
    from forgather_convert.discovery.extensions import find_extensions

    found = find_converters(converter_paths, use_plugins=not no_plugins)
    checked: dict[PluginCandidate, str | None] = {}
    if check:
        from forgather_convert.converter_tools.import_probe import import_problem

        checked = {
            converter: import_problem(converter)
            for converter in found
            if converter.status not in _NOT_IMPORTED
        }
    extensions = find_extensions(use_plugins=not no_plugins)
    rows = [reports.converter_object(converter, checked) for converter in found]
    more = [reports.extension_object(extension) for extension in extensions]
    if as_json:
        echo_json([*rows, *more])
    else:
        reports.print_converters(rows)
        reports.print_extensions(more)
    _exit_if(any(checked.values()))


@converters_group.command("show", short_help="One converter: classes, hooks, mapping.")
@click.argument("model_type", metavar="TYPE", type=ModelTypeParameter())
@converter_options
@_JSON
@_VERBOSITY
def show_command(
    model_type: str,
    converter_paths: tuple[Path, ...],
    converter: str | None,
    no_plugins: bool,
    as_json: bool,
    level: str,
) -> None:
    """Shows the converter of the model type TYPE: classes, hooks, components, mapping."""
    _start(level)
    from forgather_convert.converter_tools.description import describe
    from forgather_convert.discovery.choice import resolve_converter

    hooks = resolve_converter(
        model_type, converter_paths, converter=converter, use_plugins=not no_plugins
    )
    description = describe(hooks)
    if as_json:
        echo_json(reports.description_object(description))
    else:
        reports.print_description(description)


@converters_group.command("check", short_help="Check converters, with tiny models.")
@click.argument("target", metavar="[TYPE|PATH]", required=False)
@converter_options
@_JSON
@_VERBOSITY
def check_command(
    target: str | None,
    converter_paths: tuple[Path, ...],
    converter: str | None,
    no_plugins: bool,
    as_json: bool,
    level: str,
) -> None:
    """Checks the converter of a model type, those of a file or directory, or all.

    Each is imported; its hooks are compared with the specifications and its mapping with
    both models; and a tiny model is converted both ways.
    """
    _start(level)
    if target is None:
        from forgather_convert.discovery.choice import find_converters, pass_over

        found = find_converters(converter_paths, use_plugins=not no_plugins)
        others = [found_one for found_one in found if found_one.status is Status.OF_THE_FRAMEWORK]
        pass_over(others)
        loads = _loads(
            candidate
            for candidate in found
            if candidate.status is not Status.DISABLED and candidate not in others
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
                    model_type, converter_paths, converter=converter, use_plugins=not no_plugins
                )
            ]

        loads = [(model_type, load)]
    if not loads:
        raise ConverterError(
            f"There is no converter {f'in {target} ' if target else ''}to check. A converter's "
            "file is called converter.py or ends in _converter.py."
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


@converters_group.command("new", short_help="Write a distribution with a converter.")
@click.argument("name")
@click.option("--model-type", metavar="TYPE", help="What it converts. Default: NAME.")
@click.option(
    "--hf-class",
    metavar="CLASS",
    help="The model class in transformers. Default: made from the model type.",
)
@click.option(
    "--from",
    "known_as",
    metavar="TYPE",
    help="Draft the converter from what transformers knows about this model type.",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Where to create it. Default: the current directory.",
)
@_VERBOSITY
def new_command(
    name: str,
    model_type: str | None,
    hf_class: str | None,
    known_as: str | None,
    directory: Path,
    level: str,
) -> None:
    """Writes a new distribution, forgather-convert-NAME, with a converter, tests and a README."""
    _start(level)
    from forgather_convert.converter_tools.new import create_distribution

    echo(str(create_distribution(directory, name, model_type, hf_class, known_as)))


def _loads(
    converters: Iterable[PluginCandidate],
) -> "list[tuple[str, Callable[[], list[FamilyHooks]]]]":
    """The name of each converter, and what imports it."""
    from functools import partial

    from forgather_convert.discovery.choice import load_converter

    return [
        (f"{converter.model_type or '?'} ({converter.place})", partial(load_converter, converter))
        for converter in converters
    ]


def _checks(
    name: str, load: "Callable[[], list[FamilyHooks]]"
) -> "Iterable[tuple[str, list[CheckStep]]]":
    """The steps for each converter that ``load`` gives; its import is the first."""
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
    # click would turn its own way of ending into a return value, which nobody looks at.
    if has_failed:
        raise SystemExit(1)
