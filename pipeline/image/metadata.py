"""What an image says of itself besides its pixels, read by Pillow, and as a new file may say it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from derain.pipeline.image.formats import ImageFormat, Kind

# Of a TIFF, tags that say how its pixels are stored: 254 to 283 but for names and dates, then
# palettes, tiles, samples, JPEG tables, YCbCr, and what is kept apart (XMP, IPTC, Photoshop, ICC).
STORAGE = {*range(254, 270), *range(273, 283), 284, 290, 291, 292, 293, 296, 301, 317, 318, 319}
STORAGE |= {*range(320, 337), *range(338, 349), *range(512, 522), *range(529, 533)}
STORAGE |= {700, 33723, 34377, 34675, 50838, 50839}
# XMP with these words speaks of parts of the old file: gain maps, depth, the film of a live photo.
PARTS = (b"hdrgm", b"HDRGainMap", b"GContainer", b"GDepth", b"GImage", b"Motion", b"MicroVideo")
SEGMENT = 65_000  # bytes of one JPEG segment; EXIF and comments must fit into one
INCH = 0.0254  # metres


@dataclass(frozen=True, slots=True)
class Metadata:
    """Of an upright image; empty where there is none.

    unreadable: kinds that are there, but damaged or of a form that no new file gets.
    """

    exif: Image.Exif | None = None
    icc: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = field(default_factory=dict)
    cicp: bytes = b""
    unreadable: tuple[str, ...] = ()

    @property
    def kinds(self) -> list[Kind]:
        """What there is."""
        there: dict[Kind, object] = {
            "EXIF": self.exif,
            "colour profile": self.icc,
            "XMP": self.xmp,
            "resolution": self.dpi,
            "text": self.text,
            "colour tags (CICP)": self.cicp,
        }
        return [kind for kind, value in there.items() if value]


def read_metadata(image: Image.Image, data: bytes) -> Metadata:
    """The metadata of an opened image, as it is to be said of the upright, derained one.

    Args:
        image: opened by Pillow; its pixels need not be loaded.
        data: the file's bytes, for what Pillow passes over.
    """
    info, unreadable = image.info, []
    exif: Image.Exif | None = None
    try:
        exif = upright_exif(image)
    except Exception:  # damaged EXIF fails in any way
        unreadable.append("EXIF")
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    if any(word in xmp for word in PARTS):
        xmp = b""
        unreadable.append("XMP")
    if info.get("photoshop") or (image.format == "TIFF" and 33723 in image.getexif()):
        unreadable.append("IPTC")
    dpi = info.get("dpi")
    return Metadata(
        exif=exif,
        icc=info.get("icc_profile") or b"",
        xmp=xmp,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
        text=_text(image),
        cicp=next((body for name, body in png_chunks(data) if name == b"cICP"), b""),
        unreadable=tuple(unreadable),
    )


def upright_exif(image: Image.Image) -> Image.Exif | None:
    """EXIF without orientation and thumbnail, which would still show the rain; None if empty."""
    found = image.getexif()
    exif = Image.Exif()
    exif.load(found.tobytes())  # a copy; Pillow writes no thumbnail
    if image.format == "TIFF":
        for tag in STORAGE & set(exif):
            del exif[tag]
    exif.pop(ExifTags.Base.Orientation, None)
    return exif if len(exif) else None


def _text(image: Image.Image) -> dict[str, str]:
    """Comments of JPEG and GIF, and PNG's texts, but for XMP and old ways of keeping EXIF."""
    if image.format == "PNG":
        return {
            key: str(value)
            for key, value in getattr(image, "text", {}).items()
            if not key.startswith(("XML:", "Raw profile type"))
        }
    comment = image.info.get("comment", b"")
    text = comment.decode(errors="replace") if isinstance(comment, bytes) else str(comment)
    return {"Comment": text} if text else {}


def fitting(metadata: Metadata, format: ImageFormat, mode: str) -> Metadata:
    """The part of the metadata that `format` holds and that is true of an image of `mode`.

    Args:
        metadata: of the source.
        format: of the new image.
        mode: of the new image, in Pillow's words: L, LA, RGB or RGBA.
    """
    keeps = format.keeps
    # A profile of CMYK is not that of what was made of it, nor one of grey that of colours.
    space = b"GRAY" if mode in ("L", "LA") and format.name != "WEBP" else b"RGB "
    exif, text = metadata.exif, metadata.text
    if format.name == "JPEG":
        exif = exif if exif is not None and len(exif.tobytes()) <= SEGMENT else None
        text = text if sum(map(len, text.values())) <= SEGMENT else {}
    return Metadata(
        exif=exif if "EXIF" in keeps else None,
        icc=metadata.icc if "colour profile" in keeps and metadata.icc[16:20] == space else b"",
        xmp=metadata.xmp if "XMP" in keeps else b"",
        dpi=metadata.dpi if "resolution" in keeps else None,
        text=text if "text" in keeps else {},
        cicp=metadata.cicp if "colour tags (CICP)" in keeps else b"",
    )


def save_options(metadata: Metadata, format: ImageFormat) -> dict[str, object]:
    """Metadata that `fitting` gave, as options of Pillow's `save`; TIFF is tiff_writer.py's."""
    options: dict[str, object] = {}
    if metadata.exif is not None:
        options["exif"] = metadata.exif
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    if format.name == "PNG":
        options["pnginfo"] = _png_info(metadata)
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    if format.name == "JPEG" and metadata.text:
        options["comment"] = "\n".join(metadata.text.values())
    return options


def _png_info(metadata: Metadata) -> PngInfo:
    info = PngInfo()
    if metadata.cicp:
        info.add(b"cICP", metadata.cicp)
    if metadata.xmp:
        info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode(errors="replace"))
    for key, value in metadata.text.items():
        info.add_itxt(key, value)
    return info


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a PNG's chunks up to its pixels; none of anything else."""
    place = 8 if data.startswith(b"\x89PNG\r\n\x1a\n") else len(data)
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        if name == b"IDAT":
            return
        yield name, data[place + 8 : place + 8 + size]
        place += size + 12


def label_png(data: bytes, metadata: Metadata) -> bytes:
    """A PNG without metadata, with it: for those of 16 bits, which Pillow does not write."""
    chunks = [(name, body) for name, body, *_ in _png_info(metadata).chunks]
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi:
        across, down = (round(each / INCH) for each in metadata.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if metadata.exif is not None:
        chunks.append((b"eXIf", metadata.exif.tobytes().removeprefix(b"Exif\0\0")))
    head = 8 + 25  # signature and IHDR
    return data[:head] + b"".join(_chunk(*chunk) for chunk in chunks) + data[head:]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
