"""Forgather models, as sources and as targets."""

import logging
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from forgather_convert.dynamic_model.code_generator import GeneratedCode, generate_code
from forgather_convert.dynamic_model.loading import DynamicModelClasses, load_generated_code
from forgather_convert.dynamic_model.project import Project
from forgather_convert.dynamic_model.stored_code import (
    StoredCode,
    complete_with_stored_defaults,
    differs_from_generated,
    load_stored_code,
    read_stored_code,
)
from forgather_convert.families.config_checks import check_kinds, check_windows
from forgather_convert.families.hook_calls import FamilyHooks
from forgather_convert.models.loading import (
    StoredModel,
    load_model,
    load_tensors,
    written_state,
)
from forgather_convert.models.model import Note, PlanFacts, SourceModel, TargetModel, ignore
from forgather_convert.models.original_weights import OriginalWeights, is_plain_name
from forgather_convert.models.parameters import parameters_of_class
from forgather_convert.models.provenance import Provenance
from forgather_convert.models.reference import complete_config, config_object, with_max_length
from forgather_convert.source.config_file import CONFIG_FILE, SourceConfig, read_config
from forgather_convert.source.detection import Detection
from forgather_convert.source.files import WriteFile, encode_json, sha256
from forgather_convert.source.forgather_signs import PROVENANCE_FILE
from forgather_convert.source.legacy import normalize_config, normalize_tensors
from forgather_convert.tensors.expressions import Expression, stored
from forgather_convert.tensors.names import RECOMPUTED
from forgather_convert.tensors.parameters import ModelParameters
from forgather_convert.tensors.text_names import TextNames

logger = logging.getLogger(__name__)

_GROUPS = "num_key_value_heads"


@dataclass(frozen=True)
class ForgatherSource(SourceModel):
    """A Forgather model as the source of a conversion.

    Attributes:
        written_config: The content of its ``config.json``.
        stored_code: The code in its directory; ``None`` if there is none.
        trusts_code: Whether the user allows that code to run even if it was edited.
        max_length: The maximum length that the user requested.
    """

    written_config: SourceConfig
    stored_code: StoredCode | None
    trusts_code: bool
    max_length: int | None

    @cached_property
    def standard_project(self) -> Project:
        """The dynamic model that the family's converter makes for this config today."""
        as_hugging_face = complete_config(
            SourceConfig(self.config_object.to_dict(), self.config.origin),
            self.config_object,
            self.hooks,
        )
        return self.hooks.project(as_hugging_face, None)

    def check_readable(self) -> None:
        """Refuses a config that transformers cannot read.

        Raises:
            UnsupportedModelError: It says what is wrong.
        """
        config_object(self._standard_classes.config_class, self.written_config, self.config.origin)

    @property
    def own_config(self) -> Any:
        return self._reference_config(self._standard_classes.config_class, self.config)

    @property
    def code_owner(self) -> str:
        if self.stored_code is None:
            return "the standard code of its family (its directory has none of its own)"
        if not self.differing_code:
            return "its own code"
        if self.trusts_code:
            return "its own code, which is not the standard code"
        return "the standard code of its family, and not its own"

    @property
    def is_own_code(self) -> bool:
        return not self.differing_code or self.trusts_code

    @cached_property
    def differing_code(self) -> tuple[str, ...]:
        """The files of its own code that differ from what the generator writes."""
        if self.stored_code is None:
            return ()
        return differs_from_generated(self.stored_code, self.standard_project)

    def parameters(self) -> ModelParameters:
        return parameters_of_class(self._standard_classes.model_class, self.own_config)

    def load(self, state: Mapping[str, Expression], note: Note = ignore) -> Any:
        """Loads the model with its own code, if that is the generator's or is trusted.

        Code that differs from what the generator writes runs only if the user trusts it;
        otherwise the standard code is used instead.
        """
        own = self._own_classes
        if own is not None:
            config = self._reference_config(own.config_class, self.written_config)
            model = StoredModel(
                own.model_class, config, self.weights_directory, state, self.parameters
            )
            return load_model(model, note)
        standard, config = self._standard_classes, self.own_config
        return load_tensors(standard.model_class, config, self.weights_directory, state)

    def _reference_config(self, config_class: Any, fields: SourceConfig) -> Any:
        config = config_object(config_class, fields, fields.origin)
        return with_max_length(config, self.max_length, self.config.origin)

    @cached_property
    def _standard_classes(self) -> DynamicModelClasses:
        return load_generated_code(generate_code(self.standard_project))

    @cached_property
    def _own_classes(self) -> DynamicModelClasses | None:
        """The classes of the model's own code; ``None``, with a warning, if it must not run."""
        if self.stored_code is None:
            return None
        if self.is_own_code:
            return load_stored_code(self.stored_code)
        logger.warning(
            "The model code in %s was edited, or comes from another tool or version (%s): it was "
            "neither run nor checked; the comparison uses the standard code. To run it, use "
            "--trust-remote-code",
            self.directory,
            ", ".join(self.differing_code),
        )
        return None


def read_forgather(
    detection: Detection,
    hooks: FamilyHooks,
    max_length: int | None,
    trusts_code: bool,
) -> ForgatherSource:
    """Reads a model from its directory without running its code.

    Fields missing from the config get the defaults of the model's own code.

    Args:
        detection: What its directory holds.
        hooks: The converter of the family.
        max_length: The maximum length that the user requested.
        trusts_code: Whether a check may run the model's own code even if it was edited.

    Raises:
        UnsupportedModelError: The family cannot express it.
    """
    directory = detection.metadata_directory
    refs = normalize_tensors(detection.checkpoint.tensors)
    unread = {name: ref for name, ref in refs.items() if re.search(RECOMPUTED, name)}
    current = {name: stored(ref) for name, ref in refs.items() if name not in unread}
    content = ForgatherDirectory(
        config=detection.config,
        tensors=current,
        unread={name: stored(ref) for name, ref in unread.items()},
        directory=directory,
        weights_directory=detection.checkpoint.files.directory,
        stored_code=read_stored_code(directory, detection.config),
    )
    return forgather_source(content, hooks, max_length, trusts_code)


@dataclass(frozen=True)
class ForgatherDirectory:
    """What the directory of a Forgather model contains, or would contain.

    Attributes:
        config: The content of its ``config.json``.
        tensors: Its weights, by their current names.
        directory: The directory of config and tokenizer.
        weights_directory: The directory of the weights.
        unread: Additional tensors in its files, which its model does not use.
        stored_code: The code in it; ``None`` if there is none.
    """

    config: SourceConfig
    tensors: Mapping[str, Expression]
    directory: Path
    weights_directory: Path
    unread: Mapping[str, Expression] = field(default_factory=dict)
    stored_code: StoredCode | None = None


def forgather_source(
    content: ForgatherDirectory,
    hooks: FamilyHooks,
    max_length: int | None = None,
    trusts_code: bool = False,
) -> ForgatherSource:
    """Makes the model from the content of its directory; see :func:`read_forgather`.

    Raises:
        UnsupportedModelError: The family cannot express it.
    """
    config, fields = content.config, hooks.get_hyperparameters()
    completed = normalize_config(
        complete_with_stored_defaults(config, content.stored_code), content.tensors, fields
    )
    hooks.validate_source_config(completed, "from_forgather")
    if config.get(_GROUPS, 0) is None:
        # In the framework's own models, null means the number of attention heads.
        config = config.updated({_GROUPS: completed[_GROUPS]})
    source = ForgatherSource(
        hooks=hooks,
        config=completed,
        tensors=content.tensors,
        unread=content.unread,
        config_object=hooks.create_hf_config(completed, max_length),
        directory=content.directory,
        weights_directory=content.weights_directory,
        written_config=config,
        stored_code=content.stored_code,
        trusts_code=trusts_code,
        max_length=max_length,
    )
    check_windows(completed, fields)
    check_kinds(config, source.standard_project.config)
    source.check_readable()
    return source


@dataclass(frozen=True)
class ForgatherTarget(TargetModel):
    """A Forgather model as the target of a conversion.

    Attributes:
        config: The content of its ``config.json``.
        code: Its Python files.
        weights: The division of the original's weights; ``None`` if it cannot be restored.
        original_config_text: The ``config.json`` to restore in the reverse conversion.
        options: The options of the conversion to record.
        names: The names that a composite original has for its text model's tensors.
        is_from_loaded_form: Whether the original's weights are in the form that they have in
            memory.
    """

    config: Mapping[str, Any]
    code: GeneratedCode
    weights: OriginalWeights | None
    original_config_text: str
    options: Mapping[str, Any]
    names: TextNames | None = None
    is_from_loaded_form: bool = False

    def files(self, written: PlanFacts) -> tuple[WriteFile, ...]:
        contents = {name: text.encode("utf-8") for name, text in sorted(self.code.files.items())}
        provenance = Provenance(
            tool=_tool_versions(self.hooks),
            options=dict(self.options),
            hf_config=self.original_config_text,
            dtypes=sorted(written.source_dtypes),
            weights=self.weights,
            generated={name: sha256(content) for name, content in contents.items()},
            carried=[name for name in written.carried if is_plain_name(name)],
            carried_tensors=list(written.tensor_files),
            text_prefix=None if self.names is None else self.names.prefix,
            in_loaded_form=self.is_from_loaded_form,
        )
        return (
            *(WriteFile(name, content) for name, content in contents.items()),
            WriteFile(PROVENANCE_FILE, provenance.to_json()),
            WriteFile(CONFIG_FILE, encode_json(self.config, sort_keys=True)),
        )

    @property
    def code_owner(self) -> str:
        return "its generated code"

    def load(self, directory: Path) -> Any:
        classes = load_generated_code(self.code)
        fields = read_config(directory)
        config = config_object(classes.config_class, fields, fields.origin)
        state = written_state(directory, self.parameters)
        model = StoredModel(classes.model_class, config, directory, state, lambda: self.parameters)
        return load_model(model, is_result=True)

    def load_tensors(self, directory: Path, state: Mapping[str, Expression]) -> Any:
        model_class = load_generated_code(self.code).model_class
        return load_tensors(model_class, self.config_object, directory, state)


@cache
def _installed_version(package: str) -> str:
    # Once in a process: large metadata takes milliseconds to parse.
    return version(package)


def _tool_versions(hooks: FamilyHooks) -> dict[str, str]:
    packages = ("forgather-convert", "torch", "transformers")
    return {
        **{package: _installed_version(package) for package in packages},
        "python": platform.python_version(),
        "converter": hooks.origin,
    }
