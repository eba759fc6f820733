"""A stand-in for the framework's package."""


class MetaConfig:
    """A name that converters of the framework import."""
