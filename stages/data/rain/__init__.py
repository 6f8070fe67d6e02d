"""The rain model: renders rain on clean clips and gives every layer as a training target.

Reading clips belongs to rendered_clips.py, camera artefacts to augment.py and codec.py.
"""

from derain.stages.data.rain.light import haze_map
from derain.stages.data.rain.render import Rain, render_rain
from derain.stages.data.rain.sampling import sample_settings
from derain.stages.data.rain.settings import LensDrops, RainSettings, StreakLayer

__all__ = [
    "LensDrops",
    "Rain",
    "RainSettings",
    "StreakLayer",
    "haze_map",
    "render_rain",
    "sample_settings",
]
