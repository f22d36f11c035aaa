"""Photographs from files to tensors and back, keeping what each file is.

`photo` says what a photograph is, `reading` opens files of all kinds, `writing` writes them. Below
them stands one module for each thing that a kind of file needs:

    still decoding png jpeg colours       PNG, JPEG, WebP and BMP, by Pillow
    tiff_reading tiff_pages tiff_tags     TIFF of many pages and types, by tifffile and Pillow
    raw                                   DNG, by rawpy
    encoding tiff_writing                 what is written
    samples                               samples of all types to pixels and back
    exif directories packing              camera data, and the structure they share with TIFF
"""

from lessons_lib.images.jpeg import jpeg_quality
from lessons_lib.images.photo import MAX_PIXELS, ImageError, Mosaic, Photo
from lessons_lib.images.reading import Pictures, open_images, read_image
from lessons_lib.images.tiff_pages import MAX_PAGES
from lessons_lib.images.writing import FORMATS, check_writable, left_out, write_image, write_images

__all__ = [
    "FORMATS",
    "MAX_PAGES",
    "MAX_PIXELS",
    "ImageError",
    "Mosaic",
    "Photo",
    "Pictures",
    "check_writable",
    "jpeg_quality",
    "left_out",
    "open_images",
    "read_image",
    "write_image",
    "write_images",
]
