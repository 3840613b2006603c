"""The device that torch computes on."""

from __future__ import annotations


def check_device(device):
    """Return an available torch device, or raise ValueError.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or ``"auto"`` for a GPU if there is one.
    """
    import torch

    if device == "auto":
        mps = torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        torch_device = torch.device(device)
        is_available = {
            "cpu": lambda: True,
            "cuda": lambda: (torch_device.index or 0) < torch.cuda.device_count(),
            "mps": torch.backends.mps.is_available,
        }[torch_device.type]()
    except (RuntimeError, KeyError):
        raise ValueError(
            f'device={device!r} is unknown; use "cpu", "cuda", "cuda:1", "mps" or "auto".'
        ) from None
    if not is_available:
        raise ValueError(
            f"device={device!r} is not available to this installation of torch "
            f'({torch.__version__}); use device="cpu" or "auto".'
        )
    return torch_device
