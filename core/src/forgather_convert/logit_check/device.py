"""The device that the checks run on."""

from forgather_convert.errors import OptionError


def check_device(name: str) -> None:
    """Refuses an unusable device before anything is written.

    Raises:
        OptionError: torch does not know it, this machine does not have it, or it cannot compute.
    """
    import torch

    try:
        # The tensors of some devices have no values, or none that can be read back.
        result = (torch.ones(2, device=torch.device(name)) + 1).tolist()
        if result != [2.0, 2.0]:
            raise RuntimeError(f"it computes 1 + 1 = {result[0]}")
    # Every device raises its own errors, and so does one whose package is not installed.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise OptionError(
            f"The device '{name}' cannot be used: {reason}. Use --device cpu."
        ) from error
