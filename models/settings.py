"""What each network can be built with, and within which limits.

Settings come from presets, from the command line and from weight files of anybody; what passes here
builds a network that fits into a machine. What a setting means is in the network's own file.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from derain.configs.schema import Strict

Channels = Annotated[int, Field(strict=True, ge=1, le=512)]
Blocks = Annotated[int, Field(strict=True, ge=1, le=64)]
Repeats = Annotated[int, Field(strict=True, ge=0, le=64)]
Hidden = Annotated[int, Field(strict=True, ge=0, le=512)]
Stages = Annotated[int, Field(strict=True, ge=1, le=32)]
Flag = Annotated[bool, Field(strict=True)]
Brightness = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


class SwiftSettings(Strict):
    """Of `networks.swift.Swift`."""

    widths: tuple[Channels, Channels, Channels] = (24, 40, 56)
    blocks: tuple[Repeats, Repeats] = (1, 2)
    hidden: Hidden = 24
    stages: Literal[1, 2] = 2
    recurrent: Flag = True


class MedianSettings(Strict):
    """Of `networks.median.AlignedMedian`."""

    brighter: Brightness = 0.012
    agree: Brightness = 0.10
    soft: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] = 0.012


class TwoStageSettings(Strict):
    """Of `networks.two_stage.build`."""

    variant: Literal["corrected", "reference"] = "corrected"
    width: Channels = 16
    blocks: Blocks = 3
    unshuffle: Annotated[int, Field(strict=True, ge=1, le=8)] = 2
    align: bool = False


class RescanSettings(Strict):
    """Of `networks.rescan.Rescan`."""

    unit: Literal["conv", "rnn", "gru", "lstm"] = "gru"
    composition: Literal["full", "add"] = "full"
    channels: Channels = 24
    depth: Annotated[int, Field(strict=True, ge=3, le=16)] = 7  # dilations double with it
    stages: Stages = 4
    se_hidden: Hidden = 6


class ReMAENSettings(Strict):
    """Of `networks.remaen.ReMAEN`."""

    stages: Stages = 3
    channels: Channels = 32
    se_hidden: Channels = 8


class DcsfnSettings(Strict):
    """Of `networks.dcsfn.Dcsfn`."""

    channels: Channels = 20
    blocks: Blocks = 16
    convs: Annotated[int, Field(strict=True, ge=1, le=16)] = 4
    scales: Literal[2, 3, 4] = 4
    unit: Literal["gru", "lstm", "rnn"] = "gru"
    cross: Flag = True
    single: Flag = False
    native: Flag = False


class SPANetSettings(Strict):
    """Of `networks.spanet.SPANet`."""

    channels: Channels = 32
    direction_gate: Flag = False


# Names that settings had in weight files and presets of version 0.1.0.
RENAMED: dict[type[Strict], dict[str, str]] = {SwiftSettings: {"memory": "recurrent"}}
