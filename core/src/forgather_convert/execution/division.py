"""Divides weights files among processes."""

from collections.abc import Iterable

from forgather_convert.planning.plan import ShardPlan


def divide(shards: Iterable[ShardPlan], count: int) -> tuple[tuple[ShardPlan, ...], ...]:
    """Divides weights files among processes: largest first, each to the least loaded process."""
    shares: list[list[ShardPlan]] = [[] for _ in range(count)]
    sizes = [0] * count
    for shard in sorted(shards, key=lambda shard: -shard.num_bytes):
        least = sizes.index(min(sizes))
        shares[least].append(shard)
        sizes[least] += shard.num_bytes
    return tuple(map(tuple, shares))
