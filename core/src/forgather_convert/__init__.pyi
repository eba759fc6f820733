"""The public names, and where they are: what ``__init__.py`` imports when a name is used."""

from forgather_convert.api import ConversionResult as ConversionResult
from forgather_convert.api import convert as convert
from forgather_convert.api import plan as plan
from forgather_convert.compare.result import Verification as Verification
from forgather_convert.compare.verify import VerifyOptions as VerifyOptions
from forgather_convert.compare.verify import verify as verify
from forgather_convert.discovery.converter_files import register_converter as register_converter
from forgather_convert.dynamic_model.project import Project as Project
from forgather_convert.errors import ConverterError as ConverterError
from forgather_convert.errors import DestinationError as DestinationError
from forgather_convert.errors import FlushError as FlushError
from forgather_convert.errors import ForgatherConvertError as ForgatherConvertError
from forgather_convert.errors import MappingError as MappingError
from forgather_convert.errors import OptionError as OptionError
from forgather_convert.errors import ProcessError as ProcessError
from forgather_convert.errors import ReportError as ReportError
from forgather_convert.errors import SourceError as SourceError
from forgather_convert.errors import UnsupportedModelError as UnsupportedModelError
from forgather_convert.errors import ValidationError as ValidationError
from forgather_convert.families.converter import HFConverter as HFConverter
from forgather_convert.families.hookspecs import hookimpl as hookimpl
from forgather_convert.families.hyperparameters import STANDARD as STANDARD
from forgather_convert.families.hyperparameters import (
    STANDARD_HYPERPARAMETERS as STANDARD_HYPERPARAMETERS,
)
from forgather_convert.families.hyperparameters import WINDOWS as WINDOWS
from forgather_convert.families.hyperparameters import without as without
from forgather_convert.families.mixtures_of_experts import DeepseekDecoder as DeepseekDecoder
from forgather_convert.families.mixtures_of_experts import DeepseekExperts as DeepseekExperts
from forgather_convert.families.mixtures_of_experts import (
    sparse_layers_after as sparse_layers_after,
)
from forgather_convert.families.mixtures_of_experts import (
    sparse_layers_by_step as sparse_layers_by_step,
)
from forgather_convert.families.tiny_decoder import TINY_DECODER as TINY_DECODER
from forgather_convert.in_memory.callback import HFCheckpointCallback as HFCheckpointCallback
from forgather_convert.in_memory.loading import load_hf_weights as load_hf_weights
from forgather_convert.in_memory.saving import save_as_hf as save_as_hf
from forgather_convert.in_memory.weights import hf_weights as hf_weights
from forgather_convert.inspection.inspect import inspect as inspect
from forgather_convert.inspection.result import Inspection as Inspection
from forgather_convert.options import ConvertOptions as ConvertOptions
from forgather_convert.progress import Phase as Phase
from forgather_convert.progress import Progress as Progress
from forgather_convert.reporting.write import write_report as write_report
from forgather_convert.source.config_file import SourceConfig as SourceConfig
from forgather_convert.source.rope import RopeParameters as RopeParameters
from forgather_convert.tensors.feedforward_mapping import gated_feedforward as gated_feedforward
from forgather_convert.tensors.feedforward_mapping import stacked_experts as stacked_experts
from forgather_convert.tensors.notation import WeightMappingDict as WeightMappingDict
from forgather_convert.tensors.notation import concatenate as concatenate
from forgather_convert.tensors.notation import deinterleave as deinterleave
from forgather_convert.tensors.notation import permute_heads as permute_heads
from forgather_convert.tensors.notation import split as split
from forgather_convert.tensors.notation import stack as stack
from forgather_convert.tensors.notation import transpose as transpose
from forgather_convert.tensors.notation import unstack as unstack
from forgather_convert.tensors.tensor_ref import TensorRef as TensorRef
from forgather_convert.tensors.weight_mapping import (
    STANDARD_WEIGHT_MAPPING as STANDARD_WEIGHT_MAPPING,
)
from forgather_convert.weights.checkpoint import Checkpoint as Checkpoint

__all__: list[str]
