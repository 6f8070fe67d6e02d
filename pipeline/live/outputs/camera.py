"""A virtual camera: other programs of this machine choose the derained frames as their camera.

Needs pyvirtualcam (`pip install 'derain[camera]'`) and a driver: v4l2loopback on Linux, that of OBS
on macOS and Windows.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from av.video.reformatter import VideoReformatter

from derain.models.errors import DerainError
from derain.pipeline.live.outputs.compose import residual_at
from derain.pipeline.live.outputs.sound import Heard
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.video.color import Residual, to_bytes
from derain.pipeline.video.frames import reformat, to_rgb


def require_camera() -> None:
    """Refuse where the package is missing.

    Raises:
        DerainError: it is.
    """
    if find_spec("pyvirtualcam") is None:
        raise DerainError(
            "Virtual cameras are not installed: pip install 'derain[camera]', or leave --to "
            "camera: out."
        )


class VirtualCamera:
    """A camera with the size of the first frame.

    Args:
        device: the driver's name of it; empty for the first that is free.
        first: the first frame.
        rate: frames a second to declare.

    Raises:
        DerainError: there is no driver, or no free camera of it.
    """

    def __init__(self, device: str, first: Finished, rate: float) -> None:
        import pyvirtualcam  # an extra

        image = first.frame.image
        self.size = (image.width, image.height)
        self._scaler = VideoReformatter()
        try:
            self._camera = pyvirtualcam.Camera(*self.size, rate, device=device or None)
        except (RuntimeError, ValueError) as error:
            raise DerainError(
                f"There is no virtual camera to show in ({str(error).splitlines()[0]}); on Linux "
                "load v4l2loopback (sudo modprobe v4l2loopback), on macOS and Windows install OBS "
                "and start its virtual camera once."
            ) from error

    def write(self, item: Finished) -> None:
        """Show a frame."""
        image, color = item.frame.image, item.frame.color
        image = reformat(image, image.format.name, color, self._scaler, self.size)
        change = residual_at(item, self.size)
        if isinstance(change, Residual):
            change = change.whole()
        rgb = to_bytes(to_rgb(image, color, self._scaler) + change)
        self._camera.send(np.ascontiguousarray(rgb))

    def hear(self, heard: Heard) -> None:
        """Cameras have no sound."""

    def close(self) -> bool:
        """Let go of the device, which shows each frame at once."""
        self._camera.close()
        return True

    def kill(self) -> None:
        """Nothing here waits."""

    def fail(self) -> str:
        """Let go of it; the driver does not say why."""
        self.close()
        return "its driver takes nothing any more"
