"""The device that the checks run on."""

from forgather_convert.errors import OptionError


def check_device(name: str) -> None:
    """Refuses a device that cannot be used, before anything is written.

    Raises:
        OptionError: torch does not know it, or it is not in this machine.
    """
    import torch

    try:
        torch.empty(1, device=torch.device(name))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise OptionError(
            f"The device '{name}' cannot be used: {reason}. Use --device cpu."
        ) from error
