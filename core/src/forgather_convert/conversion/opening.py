"""Opens a requested conversion."""

from pathlib import Path

from forgather_convert.conversion.conversion import Conversion, ConversionRequest
from forgather_convert.source.config_file import CONFIG_FILE
from forgather_convert.source.readable_weights import ADAPTER_CONFIG_FILE


def open_conversion(request: ConversionRequest) -> Conversion:
    """Opens the source of either kind; quick checks come first.

    Raises:
        ForgatherConvertError: It cannot be converted, or not to that destination.
    """
    if request.options.base is not None and not _is_model(request.source):
        from forgather_convert.conversion.adapter import open_adapter_conversion

        return open_adapter_conversion(request, request.options.base)
    from forgather_convert.conversion.model import open_model_conversion

    return open_model_conversion(request)


def _is_model(source: Path) -> bool:
    """Whether a directory is a model, for which a base is the original of a composite."""
    has_config = (source / CONFIG_FILE).is_file()
    return has_config and not (source / ADAPTER_CONFIG_FILE).is_file()
