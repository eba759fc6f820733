"""Writes the files of a plan."""

import os
from collections.abc import Iterable
from pathlib import Path

from forgather_convert.errors import DestinationError
from forgather_convert.execution.file_copy import copy_file
from forgather_convert.execution.weights_writer import WeightsWriter
from forgather_convert.files.file_errors import with_filename
from forgather_convert.files.real_path import real_path
from forgather_convert.planning.plan import ConversionPlan, LinkPlan, ShardPlan
from forgather_convert.progress import Advance


def execute(
    plan: ConversionPlan, directory: Path, progress: Advance, writer: WeightsWriter | None = None
) -> None:
    """Writes all files of a plan into an existing directory.

    The config is written last: a directory without one is not mistaken for a model.

    Args:
        plan: The plan.
        directory: The directory; it is empty except for files that the writer has started.
        progress: Called with the number of bytes written since the last call; they add up to the
            plan's ``num_bytes``.
        writer: Writes the weights, and may already have started.
    """
    if writer is None:
        write_shards(plan.shards, directory, progress)
    else:
        writer.finish(plan.shards, progress)
    write_other_files(plan, directory, progress)


def write_shards(shards: Iterable[ShardPlan], directory: Path, progress: Advance) -> None:
    """Writes weights files."""
    with WeightsWriter(directory) as writer:
        writer.finish(shards, progress)


def write_other_files(plan: ConversionPlan, directory: Path, progress: Advance) -> None:
    """Writes all other files, the config last."""
    for link in plan.links:
        make_link(link, directory / link.name)
    for copy in plan.copies:
        copy_file(copy.source, directory / copy.name)
        progress((directory / copy.name).stat().st_size)
    for write in plan.writes:
        with with_filename(directory / write.name):
            (directory / write.name).write_bytes(write.content)
        progress(len(write.content))


def make_link(link: LinkPlan, path: Path) -> None:
    """Makes a planned link.

    Raises:
        DestinationError: The file system has no such links, or the file is in another one.
    """
    # The file itself, so that the link does not depend on others, such as those of a cache.
    source = real_path(link.source)
    try:
        if link.is_symbolic:
            path.symlink_to(source)
        else:
            os.link(source, path)
    except OSError as error:
        remedy = "--link=symbolic links across file systems" if not link.is_symbolic else ""
        raise DestinationError(
            f"{path.name} cannot be linked to {link.source}: {error.strerror}. "
            f"{remedy or 'Convert without --link'}."
        ) from error
