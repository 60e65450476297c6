"""Pictures larger than the network's input: scored in overlapping tiles, with one map at the picture's own size.

Taught in: the page on the library.
"""

from collections.abc import Callable

import numpy as np
import torch


def tiles(height: int, width: int, tile: int, overlap: int | None = None) -> tuple[list[int], list[int]]:
    """Where square tiles begin, in rows and in columns, evenly spread over all of (height, width).

    ``overlap``: px that neighbours share at least (None: a quarter of the side). Raises ValueError for a picture
    smaller than a tile, and an overlap that is no part of one.
    """
    overlap = tile // 4 if overlap is None else overlap
    if min(height, width) < tile or not 0 <= overlap < tile:
        got = f"{tile} px with an overlap of {overlap} for a picture of {width}×{height}"
        raise ValueError(f"expected tiles no larger than the picture and an overlap smaller than a tile, got {got}")
    counts = [-(-(side - tile) // (tile - overlap)) + 1 for side in (height, width)]
    rows, columns = (
        np.linspace(0, s - tile, n).round().astype(int) for s, n in zip((height, width), counts, strict=True)
    )
    return rows.tolist(), columns.tolist()


def score_in_tiles(image, maps_of: Callable, tile: int, overlap: int | None = None, batch: int = 16):
    """The map (H, W) float32 of one large picture (C, H, W), and the scores of its tiles (rows, columns).

    ``maps_of(tiles)``: the maps (n, tile, tile) of tiles (n, C, tile, tile), or a pair, those and scores (n,); without
    scores each is the largest value of its map. Where tiles overlap the maps are averaged with weights that fall off
    towards the edges, so that no seam shows.
    """
    image = torch.as_tensor(image)
    rows, columns = tiles(image.shape[1], image.shape[2], tile, overlap)
    places = [(slice(top, top + tile), slice(left, left + tile)) for top in rows for left in columns]
    ramp = np.minimum(np.arange(1, tile + 1), np.arange(tile, 0, -1)).astype(np.float32) / tile
    weight = ramp[:, None] * ramp
    total, weights, scores = *np.zeros((2, *image.shape[1:]), np.float32), []
    for start in range(0, len(places), batch):
        some = places[start : start + batch]
        got = maps_of(torch.stack([image[:, down, across] for down, across in some]))
        maps, values = got if isinstance(got, tuple) else (got, np.max(got, (1, 2)))
        scores.extend(np.asarray(values).tolist())
        for place, each in zip(some, np.asarray(maps), strict=True):
            total[place] += weight * each
            weights[place] += weight
    return total / weights, np.reshape(scores, (len(rows), len(columns)))
