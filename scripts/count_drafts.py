"""Counts the model types whose drafted converter needs no changes.

Drafts a converter for each causal language model of the installed transformers, as ``forgather
converters new --from TYPE`` does, and checks it as ``forgather converters check`` does. Names of
model types as arguments restrict it to these.
"""

import multiprocessing
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from forgather_convert.converter_tools.check import Outcome, check_converter
from forgather_convert.converter_tools.new import create_distribution
from forgather_convert.discovery.converter_imports import import_file
from forgather_convert.errors import ForgatherConvertError
from forgather_convert.families.converter import HFConverter
from forgather_convert.families.hook_calls import FamilyHooks

PASSES = "passes"
#: For one type, in seconds.
TIME_LIMIT = 60


def result_for(model_type: str) -> str:
    """What becomes of a type's draft: that it passes, or the first thing that does not."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as directory:
        try:
            root = create_distribution(Path(directory), "drafted", known_as=model_type)
            (path,) = root.glob(f"src/*/{model_type.replace('-', '_')}.py")
            module = sys.modules[import_file(path)]
            (converter,) = (
                value
                for value in vars(module).values()
                if isinstance(value, type)
                and issubclass(value, HFConverter)
                and value.__module__ == module.__name__
            )
            for step in check_converter(FamilyHooks(converter(), "draft")):
                if step.outcome is not Outcome.OK:
                    return f"{step.name}: {step.detail}"
        except ForgatherConvertError as error:
            return f"no draft: {error}"
        except Exception as error:  # the classes of transformers raise anything
            return f"{type(error).__name__}: {error}"
    return PASSES


def result_in_time(model_type: str) -> str:
    """The same, in a process: what a type leaves behind must neither help nor hinder another."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        try:
            return pool.apply_async(result_for, (model_type,)).get(TIME_LIMIT)
        except multiprocessing.TimeoutError:
            return f"not finished after {TIME_LIMIT} s"


def main() -> None:
    model_types = sys.argv[1:] or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    results = {}
    for model_type in model_types:
        results[model_type] = result_in_time(model_type)
        print(f"{model_type:28} {results[model_type].splitlines()[0][:160]}", flush=True)
    counts = Counter(result == PASSES for result in results.values())
    print(f"{counts[True]} of {len(results)} drafts pass, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
