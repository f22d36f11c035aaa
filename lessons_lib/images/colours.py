"""Print colours (CMYK) become those of a screen, by the profile that the file brings along."""

import io
from pathlib import Path

from PIL import Image, ImageCms

from lessons_lib.images.photo import ImageError


def to_srgb(path: Path | str, image: Image.Image, profile: bytes) -> Image.Image:
    """A decoded CMYK image in sRGB: relative colorimetric, black on black.

    Raises:
        ImageError: the file has no profile of its inks, or one that cannot be used. Without it
            nobody knows which colours they are.
    """
    # The colour space that a profile is for stands in its header (ICC.1 §7.2.6).
    if profile[16:20] != b"CMYK":
        raise ImageError(
            f"{path}: has CMYK colours and no colour profile for them; convert it to RGB first"
        )
    try:
        done = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise ImageError(f"{path}: its CMYK colour profile cannot be used: {error}") from error
    assert done is not None  # None is for the inPlace form
    return done


def srgb_profile() -> bytes:
    """The profile of what `to_srgb` returns, the same on every day."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Bytes 24 to 35 are the time at which it was made.
    return profile[:24] + bytes.fromhex("07d00001000100000000 0000") + profile[36:]
