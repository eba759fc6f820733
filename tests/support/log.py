"""Looks at what the library logs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGER = "forgather_convert"


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def logged(level: int = logging.INFO) -> Iterator[list[str]]:
    """Collects messages of exactly one level.

    Unlike pytest's ``caplog`` it works after a test has run the command line in this process,
    which takes the logger for itself.
    """
    logger = logging.getLogger(_LOGGER)
    collector = _Collector()
    before = logger.level
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    messages: list[str] = []
    try:
        yield messages
    finally:
        logger.removeHandler(collector)
        logger.setLevel(before)
        messages += [record.getMessage() for record in collector.records if record.levelno == level]
