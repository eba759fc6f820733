"""A cache of the Hugging Face hub, as its library leaves it."""

from pathlib import Path


def add_snapshot(
    cache: Path,
    name: str,
    commit: str,
    source: Path,
    branch: str | None = "main",
    kind: str = "models",
) -> Path:
    """Adds a model's directory as a snapshot: links to files that are named by their content.

    Args:
        cache: The cache.
        name: The model's name, ``org/name``.
        commit: The revision; as short as the test likes.
        source: The files.
        branch: What has this commit.
        kind: ``"models"`` or ``"datasets"``.

    Returns:
        The model's directory in the cache.
    """
    directory = cache / f"{kind}--{name.replace('/', '--')}"
    snapshot = directory / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for folder in ("blobs", "refs"):
        (directory / folder).mkdir(exist_ok=True)
    for number, path in enumerate(sorted(source.iterdir())):
        blob = directory / "blobs" / f"{commit}{number}"
        blob.write_bytes(path.read_bytes())
        blob.chmod(0o444)
        (snapshot / path.name).symlink_to(Path("../../blobs", blob.name))
    if branch is not None:
        (directory / "refs" / branch).write_text(commit)
    return directory
