"""The paper's own network, as its authors have it and corrected; `align` fetches its neighbours."""

from __future__ import annotations

from derain.models.errors import DerainError
from derain.models.networks.two_stage.aligned import AlignedTwoStage
from derain.models.networks.two_stage.convert import convert_reference, recognises
from derain.models.networks.two_stage.network import TwoStage
from derain.models.networks.two_stage.stages import ReferenceStages, State

__all__ = [
    "AlignedTwoStage",
    "ReferenceStages",
    "State",
    "TwoStage",
    "build",
    "convert_reference",
    "recognises",
]


def build(
    variant: str = "corrected",
    width: int = 16,
    blocks: int = 3,
    unshuffle: int = 2,
    align: bool = False,
) -> TwoStage | AlignedTwoStage:
    """The network of these settings.

    Args:
        variant: "corrected" or "reference".
        width: channels n at the finest scale; 2n and 4n below. The authors have 32.
        blocks: residual blocks before each ConvLSTM. The authors have 5.
        unshuffle: the finest scale is 1/unshuffle of the image. 1 in the reference.
        align: whether neighbours are fetched along the motion; not in the reference.

    Raises:
        DerainError: an unknown variant, or a reference that is unshuffled or aligned.
    """
    if not align:
        return TwoStage(variant, width, blocks, unshuffle)
    if variant != "corrected":
        raise DerainError("two_stage aligns its neighbours in the variant 'corrected' alone.")
    return AlignedTwoStage(width, blocks, unshuffle)
