"""The types of option values, and how a shell completes them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from forgather_convert.cli.help import WORDS
from forgather_convert.errors import OptionError
from forgather_convert.tensors.dtypes import OUTPUT_DTYPES

#: A longer list of model types is shown in the help text instead of as the option's value.
_LONGEST_METAVAR = 60
#: Other names of dtypes that ``--dtype`` accepts.
DTYPE_ALIASES = {"bf16": "bfloat16", "fp32": "float32", "fp16": "float16"}


class DtypeParameter(click.Choice):  # type: ignore[type-arg]
    """A data type for the output, by torch's name or by its usual abbreviation."""

    def __init__(self) -> None:
        super().__init__(OUTPUT_DTYPES)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(DTYPE_ALIASES.get(value, value), param, ctx)


class ModelTypeOption(click.Option):
    """``--model-type``; its help lists the model types of installed converters."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        names = _installed_model_types()
        choice = "{" + ",".join(names) + "}"
        if names and len(choice) <= _LONGEST_METAVAR:
            self.metavar = choice
            return super().get_help_record(ctx)
        record = super().get_help_record(ctx)
        return record and (
            record[0],
            f"{record[1]} Installed converters: {', '.join(names) or 'none'}.",
        )


class ModelTypeParameter(click.ParamType):  # type: ignore[type-arg]
    """A model type; whether there is a converter for it depends on other options."""

    name = "type"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _matching(_installed_model_types(), incomplete)


class DistributionParameter(click.ParamType):  # type: ignore[type-arg]
    """The name of an installed distribution with converters."""

    name = "dist"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from forgather_convert.discovery.installed import find_installed

        return _matching(sorted({str(it.distribution) for it in find_installed()}), incomplete)


class DirectoryParameter(click.Path):
    """A directory. A file is refused when it is read, with a better message than click's."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="dir")]


class CheckpointParameter(DirectoryParameter):
    """A checkpoint of a model named earlier on the command line, or any directory."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = [
            name
            for word in ctx.meta.get(WORDS, ())
            if Path(word).is_dir()
            for name in _checkpoint_names(Path(word))
        ]
        return _matching(names, incomplete) or super().shell_complete(ctx, param, incomplete)


class SizeParameter(click.ParamType):  # type: ignore[type-arg]
    """A size in bytes, with an optional unit."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        from forgather_convert.options import parse_size

        try:
            return parse_size(str(value))
        except OptionError as error:
            self.fail(str(error), param, ctx)


def check_model_type(model_type: str, converter_paths: Iterable[Path], use_plugins: bool) -> None:
    """Refuses a model type that has no converter.

    Raises:
        click.BadParameter: There is no converter for it; the message lists those that exist.
    """
    from forgather_convert.discovery.converter_files import find_in_path, find_in_tree

    origins: Sequence[tuple[str, Callable[[], Iterable[str | None]]]] = [
        ("installed", lambda: _installed_model_types() if use_plugins else []),
        ("--converter-path", lambda: _types_in(map(find_in_path, converter_paths))),
        ("examples", lambda: _types_in([find_in_tree()])),
    ]
    known = []
    for origin, find_names in origins:
        names = list(find_names())
        # None is a file that has to run to tell what it registers: it may be this type.
        if model_type in names or None in names:
            return
        if names:
            known.append(f"{', '.join(map(repr, names))} ({origin})")
    raise click.BadParameter(
        f"{model_type!r} is not one of {'; '.join(known) or 'any: there is no converter'}.",
        param_hint="'--model-type'",
    )


def _types_in(ranks: Iterable[Iterable[Any]]) -> list[str | None]:
    return list(dict.fromkeys(candidate.model_type for rank in ranks for candidate in rank))


def _installed_model_types() -> list[str]:
    # Imported here so that other commands do not wait for it.
    from forgather_convert.discovery.installed import installed_model_types

    return installed_model_types()


def _checkpoint_names(source: Path) -> list[str]:
    from forgather_convert.errors import ForgatherConvertError
    from forgather_convert.source.checkpoint_choice import numbered_checkpoints

    try:
        numbered = numbered_checkpoints(source)
    except ForgatherConvertError:
        return []
    return [checkpoint.path.name for checkpoint in numbered]


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
