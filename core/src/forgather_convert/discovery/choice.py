"""Chooses the converter for a model type, and loads only that one.

Converters come from the paths that the user gives, from installed distributions and from a
Forgather working tree, in this order. Until the choice is made, only metadata and text are read;
nothing is imported.
"""

import inspect
import logging
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from forgather_convert.discovery.advice import no_converter_message
from forgather_convert.discovery.converter_files import (
    describe_search,
    find_in_path,
    find_in_tree,
    load_file,
)
from forgather_convert.discovery.found import Origin, PluginCandidate, Status
from forgather_convert.discovery.installed import (
    ALLOW_VARIABLE,
    ENTRY_POINT_GROUP,
    canonical_name,
    find_installed,
)
from forgather_convert.discovery.published import PUBLISHED_DISTRIBUTIONS
from forgather_convert.errors import ConverterError, UnsupportedModelError, cause_of
from forgather_convert.families.aliases import as_alias
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.options import ConvertOptions

__all__ = [
    "ENTRY_POINT_GROUP",
    "PluginCandidate",
    "find_converters",
    "load_converter",
    "resolve_converter",
    "warn_skipped",
]

logger = logging.getLogger(__name__)

#: An installed converter with one of these is skipped if another one can be used.
_UNUSABLE = (Status.INCOMPATIBLE, Status.MISSING_MODULE)
#: A converter with one of these never takes precedence over another one of the same type.
_SKIPPED = (Status.DISABLED, Status.OF_THE_FRAMEWORK)


def find_converters(
    converter_paths: Iterable[Path] = (), use_plugins: bool = True
) -> list[PluginCandidate]:
    """Lists all converters with their status, preferred ones first; imports nothing.

    Raises:
        ConverterError: A path does not exist.
    """
    ranks = [find_in_path(Path(path)) for path in converter_paths]
    ranks += [find_installed(use_plugins), find_in_tree()]
    candidates: list[PluginCandidate] = []
    winners: dict[str, PluginCandidate] = {}
    for rank in ranks:
        for converter in rank:
            winner = winners.get(str(converter.model_type))
            if winner is not None and converter.status is Status.OK:
                converter = converter.with_problem(
                    Status.OVERRIDDEN, f"{winner.place} is preferred."
                )
            elif converter.status is Status.OK and len(_usable(rank, converter.model_type)) > 1:
                problem = _conflict(str(converter.model_type), _usable(rank, converter.model_type))
                converter = converter.with_problem(Status.CONFLICT, problem)
            candidates.append(converter)
        for converter in sorted(rank, key=lambda converter: converter.status is not Status.OK):
            if converter.model_type is not None and converter.status not in _SKIPPED:
                winners.setdefault(converter.model_type, converter)
    return candidates


def resolve_converter(
    model_type: str,
    converter_paths: Iterable[Path] = (),
    source: Path | None = None,
    converter: str | None = None,
    use_plugins: bool = True,
) -> FamilyHooks:
    """Finds and loads the converter for a model type, and only that one.

    Args:
        model_type: The model type.
        converter_paths: Directories and files to search first.
        source: The directory of the model; no converter is loaded from it.
        converter: The name of the installed distribution to take the converter from.
        use_plugins: Whether to search installed distributions.

    Raises:
        UnsupportedModelError: There is none.
        ConverterError: There are two of the same rank, or it cannot be loaded.
    """
    converter_paths = list(converter_paths)
    candidates = find_installed(use_plugins, source, name=model_type)
    for one in candidates:
        logger.debug("%s has '%s': %s", one.place, one.model_type, one.status.value)
    if converter is not None:
        return _load(_chosen(converter, model_type, candidates), model_type, logging.INFO)
    for path in converter_paths:
        in_path = find_in_path(Path(path), source)
        chosen = _only_one(model_type, in_path) or _found_by_running(model_type, in_path)
        if chosen is not None:
            return _load(chosen, model_type, logging.INFO)
    chosen = _only_one(model_type, candidates)
    if chosen is not None:
        return _load(chosen, model_type, logging.DEBUG)
    chosen = _only_one(model_type, find_in_tree(source))
    if chosen is not None:
        return _load(chosen, model_type, logging.INFO)
    searched = [line for path in converter_paths for line in describe_search(Path(path))]
    installed = find_installed(use_plugins, source)
    raise UnsupportedModelError(no_converter_message(model_type, installed, searched))


def converter_for(
    model_type: str, source: Path, options: ConvertOptions, given: HFConverter | None
) -> FamilyHooks:
    """The given converter, or else the one that the options lead to.

    Raises:
        UnsupportedModelError: There is none.
        ConverterError: There are two of the same rank, or it cannot be loaded.
    """
    if given is not None:
        return FamilyHooks(as_alias(given, model_type), origin="given")
    return resolve_converter(
        model_type, options.converter_paths, source, options.converter, options.use_plugins
    )


def is_family(
    model_type: str, source: Path, options: ConvertOptions, given: HFConverter | None
) -> bool:
    """Whether a model type is known, even if its converter is not installed; imports nothing."""
    if given is not None or model_type in PUBLISHED_DISTRIBUTIONS:
        return True
    ranks = [find_in_path(Path(path), source) for path in options.converter_paths]
    ranks += [find_installed(options.use_plugins, source), find_in_tree(source)]
    # None: a file that tells what it registers only when it runs may register this type.
    if any(candidate.model_type in (model_type, None) for rank in ranks for candidate in rank):
        return True
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return model_type in CONFIG_MAPPING_NAMES


def load_converter(converter: PluginCandidate) -> list[FamilyHooks]:
    """Imports a converter.

    Returns:
        One converter, or all that a file registers if it tells which only when it runs.

    Raises:
        ConverterError: It cannot be used.
    """
    if converter.model_type is not None:
        return [_load(converter, converter.model_type, logging.DEBUG)]
    assert isinstance(converter.loadable, Path)
    _refuse(converter)
    return [
        _instantiate(converter, model_type, loaded)
        for model_type, loaded in load_file(converter.loadable)
    ]


def warn_skipped(converters: Iterable[PluginCandidate]) -> None:
    """Warns that converters are not used, and why."""
    for converter in converters:
        logger.warning("Skipping %s: %s", converter.place, converter.problem)


def _usable(converters: Iterable[PluginCandidate], model_type: str | None) -> list[PluginCandidate]:
    return [
        converter
        for converter in converters
        if converter.model_type == model_type is not None and converter.status is Status.OK
    ]


def _only_one(model_type: str, converters: Sequence[PluginCandidate]) -> PluginCandidate | None:
    """The converter for a model type in one rank; an unusable one only if there is no other.

    Converters of the Forgather framework are skipped.

    Raises:
        ConverterError: There are several.
    """
    of_type = [converter for converter in converters if converter.model_type == model_type]
    usable = _usable(of_type, model_type)
    if len(usable) > 1:
        raise ConverterError(_conflict(model_type, usable))
    broken = [it for it in of_type if it.status not in (Status.OK, *_SKIPPED)]
    warn_skipped(it for it in of_type if it.status is Status.OF_THE_FRAMEWORK)
    if not usable:
        return broken[0] if broken else None
    warn_skipped(broken)
    return usable[0]


def _found_by_running(
    model_type: str, converters: Iterable[PluginCandidate]
) -> PluginCandidate | None:
    """Runs the files that tell only when they run what they register."""
    registered = []
    for converter in converters:
        if converter.model_type is not None or not isinstance(converter.loadable, Path):
            continue
        if converter.status is Status.OF_THE_FRAMEWORK:
            warn_skipped([converter])
        else:
            _refuse(converter)
            registered += [
                PluginCandidate(kind, Origin.PATH, converter.loadable)
                for kind, _ in load_file(converter.loadable)
            ]
    return _only_one(model_type, registered)


def _chosen(name: str, model_type: str, candidates: Sequence[PluginCandidate]) -> PluginCandidate:
    """The converter of the distribution that --converter names."""
    of_name = [
        candidate
        for candidate in candidates
        if canonical_name(str(candidate.distribution)) == canonical_name(name)
    ]
    if not of_name:
        names = _enumerate(candidate.place for candidate in candidates) or "no distribution"
        raise ConverterError(
            f"The distribution '{name}' (--converter) has no converter for the model type "
            f"'{model_type}'; {names} has one. 'forgather converters list' shows all."
        )
    if len(of_name) > 1:
        raise ConverterError(_conflict(model_type, of_name))
    if of_name[0].status is Status.DISABLED:
        raise ConverterError(
            f"--converter chooses {of_name[0].place}, but it is disabled: "
            f"{of_name[0].problem} Change one of the two."
        )
    return of_name[0]


def _conflict(model_type: str, converters: Sequence[PluginCandidate]) -> str:
    distributions = {converter.distribution for converter in converters}
    if None in distributions or len(distributions) == 1:
        places = _enumerate(f"{converter.place} ({converter.target})" for converter in converters)
        if None in distributions:
            places = _enumerate(converter.place for converter in converters)
            advice = "Delete one, or name the file of the one to use with --converter-path."
        else:
            advice = "Ask its author to correct it, or name another one with --converter-path."
        return f"Two converters claim the model type '{model_type}': {places}. {advice}"
    places = _enumerate(converter.place for converter in converters)
    return (
        f"Two converters claim the model type '{model_type}': {places}. Choose one with "
        f"--converter {converters[0].distribution}, uninstall one, or name those that may be used "
        f"in {ALLOW_VARIABLE}."
    )


def _enumerate(items: Iterable[str]) -> str:
    return " and ".join(items)


def _refuse(converter: PluginCandidate) -> None:
    """Refuses a converter that is known to be unusable."""
    if converter.status is Status.UNREADABLE:
        raise ConverterError(f"The converter file {converter.problem}")
    if converter.status is Status.OF_THE_FRAMEWORK:
        raise ConverterError(
            f"The converter file {converter.place} cannot be used. {converter.problem}"
        )
    if converter.status in _UNUSABLE:
        raise ConverterError(
            f"The converter for '{converter.model_type}' of {converter.place} cannot be used. "
            f"{converter.problem}"
        )


def _load(converter: PluginCandidate, model_type: str, log_level: int) -> FamilyHooks:
    _refuse(converter)
    loaded: Any
    if isinstance(converter.loadable, EntryPoint):
        loaded = _import(converter, converter.loadable)
    else:
        classes = {loaded for kind, loaded in load_file(converter.loadable) if kind == model_type}
        if len(classes) != 1:
            how_often = "several times" if classes else "in its text, but not when it runs"
            raise ConverterError(
                f"The converter file {converter.place} registers the model type '{model_type}' "
                f"{how_often}. It must register it once."
            )
        (loaded,) = classes
    hooks = _instantiate(converter, model_type, loaded)
    logger.log(log_level, "Converter for '%s': %s", model_type, converter.place)
    return hooks


def _import(converter: PluginCandidate, entry_point: EntryPoint) -> Any:
    try:
        return entry_point.load()
    # A plugin that calls sys.exit is a broken plugin, not the end of the program.
    except (Exception, SystemExit) as error:
        raise ConverterError(
            f"The converter for '{converter.model_type}' of {converter.place} "
            f"({converter.target}) cannot be imported: "
            f"{cause_of(error)}. Reinstall or upgrade it."
        ) from error


def _advice_on_creating(loaded: type, error: Exception) -> str:
    try:
        inspect.signature(loaded).bind()
    except TypeError:
        return "Its constructor must not require arguments."
    if isinstance(error, ImportError):
        return "Install the missing dependency, or upgrade the converter."
    return "Fix or upgrade it."


def _instantiate(converter: PluginCandidate, model_type: str, loaded: Any) -> FamilyHooks:
    if not (isinstance(loaded, type) and issubclass(loaded, HFConverter)):
        raise ConverterError(
            f"The converter for '{model_type}' of {converter.place} is {loaded!r}, which is not a "
            "subclass of HFConverter. Fix its registration, and derive the class from "
            "forgather_convert.HFConverter: the HFConverter in forgather.ml.model_conversion is "
            "the Forgather framework's if that is installed."
        )
    if model_type not in (loaded.model_type, *loaded.aliases):
        raise ConverterError(
            f"{loaded.__name__} of {converter.place} is registered for '{model_type}', but its "
            f"model_type is '{loaded.model_type}'. Make them agree, or list '{model_type}' in its "
            "aliases if it is another name of the same architecture."
        )
    try:
        instance = loaded()
    except Exception as error:
        raise ConverterError(
            f"The converter for '{model_type}' of {converter.place}, {loaded.__name__}, cannot be "
            f"created: {cause_of(error)}. {_advice_on_creating(loaded, error)}"
        ) from error
    return FamilyHooks(as_alias(instance, model_type), converter.place)
