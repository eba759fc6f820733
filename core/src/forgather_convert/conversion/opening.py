"""Opens a requested conversion."""

from forgather_convert.conversion.conversion import Conversion, ConversionRequest


def open_conversion(request: ConversionRequest) -> Conversion:
    """Opens the source of either kind; quick checks come first.

    Raises:
        ForgatherConvertError: It cannot be converted, or not to that destination.
    """
    if request.options.base is not None:
        from forgather_convert.conversion.adapter import open_adapter_conversion

        return open_adapter_conversion(request, request.options.base)
    from forgather_convert.conversion.model import open_model_conversion

    return open_model_conversion(request)
