"""The output of ``forgather converters``, as text and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgather_convert.cli.console import echo
from forgather_convert.cli.tables import BAD, GOOD, print_line, print_table, stdout_console
from forgather_convert.discovery.found import PluginCandidate, Status
from forgather_convert.files.plain_text import one_line

if TYPE_CHECKING:
    from forgather_convert.converter_tools.check import CheckStep
    from forgather_convert.converter_tools.description import ConverterDescription, MappingRow

#: The status of a converter that was imported successfully.
IMPORTED = "imported"
#: The status of a converter that cannot be imported.
FAILED = "failed"
#: On a narrower terminal the list of converters has fewer columns.
_WIDTH_OF_ALL_COLUMNS = 80
_LONGEST_PATH = 33
_STYLES = {
    **{status.value: "yellow" for status in Status},
    Status.OK.value: GOOD,
    Status.DISABLED.value: "dim",
    Status.OVERRIDDEN.value: "dim",
    Status.CONFLICT.value: BAD,
    IMPORTED: GOOD,
    FAILED: BAD,
    "skipped": "dim",
}


def converter_object(
    converter: PluginCandidate, checked: Mapping[PluginCandidate, str | None]
) -> dict[str, Any]:
    """A converter as JSON.

    Args:
        converter: The converter.
        checked: For each converter that was imported, what went wrong, or ``None``.
    """
    status, problem = converter.status.value, converter.problem
    if converter in checked:
        failure = checked[converter]
        status, problem = (FAILED, failure) if failure else (IMPORTED, problem)
    return {
        "model_type": converter.model_type,
        "distribution": converter.distribution,
        "version": converter.version,
        "origin": converter.origin.value,
        "location": converter.target,
        "status": status,
        "problem": problem or None,
    }


def print_converters(converters: Iterable[Mapping[str, Any]]) -> None:
    """Prints the list, with a line below it for every problem."""
    converters = list(converters)
    if not converters:
        print_line("No converters are installed, and there are none in a working tree.")
        return
    if stdout_console().width < _WIDTH_OF_ALL_COLUMNS:
        _print_narrow(converters)
    else:
        print_table(
            ("MODEL TYPE", "DISTRIBUTION", "VERSION", "ORIGIN", "STATUS"),
            (
                (
                    one_line(row["model_type"] or "?"),
                    one_line(row["distribution"] or row["location"]),
                    one_line(row["version"] or ""),
                    row["origin"],
                    row["status"],
                )
                for row in converters
            ),
            styles=_STYLES,
        )
    problems = [row for row in converters if row["problem"]]
    if problems:
        print_line()
    for row in problems:
        source = row["distribution"] or row["location"]
        print_line(f"{row['model_type'] or '?'} ({source}): {row['problem']}")


def _print_narrow(converters: Sequence[Mapping[str, Any]]) -> None:
    """Prints the list in 60 columns, unless names are longer: no versions, and shortened paths."""
    rows = [
        (
            one_line(row["model_type"] or "?"),
            one_line(row["distribution"] or _shortened(row["location"])),
            row["status"],
        )
        for row in converters
    ]
    print_table(("MODEL TYPE", "DISTRIBUTION", "STATUS"), rows, styles=_STYLES)


def _shortened(path: str) -> str:
    """The end of a path that is too long for a narrow terminal."""
    return path if len(path) <= _LONGEST_PATH else f"...{path[3 - _LONGEST_PATH :]}"


def extension_object(extension: PluginCandidate) -> dict[str, Any]:
    """An extension as JSON."""
    content = converter_object(extension, {})
    return {**content, "model_type": None, "extension": extension.model_type}


def print_extensions(extensions: Iterable[Mapping[str, Any]]) -> None:
    """Prints the list of extensions; nothing if there are none."""
    extensions = list(extensions)
    if not extensions:
        return
    print_table(
        ("EXTENSION", "DISTRIBUTION", "VERSION", "STATUS"),
        (
            (
                one_line(row["extension"]),
                one_line(row["distribution"]),
                one_line(row["version"] or ""),
                row["status"],
            )
            for row in extensions
        ),
        styles=_STYLES,
        title="\nExtensions",
    )
    for row in extensions:
        if row["problem"]:
            print_line(f"{row['extension']} ({row['distribution']}): {row['problem']}")


def print_description(description: "ConverterDescription") -> None:
    """Prints a converter: its classes, hooks, components, and mapping in both directions."""
    from forgather_convert.converter_tools.description import hook_summary

    print_table(
        ("", ""),
        (
            ("model type", description.model_type),
            ("origin", description.origin),
            ("converter", description.converter_class),
            ("Hugging Face model", description.hf_model_class),
            ("Hugging Face config", description.hf_config_class),
        ),
    )
    print_table(
        ("HOOK", "IMPLEMENTED BY", "RETURNS"),
        (
            (name, "this converter" if is_own else "HFConverter", hook_summary(name))
            for name, is_own in description.hooks.items()
        ),
        title="\nHooks",
    )
    print_table(("ROLE", "COMPONENT"), description.components.items(), title="\nComponents")
    _print_mapping("Hugging Face", "Forgather", description.to_forgather)
    _print_mapping("Forgather", "Hugging Face", description.from_forgather)


def _print_mapping(source: str, destination: str, rows: Sequence["MappingRow"]) -> None:
    print_table(
        (source.upper(), destination.upper(), "OPERATION"),
        (
            (
                "\n".join(map(one_line, row.sources)),
                "\n".join(map(one_line, row.destinations)),
                row.operation or "rename",
            )
            for row in sorted(rows, key=lambda row: row.sources)
        ),
        title=f"\nMapping, {source} to {destination}",
    )


def description_object(description: "ConverterDescription") -> dict[str, Any]:
    """The description of a converter as JSON."""
    content = asdict(description)
    for direction in ("to_forgather", "from_forgather"):
        for row in content[direction]:
            row["operation"] = row["operation"] or None
    return content


def print_check(name: str, steps: Iterable["CheckStep"]) -> None:
    """Prints the steps of the check of one converter."""
    print_table(
        ("RESULT", "STEP", "DETAIL"),
        ((step.outcome.value, step.name, step.detail) for step in steps),
        title=name,
        styles=_STYLES,
    )
    print_line()


def check_object(name: str, steps: Iterable["CheckStep"]) -> dict[str, Any]:
    """The check of one converter as JSON."""
    rows = [
        {"step": step.name, "outcome": step.outcome.value, "detail": step.detail or None}
        for step in steps
    ]
    return {
        "converter": name,
        "ok": all(row["outcome"] == "ok" for row in rows),
        "steps": rows,
    }


def print_next_steps(root: Path, model_type: str) -> None:
    """Says, among the messages, what to do with a new distribution."""
    echo(
        "Next steps:\n"
        f"  1. Edit {root}/src and README.md; docs/write-a-converter.md explains how.\n"
        f'  2. Install it: pip install -e {root} "forgather-convert[testing]"\n'
        f"  3. Check it: forgather converters check {model_type}",
        err=True,
    )
