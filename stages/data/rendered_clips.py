"""Training data: clean clips in, batches of rainy clips with every layer of the rain out.

Each sample is drawn from (seed, index) alone, so a run can be resumed at any step. Clips are
decoded once into memory-mapped arrays. Rain is rendered by rain.py or cut out of real films
(rainy_films.py), artefacts are in augment.py and codec.py.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from derain.configs.training import DataConfig
from derain.models.errors import DerainError
from derain.models.ops.image_arrays import to_tensor
from derain.stages.data import augment
from derain.stages.data.clip_cache import store_clip
from derain.stages.data.codec import film_clip, sample_camera, sample_codec
from derain.stages.data.rain import Rain, RainSettings, render_rain, sample_settings
from derain.stages.data.rainy_films import film_pair, lay_rain_over
from derain.stages.data.thumbnails import draw_thumbnails

VIDEO_SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v"}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
UNKNOWN = -1.0
CAPTION_WEIGHT = 16.0  # of the error on captions: they are few pixels, and people read them


class Batch(NamedTuple):
    """What a training step gets, float32, each (B, T, C, H, W)."""

    rainy: Tensor
    clean: Tensor
    transmission: Tensor  # C = 1
    airlight: Tensor  # C = 3, H = W = 1
    streaks: Tensor
    occlusion: Tensor  # C = 1; UNKNOWN where nobody knows which rain is drops and which streaks
    boldness: Tensor  # (B, 1, 1, 1) in [0, 1], what the network is asked for
    weight: Tensor  # C = 1: of the squared error; 0 where nobody knows the truth
    # Small whole frames for a haze estimator (thumbnails.py), with their number in the place of T.
    thumbnails: Tensor = torch.empty(0)
    thumbnail_streaks: Tensor = torch.empty(0)
    thumbnail_transmission: Tensor = torch.empty(0)
    thumbnail_airlight: Tensor = torch.empty(0)


class Samples(Dataset[Batch]):
    """What training draws from: sample `index` depends on a seed and on `index` alone."""

    config: DataConfig
    length: int

    def __len__(self) -> int:
        return self.length


def find_clips(folder: Path, licence_classes: tuple[str, ...] | None = None) -> list[Path]:
    """Videos, and folders of frames, in `folder`; filtered by MANIFEST.csv beside it if asked.

    Raises:
        DerainError: no such folder, nothing in it that may be used, or no MANIFEST.csv.
    """
    if not folder.is_dir():
        raise DerainError(f"There is no folder {folder}; set data.clips to your clean clips.")
    clips = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in VIDEO_SUFFIXES]
    clips += [p for p in sorted(folder.iterdir()) if p.is_dir() and frame_files(p)]
    if licence_classes is not None:
        table = folder.parent / "MANIFEST.csv"
        if not table.is_file():
            raise DerainError(f"licence_classes needs {table}, which names each clip's licence.")
        with table.open(newline="") as file:
            allowed = {
                Path(row["file"]).name
                for row in csv.DictReader(file)
                if row["licence_class"] in licence_classes
            }
        clips = [p for p in clips if p.name in allowed]
    if not clips:
        raise DerainError(f"{folder} holds no videos and no folders of frames that may be used.")
    return clips


def frame_files(folder: Path) -> list[Path]:
    """The images of a frame folder, in order of their names; 2.jpg comes before 10.jpg."""
    files = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(files, key=natural_order)


def natural_order(path: Path) -> list[tuple[int, str]]:
    """A key that sorts numbers in names by their value."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def read_clip(path: Path) -> np.ndarray:
    """All frames of a video or a frame folder: (T, H, W, 3) uint8 RGB.

    OpenCV reads here, so that training runs where PyAV is missing; users' files go another way
    (derain.pipeline.video), which keeps colour and time exact.

    Raises:
        DerainError: there are no frames, or they differ in size.
    """
    frames = []
    if path.is_dir():
        frames = [cv2.imread(str(p), cv2.IMREAD_COLOR) for p in frame_files(path)]
    else:
        capture = cv2.VideoCapture(str(path))
        while True:
            ok, frame = capture.read()
            if not ok:
                break
            frames.append(frame)
        capture.release()
    if not frames or any(f is None or f.shape != frames[0].shape for f in frames):
        raise DerainError(f"{path} cannot be read as a clip of equal frames.")
    return np.stack(frames)[..., ::-1]


def cached_clip(path: Path, cache: Path) -> Path:
    """The clip as a .npy file that can be memory-mapped, decoded on first use."""
    return store_clip(path, cache, read_clip)


@dataclass
class RainyClips(Samples):
    """Clean clips with rain laid over on the fly, and films of real rain."""

    files: list[Path]  # .npy, from cached_clip
    config: DataConfig
    seed: int
    length: int
    films: list[Path] = field(default_factory=list)  # of real rain (rainy_films.py)

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng((self.seed, index))
        config = self.config
        if self.films and rng.random() < config.film_prob:
            return self._film(rng)
        clip = to_tensor(self._clean(rng))
        clip = augment.colour_shift(clip, rng)
        if rng.random() < config.night_prob:
            clip = augment.night(clip, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        settings = sample_settings(generator, haze_prob=config.haze_prob)
        wet = rng.random() >= config.clean_prob
        cut_out = wet and bool(self.films) and rng.random() < config.layers_prob
        if not wet or (cut_out and rng.random() < 0.6):
            settings = RainSettings(layers=())
        factor = float(rng.uniform(0.7, 1.4))
        rain = render_rain(clip, settings.scaled(factor), int(rng.integers(2**62)))
        rainy = lay_rain_over(rain.rainy, self.films, rng) if cut_out else rain.rainy
        rain = rain._replace(rainy=rainy)
        return _turned(self._finish(clip, rain, rng), config.turned_prob, rng)

    def _film(self, rng: np.random.Generator) -> Batch:
        """A piece of a film of real rain, with its truth as far as that is known."""
        config = self.config
        rainy, clean, weight = film_pair(self.films, config.frames, config.crop, rng)
        if rng.random() < config.repeat_prob:
            order = augment.repeats(len(clean), rng)
            rainy, clean, weight = rainy[order], clean[order], weight[order]
        if rng.random() < config.overlay_prob:
            layer = to_tensor(augment.overlay(config.crop, rng))
            rainy, clean = augment.lay_over(rainy, layer), augment.lay_over(clean, layer)
            weight = torch.maximum(weight, _caption_weight(layer))
        if rng.random() < config.codec_prob / 2:  # the film has been through one already
            camera, codec = sample_camera(rng), sample_codec(rng, config.crop**2)
            rainy, clean = (film_clip(x, camera, codec) for x in (rainy, clean))
        batch = Batch(
            rainy=rainy,
            clean=clean,
            transmission=torch.ones_like(weight),
            airlight=torch.ones_like(rainy[..., :1, :1]),
            streaks=rainy - clean,
            occlusion=torch.full_like(weight, UNKNOWN),
            boldness=augment.boldness(rng),
            weight=weight,
        )
        return _turned(batch, config.turned_prob, rng)

    def _clean(self, rng: np.random.Generator) -> np.ndarray:
        """(T, crop, crop, 3) uint8 from one of the clips."""
        frames, crop = self.config.frames, self.config.crop
        clip = np.load(self.files[rng.integers(len(self.files))], mmap_mode="r")
        if rng.random() < self.config.still_prob:
            return augment.panned_still(np.array(clip[rng.integers(len(clip))]), frames, crop, rng)
        order = np.arange(frames) * int(rng.choice([1, 2, 3, 4], p=[0.7, 0.18, 0.07, 0.05]))
        if rng.random() < 0.1 and frames > 1:
            order[rng.integers(1, frames) :] += rng.integers(1, 4)  # the camera jerks
        if order[-1] >= len(clip):
            order = np.arange(frames) % max(1, len(clip))
        order = order + rng.integers(0, max(1, len(clip) - order[-1]))
        low, high = self.config.scale
        height, width = clip.shape[1:3]
        scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        side = min(round(crop / scale), height, width)
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        part = clip[order, top : top + side, left : left + side]
        if rng.random() < 0.5:
            part = part[:, :, ::-1]
        how = cv2.INTER_AREA if side > crop else cv2.INTER_CUBIC
        return np.stack(
            [cv2.resize(np.ascontiguousarray(f), (crop, crop), interpolation=how) for f in part]
        )

    def _finish(self, clean: Tensor, rain: Rain, rng: np.random.Generator) -> Batch:
        """Overlays and camera artefacts, after the rain, as a camera and an editor would."""
        config = self.config
        rainy, transmission = rain.rainy, rain.transmission
        streaks, occlusion = rain.streaks, rain.occlusion
        weight = torch.ones_like(clean[:, :1])
        if rng.random() < config.repeat_prob:
            order = augment.repeats(len(clean), rng)
            rainy, clean, transmission = rainy[order], clean[order], transmission[order]
            streaks, occlusion = streaks[order], occlusion[order]
        if rng.random() < config.overlay_prob:
            layer = to_tensor(augment.overlay(config.crop, rng))
            rainy, clean = augment.lay_over(rainy, layer), augment.lay_over(clean, layer)
            bare = 1 - layer[3:]  # what is laid over is not wet
            streaks, occlusion = streaks * bare, occlusion * bare
            weight = torch.maximum(weight, _caption_weight(layer))
        restore = rng.random() < config.restore_prob
        if rng.random() < config.noise_prob:
            noise = augment.camera_noise(clean.shape, rng)
            rainy = (rainy + noise).clamp(0, 1)
            clean = clean if restore else (clean + noise).clamp(0, 1)
        if rng.random() < config.jpeg_prob:
            quality = int(rng.integers(40, 96))
            rainy = augment.jpeg(rainy, quality)
            clean = clean if restore else augment.jpeg(clean, quality)
        if rng.random() < config.codec_prob:
            camera, codec = sample_camera(rng), sample_codec(rng, config.crop**2)
            rainy = film_clip(rainy, camera, codec)
            if rng.random() >= config.codec_restore_prob:
                clean = film_clip(clean, camera, codec)
        batch = Batch(
            rainy=rainy,
            clean=clean,
            transmission=transmission,
            airlight=rain.airlight.expand(len(clean), -1, -1, -1),
            streaks=streaks,
            occlusion=occlusion,
            boldness=augment.boldness(rng),
            weight=weight,
        )
        if not config.thumbnails:
            return batch
        thumbnails = draw_thumbnails(self.files, config.thumbnails, rng, config.haze_prob)
        return batch._replace(
            thumbnails=thumbnails.clean,
            thumbnail_streaks=thumbnails.streaks,
            thumbnail_transmission=thumbnails.transmission,
            thumbnail_airlight=thumbnails.airlight,
        )


def _caption_weight(layer: Tensor) -> Tensor:
    """(1, H, W) for an overlay (4, H, W): CAPTION_WEIGHT where it can be seen, else 0."""
    return CAPTION_WEIGHT * (layer[3:] > 0.05).float()


def _turned(batch: Batch, share: float, rng: np.random.Generator) -> Batch:
    """In a share of the samples, a film taken with a camera held upright: rain falls sideways."""
    if rng.random() >= share:
        return batch
    back = rng.random() < 0.5

    def turn(frames: Tensor) -> Tensor:
        frames = frames.transpose(-1, -2)
        return (frames.flip(-1) if back else frames).contiguous()

    names = ("rainy", "clean", "transmission", "streaks", "occlusion", "weight")
    return batch._replace(**{name: turn(getattr(batch, name)) for name in names})
