"""The kinds of values that options take, and how a shell completes them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from forgather_convert.cli.help import WORDS
from forgather_convert.errors import OptionError

#: A longer list of model types is in the text of the help, and not in front of it.
_LONGEST_METAVAR = 60


class ModelTypeOption(click.Option):
    """``--model-type``; the help names the installed ones."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        names = _installed_model_types()
        choice = "{" + ",".join(names) + "}"
        if names and len(choice) <= _LONGEST_METAVAR:
            self.metavar = choice
            return super().get_help_record(ctx)
        record = super().get_help_record(ctx)
        return record and (record[0], f"{record[1]} Installed: {', '.join(names) or 'none'}.")


class ModelTypeParameter(click.ParamType):  # type: ignore[type-arg]
    """The name of a family; whether there is a converter depends on other options."""

    name = "type"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _matching(_installed_model_types(), incomplete)


class DistributionParameter(click.ParamType):  # type: ignore[type-arg]
    """The name of an installed distribution that has converters."""

    name = "dist"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from forgather_convert.discovery.installed import find_installed

        return _matching(sorted({str(it.distribution) for it in find_installed()}), incomplete)


class DirectoryParameter(click.Path):
    """A directory; a file is refused by what reads it, which says more."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="dir")]


class CheckpointParameter(DirectoryParameter):
    """A checkpoint of the model that stands in front of it, or any other directory."""

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
    """A size in bytes, with a unit."""

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
    """Refuses a model type that nothing can convert.

    Raises:
        click.BadParameter: There is no converter for it; the message names those that there are.
    """
    from forgather_convert.discovery.converter_files import find_in_path, find_in_tree

    places: Sequence[tuple[str, Callable[[], Iterable[str | None]]]] = [
        ("installed", lambda: _installed_model_types() if use_plugins else []),
        ("--converter-path", lambda: _types_in(map(find_in_path, converter_paths))),
        ("examples", lambda: _types_in([find_in_tree()])),
    ]
    known = []
    for place, names_in_place in places:
        names = list(names_in_place())
        # A file that only says what it registers when it runs may have any.
        if model_type in names or None in names:
            return
        if names:
            known.append(f"{', '.join(map(repr, names))} ({place})")
    raise click.BadParameter(
        f"{model_type!r} is not one of {'; '.join(known) or 'any: there is no converter'}.",
        param_hint="'--model-type'",
    )


def _types_in(ranks: Iterable[Iterable[Any]]) -> list[str | None]:
    return list(dict.fromkeys(found.model_type for rank in ranks for found in rank))


def _installed_model_types() -> list[str]:
    # The other commands do not wait for it.
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
