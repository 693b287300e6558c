"""The texture library of the rendered street and its atlas: all textures in one image, with mip levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.street.models import people
from dwnet.street.models.people import Wardrobe
from dwnet.street.models.vehicle_textures import PAINTS, vehicle_textures
from dwnet.street.models.vehicles import BODIES, BUS, Body
from dwnet.street.textures import houses, props
from dwnet.street.textures import synthesis as tx

MIP_LEVELS = 6
_PAD = 8
_ATLAS_WIDTH = 4096
VARIANTS = 4
"""Number of different libraries. The seed of a scene selects one."""


@dataclass(frozen=True)
class Atlas:
    """All textures in one image, with the mip levels below one another."""

    pixels: NDArray[np.uint8]
    """(h, w, 4): RGB and glow."""
    offset: NDArray[np.float32]
    """(N, 2) x, y of each texture's corner at level 0."""
    size: NDArray[np.float32]
    """(N, 2) width, height."""
    tiled: NDArray[np.float32]
    """(N,) 1 for textures that repeat."""
    level_top: NDArray[np.float32]
    """(MIP_LEVELS,) first row of each level."""
    alpha: tuple[tuple[NDArray[np.uint8], ...] | None, ...]
    """Masks of each texture at all mip levels; None for a texture without holes."""

    @cached_property
    def has_holes(self) -> NDArray[np.bool_]:
        """(N,) whether the texture has a mask."""
        return np.array([mask is not None for mask in self.alpha])


def pack(textures: Sequence[tx.Texture]) -> Atlas:
    """Returns the atlas of the textures. They are placed in rows, the tallest first."""
    heights = np.array([t.colour.shape[0] for t in textures])
    offset = np.zeros((len(textures), 2), np.float32)
    x = y = row = 0
    for index in np.argsort(-heights, kind="stable"):
        height, width = textures[index].colour.shape[:2]
        if x + width + 2 * _PAD > _ATLAS_WIDTH:
            x, y, row = 0, y + row, 0
        row = max(row, height + 2 * _PAD)
        offset[index] = (x + _PAD, y + _PAD)
        x += width + 2 * _PAD
    step = 2**MIP_LEVELS
    base = np.zeros((-(-(y + row) // step) * step, _ATLAS_WIDTH, 4), np.uint8)
    for texture, (left, top) in zip(textures, offset.astype(int), strict=True):
        height, width = texture.colour.shape[:2]
        image = np.zeros((height, width, 4), np.uint8)
        image[..., :3] = np.clip(texture.colour * 255 + 0.5, 0, 255)
        if texture.glow is not None:
            image[..., 3] = np.clip(texture.glow * 255, 0, 255)
        border = cv2.BORDER_WRAP if texture.tiled else cv2.BORDER_REPLICATE
        padded = cv2.copyMakeBorder(image, _PAD, _PAD, _PAD, _PAD, border)
        base[top - _PAD : top + height + _PAD, left - _PAD : left + width + _PAD] = padded
    levels = [base]
    for _ in range(MIP_LEVELS - 1):
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    tops = np.cumsum([0] + [level.shape[0] for level in levels[:-1]]).astype(np.float32)
    pixels = np.zeros((sum(level.shape[0] for level in levels), _ATLAS_WIDTH, 4), np.uint8)
    for top, level in zip(tops.astype(int), levels, strict=True):
        pixels[top : top + level.shape[0], : level.shape[1]] = level
    return Atlas(
        pixels,
        offset,
        np.array([t.colour.shape[1::-1] for t in textures], np.float32),
        np.array([t.tiled for t in textures], np.float32),
        tops,
        tuple(None if t.alpha is None else _mask_levels(t.alpha) for t in textures),
    )


def _mask_levels(alpha: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    levels = [alpha]
    for _ in range(MIP_LEVELS - 1):
        height, width = (max(1, side // 2) for side in levels[-1].shape)
        levels.append(cv2.resize(levels[-1], (width, height), interpolation=cv2.INTER_AREA))
    # Averaging reduces thin bars and twigs to values below the threshold. The factor keeps them visible.
    return tuple(np.clip(level.astype(np.float32) * 1.3**n, 0, 255).astype(np.uint8) for n, level in enumerate(levels))


@dataclass(frozen=True)
class Facade:
    """A house front in the library."""

    texture: int
    width_m: float
    height_m: float
    shop: bool


@dataclass(frozen=True)
class Library:
    """The textures and parts that a world is built from. Parts refer to textures by id."""

    atlas: Atlas
    names: dict[str, tuple[int, ...]]
    facades: tuple[Facade, ...]
    vehicles: tuple[tuple[Body, tuple[int, ...]], ...]
    wardrobe: Wardrobe

    def __getitem__(self, name: str) -> int:
        return self.names[name][0]


@lru_cache(maxsize=VARIANTS)
def library(variant: int) -> Library:
    """Returns library number `variant`, 0..VARIANTS-1. It is made once per process, in one or two seconds."""
    rng = np.random.default_rng([0x57_2E_E7, variant])
    textures: list[tx.Texture] = []
    names: dict[str, tuple[int, ...]] = {}

    def put(name: str, *made: tx.Texture) -> tuple[int, ...]:
        ids = tuple(range(len(textures), len(textures) + len(made)))
        textures.extend(made)
        names[name] = ids
        return ids

    put("asphalt", tx.asphalt(rng))
    put("paint", tx.road_paint(rng, (0.80, 0.80, 0.77)))
    put("yellow", tx.road_paint(rng, (0.72, 0.60, 0.24)))
    put("paving", tx.paving(rng, (0.53, 0.51, 0.48)), tx.paving(rng, (0.56, 0.49, 0.43), rows=16, cols=8))
    put("kerb", tx.kerb_stone(rng))
    put("grass", tx.grass(rng))
    put("patch", tx.repair_patch(rng))
    put("manhole", tx.manhole(rng))
    put("sky_fair", tx.clouds(rng, 0.42, (0.47, 0.63, 0.84), (0.97, 0.97, 0.97)))
    put("sky_grey", tx.clouds(rng, 0.93, (0.66, 0.69, 0.73), (0.80, 0.81, 0.83)))
    put("sky_dusk", tx.clouds(rng, 0.55, (0.30, 0.36, 0.50), (0.56, 0.47, 0.46)))
    put("sky_night", tx.clouds(np.random.default_rng(variant), 0.75, (0.020, 0.024, 0.045), (0.085, 0.075, 0.075)))
    facades = []
    for _ in range(14):
        width_m, floors, shop = float(rng.uniform(6.5, 13)), int(rng.integers(2, 5)), bool(rng.random() < 0.6)
        made = houses.facade(rng, width_m, floors, shop=shop)
        facades.append(Facade(put("facade", made)[0], width_m, made.colour.shape[0] / houses.PX_PER_M, shop))
    put("gable", *(houses.gable(rng) for _ in range(4)))
    put(
        "slates",
        houses.slates(rng, (0.27, 0.27, 0.30)),
        houses.slates(rng, (0.44, 0.27, 0.20)),
        houses.slates(rng, (0.34, 0.31, 0.28)),
    )
    stripes = np.tile(np.repeat(np.array([[0.62, 0.14, 0.12], [0.82, 0.79, 0.72]], np.float32), 8, 0)[None], (32, 8, 1))
    put("awning", tx.Texture(stripes), tx.Texture(np.full((32, 64, 3), (0.10, 0.24, 0.20), np.float32)))
    greens = ((0.33, 0.41, 0.17), (0.27, 0.36, 0.17), (0.40, 0.40, 0.16))
    put("foliage", *(props.foliage(rng, green) for green in greens for _ in range(2)))
    put("bare", *(props.bare_tree(rng) for _ in range(3)))
    put("bark", props.bark(rng, (0.33, 0.28, 0.23)))
    put("hedge", props.hedge(rng))
    put("pole", *(props.cylinder(rng, c) for c in ((0.46, 0.48, 0.49), (0.13, 0.13, 0.14), (0.16, 0.25, 0.20))))
    put("lamp", tx.Texture(np.full((8, 16, 3), 0.62, np.float32), glow=np.ones((8, 16), np.float32)))
    put("bollard", props.cylinder(rng, (0.12, 0.12, 0.12)))
    put("railings", props.railings(rng))
    put("boards", props.boards(rng))
    put("signs", *(props.sign_plate(rng, kind) for kind in (0, 1, 2, 2, 3)))
    put("sign_back", props.sign_plate(rng, 4))
    put("light", *(props.traffic_light(lamp) for lamp in (0, 1, 2)))
    put("light_back", props.traffic_light(-1))
    vehicles = []
    order = rng.permutation(len(PAINTS))
    for number in range(9):
        body = BODIES[number % 3]
        vehicles.append((body, put("vehicle", *vehicle_textures(rng, body, PAINTS[order[number % len(PAINTS)]]))))
    vans = ((0.80, 0.80, 0.79), (0.17, 0.22, 0.30))
    vehicles.extend((BODIES[3], put("vehicle", *vehicle_textures(rng, BODIES[3], paint))) for paint in vans)
    bus_paint = ((0.55, 0.06, 0.06), (0.17, 0.27, 0.40))[variant % 2]
    vehicles.append((BUS, put("vehicle", *vehicle_textures(rng, BUS, bus_paint))))
    put("bicycle_wheel", people.bicycle_wheel())
    tyre = tx.Texture(np.full((16, 16, 3), 0.055, np.float32))
    put("black", tyre)
    hair = ((0.10, 0.07, 0.05), (0.30, 0.20, 0.10), (0.45, 0.42, 0.38))
    wardrobe = Wardrobe(
        torso=put("torso", *(people.cloth(rng, c, torso=True) for c in people.CLOTHES)),
        sleeve=put("sleeve", *(people.cloth(rng, c) for c in people.CLOTHES)),
        thigh=put("thigh", *(people.cloth(rng, c) for c in people.TROUSERS)),
        shin=put("shin", *(people.shin(rng, c) for c in people.TROUSERS)),
        head=put("head", *(people.head(rng, s, h) for s in people.SKINS for h in hair)),
        bag=put("bag", people.cloth(rng, (0.30, 0.17, 0.10)))[0],
        tube=put("tube", props.cylinder(rng, (0.16, 0.18, 0.30)))[0],
    )
    return Library(pack(textures), names, tuple(facades), tuple(vehicles), wardrobe)
