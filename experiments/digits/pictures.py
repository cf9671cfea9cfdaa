"""Small square images with a line of text below."""

import math
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes


def picture(axes: Axes, pixels: np.ndarray, text: str = "", *, size: float = 7.5, **shades: Any) -> None:
    """Draw pixels [side * side] as an image without a frame: dark on white, or in other `shades` of matplotlib's imshow."""
    side = math.isqrt(len(pixels))
    axes.imshow(pixels.reshape(side, side), **({"cmap": "gray_r"} | shades))
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    sns.despine(ax=axes, left=True, bottom=True)
    axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", fontsize=size)
