"""Textures of the rendered street's plants and furniture: leaves, branches, posts, railings, signs, lights."""

from __future__ import annotations

import cv2
import numpy as np

from dwnet.street.textures.synthesis import Colour, Generator, Texture, flat, fractal_noise, rectangle, shaded, write


def foliage(rng: Generator, base: Colour, size: int = 320, leaves: int = 2600) -> Texture:
    """A clump of leaves: ellipses, dark inside and below, bright at the top."""
    colour = flat(size, size, base) * 0.42
    alpha = np.zeros((size, size), np.uint8)
    lobes = rng.uniform(0.26, 0.74, (9, 2)) * size
    radii = rng.uniform(0.12, 0.23, 9) * size
    order = np.sort(rng.random(leaves))
    for depth in order:  # from the back (dark) to the front (light)
        lobe = int(rng.integers(len(lobes)))
        offset = rng.normal(0, 0.55, 2)
        offset *= min(1.0, 1.05 / (np.hypot(*offset) + 1e-6))
        x, y = lobes[lobe] + offset * radii[lobe]
        light = 0.40 + 0.55 * depth - 0.42 * offset[1] * 0.7 - 0.22 * (y / size - 0.5) + rng.normal(0, 0.09)
        bright = max(0.25, light + 0.15)
        shifts = rng.standard_normal(3).tolist()  # Python floats: NumPy is slower for three numbers
        tint = [min(max(b * bright * (1 + 0.06 * shift), 0.0), 1.0) for b, shift in zip(base, shifts, strict=True)]
        centre, axes = (int(x), int(y)), (int(rng.integers(2, 6)), int(rng.integers(1, 4)))
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(colour, centre, axes, angle, 0, 360, tint, -1)
        cv2.ellipse(alpha, centre, axes, angle, 0, 360, 255, -1)
    return Texture(colour, alpha=alpha)


def bare_tree(rng: Generator, size: int = 512) -> Texture:
    """A tree in winter: trunk at the bottom middle, branches drawn recursively."""
    alpha = np.zeros((size, size), np.uint8)
    colour = flat(size, size, (0.27, 0.235, 0.20))
    stack = [(size / 2, size - 1.0, -np.pi / 2, size * 0.21, size * 0.034)]
    while stack:
        x, y, angle, length, thick = stack.pop()
        end_x, end_y = x + length * np.cos(angle), y + length * np.sin(angle)
        width = max(1, round(thick))
        cv2.line(alpha, (int(x), int(y)), (int(end_x), int(end_y)), 255, width)
        cv2.line(
            colour,
            (int(x - thick / 4), int(y)),
            (int(end_x - thick / 4), int(end_y)),
            (0.36, 0.32, 0.28),
            max(1, width // 3),
        )
        if length < size * 0.022:
            continue
        for _ in range(2 if rng.random() < 0.55 else 3):
            turned, shorter = angle + rng.normal(0, 0.42), length * rng.uniform(0.62, 0.88)
            # Branches grow upwards and end at the edge of the picture.
            turned = min(max(turned, -np.pi + 0.05), -0.05)
            if 0.04 * size < end_x + shorter * np.cos(turned) < 0.96 * size and end_y > 0.06 * size:
                stack.append((end_x, end_y, turned, shorter, thick * rng.uniform(0.55, 0.75)))
    noise = 1 + 0.15 * fractal_noise(rng, size, size, 10, 3)
    return Texture(shaded(colour, noise), alpha=alpha)


def bark(rng: Generator, base: Colour) -> Texture:
    """A trunk: a round column of bark."""
    return cylinder(rng, base, 48, 192, grain=0.16)


def hedge(rng: Generator, size: int = 256) -> Texture:
    """A clipped hedge face."""
    noise = 0.9 + 0.25 * fractal_noise(rng, size, size, 9, 3) + 0.08 * fractal_noise(rng, size, size, 64, 2)
    return Texture(shaded(flat(size, size, (0.21, 0.27, 0.12)), noise))


# -- street furniture --------------------------------------------------------------------------------------------------


def cylinder(rng: Generator, base: Colour, width: int = 16, height: int = 128, grain: float = 0.05) -> Texture:
    """A round post: bright on one side, dark on the other."""
    across = np.linspace(-1, 1, width, dtype=np.float32)
    round_shade = 0.55 + 0.6 * np.clip(1 - (across + 0.35) ** 2, 0, 1)
    tone = round_shade[None] * (1 + grain * fractal_noise(rng, height, width, 12, 3))
    return Texture(shaded(flat(height, width, base), tone.astype(np.float32)))


def railings(rng: Generator, base: Colour = (0.12, 0.13, 0.13), width: int = 320, height: int = 128) -> Texture:
    """Upright iron bars between two rails (320 texels are 2.5 m)."""
    alpha = np.zeros((height, width), np.uint8)
    alpha[6:14] = alpha[-18:-10] = 255
    for x in range(4, width, 16):
        alpha[:, x : x + 5] = 255
    alpha[:, :9] = alpha[:, -9:] = 255
    tone = 1 + 0.12 * fractal_noise(rng, height, width, 10, 2)
    return Texture(shaded(flat(height, width, base), tone.astype(np.float32)), alpha=alpha)


def boards(rng: Generator, base: Colour = (0.43, 0.33, 0.23), width: int = 256, height: int = 176) -> Texture:
    """A close-boarded wooden fence."""
    tones = 1 + 0.12 * rng.standard_normal((1, width // 12 + 1)).astype(np.float32)
    tone = tones[:, np.arange(width) // 12] * (
        1 + 0.10 * cv2.resize(fractal_noise(rng, height // 8, width, 8, 3), (width, height))
    )
    tone[:, ::12] *= 0.5
    tone[20:30] *= 1.15
    tone[-36:-26] *= 1.15
    return Texture(shaded(flat(height, width, base), tone.astype(np.float32)))


def sign_plate(rng: Generator, kind: int, size: int = 96) -> Texture:
    """Traffic signs: 0 prohibition disc, 1 warning triangle, 2 direction board, 3 mandatory disc, 4 the plain back."""
    image = flat(size, size, (0.55, 0.56, 0.57))
    alpha = np.zeros((size, size), np.uint8)
    centre, half = (size // 2, size // 2), size // 2 - 1
    red, white, blue = (0.72, 0.07, 0.08), (0.92, 0.92, 0.90), (0.05, 0.20, 0.55)
    if kind in (0, 3, 4):
        cv2.circle(alpha, centre, half, 255, -1)
    if kind == 0:
        cv2.circle(image, centre, half, red, -1)
        cv2.circle(image, centre, int(half * 0.74), white, -1)
        write(image, str(rng.choice(["20", "30", "40"])), (size // 4 - 2, size // 2 + 13), 1.25, (0.05,) * 3, 3)
    elif kind == 1:
        outer = np.array([[size // 2, 4], [size - 2, size - 8], [2, size - 8]])
        cv2.fillPoly(alpha, [outer], 255)
        cv2.fillPoly(image, [outer], red)
        inner = (outer - outer.mean(0)) * 0.66 + outer.mean(0)
        cv2.fillPoly(image, [inner.astype(int)], white)
        cv2.line(image, (size // 2, size // 2), (size // 2, size - 26), (0.05,) * 3, 6)
    elif kind == 2:
        alpha[:] = 255
        image[:] = (0.04, 0.26, 0.17) if rng.random() < 0.5 else blue
        image[:4] = image[-4:] = white
        image[:, :4] = image[:, -4:] = white
        for row in (30, 58, 84):
            write(image, "".join(rng.choice(list("ABCDEGHNORST"), 5)), (10, row), 0.62, white, 2)
    elif kind == 3:
        cv2.circle(image, centre, half, blue, -1)
        cv2.circle(image, centre, half - 3, white, 2)
        cv2.arrowedLine(image, (size // 4, size // 4), (size * 3 // 4, size * 3 // 4), white, 7, tipLength=0.4)
    image *= 1 + 0.03 * rng.standard_normal((size, size, 1)).astype(np.float32)
    return Texture(np.clip(image, 0, 1), alpha=alpha)


def traffic_light(lamp: int, width: int = 48, height: int = 128) -> Texture:
    """The head of a traffic light. `lamp` is the one that is lit: 0 red, 1 amber, 2 green; -1 is the back."""
    image, glow = flat(height, width, (0.07, 0.07, 0.075)), np.zeros((height, width), np.float32)
    rectangle(image, 0, 0, width, 3, 0.5)
    if lamp >= 0:
        colours: tuple[Colour, ...] = ((1.0, 0.16, 0.10), (1.0, 0.68, 0.12), (0.25, 1.0, 0.62))
        for index, colour in enumerate(colours):
            centre = (width // 2, int(height * (0.2 + 0.3 * index)))
            on = index == lamp
            cv2.circle(image, centre, 15, colour if on else tuple(0.16 * c for c in colour), -1, cv2.LINE_AA)
            if on:
                cv2.circle(image, centre, 7, tuple(0.5 + 0.5 * c for c in colour), -1, cv2.LINE_AA)
                cv2.circle(glow, centre, 16, 1.0, -1)
    return Texture(image, glow=glow)
