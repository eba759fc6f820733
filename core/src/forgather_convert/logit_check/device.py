"""The device that the checks run on."""

from forgather_convert.errors import OptionError


def check_device(name: str) -> None:
    """Refuses a device that cannot be used, before anything is written.

    Raises:
        OptionError: torch does not know it, it is not in this machine, or it cannot compute.
    """
    import torch

    try:
        # A device may have tensors and no values, or no way to get them back.
        result = (torch.ones(2, device=torch.device(name)) + 1).tolist()
        if result != [2.0, 2.0]:
            raise RuntimeError(f"it computes 1 + 1 = {result[0]}")
    # Every device has errors of its own, and so has one whose package is not installed.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise OptionError(
            f"The device '{name}' cannot be used: {reason}. Use --device cpu."
        ) from error
