"""A place in a model worth reading: an identity module with named axes."""

from torch import Tensor, nn
from torch.nn.modules import module as _torch_module


class HookPoint(nn.Module):
    """Passes its input on unchanged; forward hooks put on it can read or replace the value.

    `axes` names the value's dimensions, for example `HookPoint("batch pos head d_head")`. A point that is
    `on_request` makes the model do extra work while it is watched: "everything" leaves it out, its name does not.
    """

    def __init__(self, axes: str, on_request: bool = False):
        super().__init__()
        self.axes = tuple(axes.split())
        self.on_request = on_request

    def forward(self, value: Tensor) -> Tensor:
        return value

    @property
    def watched(self) -> bool:
        """Whether some hook would see a value that passes here now."""
        return bool(
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or _torch_module._global_forward_hooks
            or _torch_module._global_forward_pre_hooks
        )

    def extra_repr(self) -> str:
        return " ".join(self.axes)
