"""Starting a larger network from a smaller one of its kind, so that at first both give the same.

Channels that both have keep their weights and do not see the channels that are new; these start as
fresh as in any new network and listen to all. Blocks that only the larger one has start as the
identity. What was learned once is not learned again, as in Net2Net (Chen et al., ICLR 2016), with
zeros in the place of its copies.
"""

from __future__ import annotations

import torch
from torch import nn

from derain.models.errors import DerainError
from derain.models.ops.layers import MinimalGatedUnit, ResidualBlock, start_at


@torch.no_grad()
def widen(large: nn.Module, small: nn.Module) -> None:
    """Put the weights of `small` into `large`, in place.

    Raises:
        DerainError: `large` is not `small` with more channels and more residual blocks.
    """
    if isinstance(large, MinimalGatedUnit) and isinstance(small, MinimalGatedUnit):
        # They read the features and the memory, joined: both may have become wider.
        for new, old in ((large.gate, small.gate), (large.candidate, small.candidate)):
            _widen(new, old, old.in_channels - small.hidden, new.in_channels - large.hidden)
    elif isinstance(large, nn.Conv2d) and isinstance(small, nn.Conv2d):
        _widen(large, small, small.in_channels, large.in_channels)
    elif not (*large.children(), *small.children()):
        _same(large, small)
    else:
        mates = dict(small.named_children())
        for name, child in large.named_children():
            if name in mates:
                widen(child, mates.pop(name))
            elif isinstance(child, ResidualBlock):
                start_at(child.second, 0.0)
            else:
                raise DerainError(f"The smaller network lacks '{name}'; leave `widen` out.")
        if mates:
            raise DerainError(f"The larger network lacks '{next(iter(mates))}'; leave `widen` out.")


def _widen(large: nn.Conv2d, small: nn.Conv2d, old_inputs: int, inputs: int) -> None:
    """The first `old_inputs` channels that `small` reads stay first, others follow `inputs`."""
    rows, columns = small.out_channels, small.in_channels
    if rows > large.out_channels or columns > large.in_channels or old_inputs > inputs:
        raise DerainError("`widen` wants init to be of a network with fewer channels, not more.")
    large.weight[:rows] = 0
    large.weight[:rows, :old_inputs] = small.weight[:, :old_inputs]
    large.weight[:rows, inputs : inputs + columns - old_inputs] = small.weight[:, old_inputs:]
    if large.bias is not None and small.bias is not None:
        large.bias[:rows] = small.bias


def _same(large: nn.Module, small: nn.Module) -> None:
    try:
        large.load_state_dict(small.state_dict())
    except RuntimeError as error:
        raise DerainError("`widen` knows of wider convolutions alone; leave it out.") from error
