"""Training data: clean clips in, batches of rainy clips with every layer of the rain out.

Each sample is drawn from (seed, index) alone, so a run can be resumed at any step. Clips are
decoded once into memory-mapped arrays. Rain is rendered by rain/ or cut out of real films
(rain/films.py), artefacts are in augment.py and codec.py, motion in camera_motion.py.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from derain.configs.training import DataConfig
from derain.models.errors import DerainError
from derain.models.ops.image_arrays import to_tensor
from derain.stages.data import augment
from derain.stages.data.batch import UNKNOWN, Batch, cropped, frozen, turned
from derain.stages.data.camera_motion import (
    Corner,
    Frames,
    measured_path,
    moving_view,
    panned_still,
    standing_view,
)
from derain.stages.data.clip_cache import store_clip
from derain.stages.data.codec import film_clip, sample_camera, sample_codec
from derain.stages.data.rain import Rain, RainSettings, render_rain, sample_settings
from derain.stages.data.rain.films import film_piece, lay_rain_over
from derain.stages.data.thumbnails import draw_thumbnails

VIDEO_SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v"}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
CAPTION_WEIGHT = 16.0  # of the error on captions: they are few pixels, and people read them


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
    films: list[Path] = field(default_factory=list)  # of real rain (rain/films.py)

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng((self.seed, index))
        config = self.config
        film = bool(self.films) and rng.random() < config.film_prob
        batch, corner = self._film(rng) if film else self._rendered(rng)
        if rng.random() < config.frozen_prob:  # neighbours that say nothing, as in a still image
            batch = frozen(batch, int(rng.integers(config.frames)))
        batch = cropped(batch, corner, config.crop, flows=config.flow_margin > 0)
        return turned(batch, config.turned_prob, rng)

    def _rendered(self, rng: np.random.Generator) -> tuple[Batch, Corner]:
        """A piece of a clean clip with rain laid over, and where the network's crop is in it."""
        config = self.config
        frames, corner = self._clean(rng)
        clip = augment.colour_shift(to_tensor(frames), rng)
        dark = rng.random() < config.night_prob
        if dark:
            clip = augment.night(clip, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        settings = sample_settings(
            generator, haze_prob=config.haze_prob, snow_prob=config.snow_prob
        )
        if dark and rng.random() < 0.7:
            settings = replace(settings, lamps=float(rng.uniform(0.3, 1)))
        wet = rng.random() >= config.clean_prob
        cut_out = wet and bool(self.films) and rng.random() < config.layers_prob
        if not wet or (cut_out and rng.random() < 0.6):
            settings = RainSettings(layers=())
        factor = float(rng.uniform(0.7, 1.4))
        camera = None
        if settings.layers and rng.random() < config.camera_prob:
            # What is near shifts by more than the scene where a camera does not only turn.
            parallax = float(rng.uniform(0.8, 1.5))
            camera = torch.from_numpy(measured_path(frames)) * parallax
        rain = render_rain(clip, settings.scaled(factor), int(rng.integers(2**62)), camera=camera)
        rainy = lay_rain_over(rain.rainy, self.films, rng) if cut_out else rain.rainy
        return self._finish(clip, rain._replace(rainy=rainy), corner, rng), corner

    def _film(self, rng: np.random.Generator) -> tuple[Batch, Corner]:
        """A piece of a film of real rain, with its truth as far as that is known."""
        config = self.config
        piece = film_piece(self.films, config.frames, config.crop, config.flow_margin, rng)
        rainy, clean, weight = piece.rainy, piece.clean, piece.certain
        if rng.random() < config.repeat_prob:
            order = augment.repeats(len(clean), rng)
            rainy, clean, weight = rainy[order], clean[order], weight[order]
        if rng.random() < config.overlay_prob:
            layer = self._overlay(clean, piece.corner, rng)
            rainy, clean = augment.lay_over(rainy, layer), augment.lay_over(clean, layer)
            weight = torch.maximum(weight, _caption_weight(layer))
        if rng.random() < config.codec_prob / 2:  # the film has been through one already
            rainy, clean = _filmed((rainy, clean), rng)
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
        return batch, piece.corner

    def _overlay(self, clean: Tensor, corner: Corner, rng: np.random.Generator) -> Tensor:
        """(4, H, W): a caption within the network's crop of a clip (T, 3, H, W)."""
        (y, x), crop = corner, self.config.crop
        ground = clean[len(clean) // 2, :, y : y + crop, x : x + crop].permute(1, 2, 0)
        drawn = augment.overlay((ground * 255).byte().numpy(), rng)
        layer = clean.new_zeros((4, *clean.shape[-2:]))
        layer[:, y : y + crop, x : x + crop] = to_tensor(drawn)
        return layer

    def _clean(self, rng: np.random.Generator) -> tuple[Frames, Corner]:
        """(T, H, W, 3) from one of the clips, and y and x of the network's crop in it."""
        frames, crop, margin = self.config.frames, self.config.crop, self.config.flow_margin
        clip = np.load(self.files[rng.integers(len(self.files))], mmap_mode="r")
        if rng.random() < self.config.still_prob:
            still = augment.repainted(np.array(clip[rng.integers(len(clip))]), rng)
            return panned_still(still, frames, crop + 2 * margin, rng), (margin, margin)
        order = np.arange(frames) * int(rng.choice([1, 2, 3, 4], p=[0.7, 0.18, 0.07, 0.05]))
        if rng.random() < 0.1 and frames > 1:
            order[rng.integers(1, frames) :] += rng.integers(1, 4)  # the camera jerks
        if order[-1] >= len(clip):
            order = np.arange(frames) % max(1, len(clip))
        order = order + rng.integers(0, max(1, len(clip) - order[-1]))
        low, high = self.config.scale
        size = (clip.shape[1], clip.shape[2])
        scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        side = min(round(crop / scale), *size)
        place = (int(rng.integers(0, size[0] - side + 1)), int(rng.integers(0, size[1] - side + 1)))
        view = standing_view(frames, size, side, place, crop, margin)
        if rng.random() < self.config.moving_prob:
            view = moving_view(view, size, rng)
        part = view.cut(clip[order])
        return (
            (part[:, :, ::-1], view.mirrored(crop)) if rng.random() < 0.5 else (part, view.corner)
        )

    def _finish(self, clean: Tensor, rain: Rain, corner: Corner, rng: np.random.Generator) -> Batch:
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
            layer = self._overlay(clean, corner, rng)
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
            filmed = _filmed((rainy, clean), rng)
            rainy = filmed[0]
            if rng.random() >= config.codec_restore_prob:
                clean = filmed[1]
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


def _filmed(clips: tuple[Tensor, Tensor], rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Clips (T, 3, H, W) as one camera and one codec leave them."""
    camera, codec = sample_camera(rng), sample_codec(rng, clips[0][0, 0].numel())
    return tuple(film_clip(clip, camera, codec) for clip in clips)
