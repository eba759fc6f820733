"""Source files of the building blocks of a dynamic model.

The code generator copies the ones a model uses into its directory. They are
ordinary modules, so that they are linted, typed and importable here too, but
they must keep to what a model directory offers: torch, transformers, and their
siblings by ``from .sibling import Name``.

Every component is built from the model's config and keeps no state of its own
beside parameters. The names of the submodules below are the names in the
checkpoint.
"""
