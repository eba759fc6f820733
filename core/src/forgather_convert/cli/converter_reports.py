"""What ``forgather converters`` prints, as text and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from forgather_convert.cli.tables import print_line, print_table
from forgather_convert.discovery.found import PluginCandidate, Status
from forgather_convert.files.plain_text import one_line

if TYPE_CHECKING:
    from forgather_convert.converter_tools.check import CheckStep
    from forgather_convert.converter_tools.description import ConverterDescription, MappingRow

#: The status of a converter that passed its import.
IMPORTED = "imported"
#: The status of a converter that cannot be imported.
FAILED = "failed"
_STYLES = {
    **{status.value: "yellow" for status in Status},
    Status.OK.value: "green",
    Status.DISABLED.value: "dim",
    Status.OVERRIDDEN.value: "dim",
    Status.CONFLICT.value: "bold red",
    IMPORTED: "green",
    FAILED: "bold red",
    "skipped": "dim",
}


def converter_object(
    converter: PluginCandidate, checked: Mapping[PluginCandidate, str | None]
) -> dict[str, Any]:
    """A found converter, for other programs.

    Args:
        converter: The converter.
        checked: What went wrong with the import of each that was tried, or ``None``.
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
    """The list, with a line below it for every problem."""
    converters = list(converters)
    if not converters:
        print_line("No converters are installed, and none are in a working tree.")
        return
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
        place = row["distribution"] or row["location"]
        print_line(f"{row['model_type'] or '?'} ({place}): {row['problem']}")


def extension_object(extension: PluginCandidate) -> dict[str, Any]:
    """A found extension, for other programs."""
    content = converter_object(extension, {})
    return {**content, "model_type": None, "extension": extension.model_type}


def print_extensions(extensions: Iterable[Mapping[str, Any]]) -> None:
    """The list of extensions; nothing if there are none."""
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
    """A converter: its classes, its hooks, its components, its mapping both ways."""
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
        ("HOOK", "ANSWERED BY", "GIVES"),
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
    """A converter, for other programs."""
    content = asdict(description)
    for direction in ("to_forgather", "from_forgather"):
        for row in content[direction]:
            row["operation"] = row["operation"] or None
    return content


def print_check(name: str, steps: Iterable["CheckStep"]) -> None:
    """The steps of the check of one converter."""
    print_table(
        ("", "CHECKED", "FOUND"),
        ((step.outcome.value, step.name, step.detail) for step in steps),
        title=name,
        styles=_STYLES,
    )
    print_line()


def check_object(name: str, steps: Iterable["CheckStep"]) -> dict[str, Any]:
    """The check of one converter, for other programs."""
    rows = [
        {"step": step.name, "outcome": step.outcome.value, "detail": step.detail or None}
        for step in steps
    ]
    return {
        "converter": name,
        "ok": all(row["outcome"] == "ok" for row in rows),
        "steps": rows,
    }
