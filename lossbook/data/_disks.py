"""Small bright disks in noise: images whose foreground is rare."""

from collections.abc import Sequence

import numpy as np

from lossbook.data._task import Task

MOST = 3  # disks in one image
RADII = (1.2, 2.2)  # in pixels
BRIGHTNESS = (0.5, 1.5)


def disks(
    n: int,
    *,
    size: int = 32,
    noise: float = 0.5,
    empty: float = 0.0,
    rng: np.random.Generator,
) -> Task:
    """Draw images with one to three small disks, and the mask of each.

    A disk's radius is between 1.2 and 2.2 pixels and its brightness between 0.5 and
    1.5, on a background of 0; where disks meet, the brighter one shows. Then Gaussian
    noise is added to every pixel. Of 32 x 32 pixels one or two in a hundred belong to
    a disk.

    Args:
        n: number of images.
        size: pixels on each side, at least 8.
        noise: standard deviation of the noise.
        empty: the share of images without a disk; round(n * empty) of them.
        rng: the generator to draw from.

    Returns:
        inputs (n, size, size) and labels (n, size, size), 1 where a disk is, images in
        random order. A mask tells of a disk that noise may hide.

    Raises:
        ValueError: for images too small to hold a disk, or a share outside of 0 to 1.

    >>> task = disks(4, empty=0.25, rng=np.random.default_rng(0))
    >>> task.inputs.shape, int((task.labels.sum((1, 2)) == 0).sum())
    ((4, 32, 32), 1)
    """
    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, got {size}")
    if not 0 <= empty <= 1:
        raise ValueError(f"empty must lie between 0 and 1, got {empty:g}")
    filled = rng.permutation(np.arange(n) >= round(n * empty))
    counts = np.where(filled, rng.integers(1, MOST + 1, size=n), 0)
    shown = np.arange(MOST) < counts[:, None]
    # A center keeps its distance from the edge, so that no disk is cut off.
    room = RADII[1] + 0.5
    centers = rng.uniform(room, size - 1 - room, size=(n, MOST, 2))
    radii = rng.uniform(*RADII, size=(n, MOST))
    brightness = rng.uniform(*BRIGHTNESS, size=(n, MOST))
    y, x = np.mgrid[:size, :size]
    away = np.hypot(
        y - centers[..., 0, None, None], x - centers[..., 1, None, None]
    )  # (n, MOST, size, size)
    inside = (away <= radii[..., None, None]) & shown[..., None, None]
    clean = (inside * brightness[..., None, None]).max(1)
    inputs = clean + noise * rng.normal(size=clean.shape)
    return Task(inputs=inputs, labels=inside.any(1).astype(int))


def surroundings(
    images: np.ndarray, widths: Sequence[int] = (1, 3, 5, 9)
) -> np.ndarray:
    """Return what a pixel knows of its surroundings: means over squares around it.

    Args:
        images: (..., height, width).
        widths: of the squares, in pixels; 1 is the pixel itself. Beyond the edge the
            image goes on with its last pixel.

    Returns:
        (..., height * width, len(widths)), the pixels row by row.

    >>> surroundings(np.eye(3), widths=[1, 3])[4].round(2)
    array([1.  , 0.33])
    """
    from scipy.ndimage import uniform_filter

    means = [
        uniform_filter(images, width, mode="nearest", axes=(-2, -1)) for width in widths
    ]
    return np.stack([m.reshape(*m.shape[:-2], -1) for m in means], -1)
