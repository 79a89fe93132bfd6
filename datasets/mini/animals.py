"""The living classes of VOC. All are seen from the side, looking right, but the cat and the person, who face us."""

import math

from .canvas import Canvas, Color, Point, random_color, shade


def bird(canvas: Canvas) -> None:
    body_y = canvas.vary(0.5, 0.6)
    for x in (0.42, 0.52):
        foot_x = x + canvas.vary(-0.06, 0.06)
        canvas.stroke([(x, body_y + 0.1), (foot_x, 0.93), (foot_x + 0.06, 0.94)], canvas.accent, 0.022)
    tail_y = body_y + canvas.vary(-0.04, 0.16)
    tail = [(0.3, body_y - 0.02), (0.02, tail_y), (0.05, tail_y + 0.09), (0.35, body_y + 0.11)]
    canvas.polygon(tail, shade(canvas.second, 0.8))
    canvas.ellipse((0.47, body_y), (0.26, canvas.vary(0.14, 0.19)), canvas.body, -18)

    head_x, head_y = 0.7 + canvas.vary(-0.03, 0.03), body_y - canvas.vary(0.17, 0.26)
    canvas.line((0.6, body_y - 0.04), (head_x, head_y), canvas.body, 0.15)
    canvas.ellipse((head_x, head_y), (0.125, 0.115), canvas.body)
    beak = canvas.vary(0.12, 0.2)
    canvas.polygon(
        [(head_x + 0.09, head_y - 0.05), (head_x + 0.1 + beak, head_y + 0.02), (head_x + 0.09, head_y + 0.06)],
        canvas.accent,
    )
    canvas.ellipse((head_x + 0.04, head_y - 0.03), (0.024, 0.024), canvas.dim)

    if canvas.rng.random() < 0.3:  # a raised wing
        tip = (canvas.vary(0.1, 0.3), canvas.vary(0.05, 0.2))
        canvas.polygon([(0.3, body_y), tip, (tip[0] + 0.14, tip[1] + 0.02), (0.58, body_y - 0.02)], canvas.second)
    else:
        canvas.ellipse((0.42, body_y - 0.02), (0.2, 0.095), canvas.second, canvas.vary(-12, 6))
    with canvas.inside():
        for i in range(5):
            x = 0.24 + 0.06 * i
            canvas.line((x, body_y + 0.03), (x + 0.07, body_y - 0.1), shade(canvas.second, 0.55), 0.012)


def cat(canvas: Canvas) -> None:
    sway = canvas.vary(1.6, 3.2)
    tail = [(0.7 + 0.2 * math.sin(sway * t), 0.88 - 0.55 * t) for t in (i / 12 for i in range(13))]
    canvas.stroke(tail, canvas.body, 0.07)
    canvas.ellipse((0.5, 0.7), (canvas.vary(0.17, 0.23), 0.25), canvas.body)
    for x in (0.4, 0.58):
        canvas.stroke([(x, 0.66), (x, 0.93), (x - 0.03, 0.94)], canvas.body, 0.07)

    tilt, face = canvas.vary(-0.05, 0.05), canvas.vary(0.15, 0.18)
    x, y = 0.47 + tilt, 0.31
    canvas.ellipse((x, y), (face + 0.01, face - 0.01), canvas.body)
    for side in (-1, 1):
        ear = [
            (x + side * face, y - 0.03),
            (x + side * (face - 0.01) + tilt, y - canvas.vary(0.22, 0.28)),
            (x + side * 0.03, y - face + 0.02),
        ]
        canvas.polygon(ear, canvas.body)
        middle = (sum(px for px, _ in ear) / 3, sum(py for _, py in ear) / 3)
        canvas.polygon([((px + middle[0]) / 2, (py + middle[1]) / 2) for px, py in ear], canvas.accent)

    stripe = shade(canvas.body, 0.45)
    with canvas.inside():
        for i in range(canvas.count(4, 6)):
            canvas.line((0.26, 0.52 + 0.07 * i), (0.44, 0.55 + 0.07 * i), stripe, 0.022)
            canvas.line((0.56, 0.55 + 0.07 * i), (0.74, 0.52 + 0.07 * i), stripe, 0.022)
        for dx in (-0.06, 0, 0.06):
            canvas.line((x + dx, y - 0.15), (x + dx, y - 0.08), stripe, 0.018)
    for side in (-1, 1):
        eye = (x + side * 0.07, y - 0.02)
        canvas.ellipse(eye, (0.034, 0.038), canvas.accent)
        canvas.ellipse(eye, (0.011, 0.034), canvas.dim)
        for dy in (-0.03, 0.02, 0.06):
            whisker = (x + side * 0.25, y + 0.04 + dy)
            canvas.line((x + side * 0.05, y + 0.07), whisker, canvas.bright, 0.009)
    canvas.polygon([(x - 0.025, y + 0.045), (x + 0.025, y + 0.045), (x, y + 0.075)], canvas.dim)


def cow(canvas: Canvas) -> None:
    coat, bulk = canvas.bright, canvas.vary(0.15, 0.19)
    head_y = canvas.vary(0.34, 0.56)  # grazing or looking up
    _four_legs(canvas, top=0.58, ground=0.93, thickness=0.062, color=coat, hoof=canvas.dim)
    canvas.ellipse((0.55, 0.69), (0.075, 0.055), canvas.accent)
    _trunk(canvas, 0.5, bulk, coat)
    canvas.line((0.72, 0.46), (0.85, head_y), coat, 0.15)
    canvas.ellipse((0.87, head_y + 0.02), (0.1, 0.075), coat, 30)
    with canvas.inside():
        for _ in range(canvas.count(4, 7)):
            spot = (canvas.vary(0.2, 0.85), canvas.vary(0.36, 0.62))
            canvas.ellipse(spot, (canvas.vary(0.05, 0.1), canvas.vary(0.04, 0.08)), canvas.dim, canvas.vary(0, 180))
    canvas.ellipse((0.94, head_y + 0.07), (0.05, 0.05), canvas.accent)
    horn = canvas.vary(0.1, 0.16)
    canvas.stroke(
        [(0.8, head_y - 0.06), (0.75, head_y - 0.06 - horn * 0.6), (0.78, head_y - 0.06 - horn)], canvas.second, 0.026
    )
    canvas.stroke(
        [(0.87, head_y - 0.06), (0.95, head_y - 0.06 - horn * 0.5), (0.94, head_y - 0.06 - horn)], canvas.second, 0.026
    )
    canvas.ellipse((0.86, head_y - 0.01), (0.017, 0.017), canvas.accent)
    swing = canvas.vary(-0.04, 0.08)
    canvas.stroke([(0.2, 0.44), (0.13, 0.5), (0.12 - swing, 0.74)], coat, 0.022)
    canvas.ellipse((0.12 - swing, 0.77), (0.028, 0.045), canvas.dim)


def dog(canvas: Canvas) -> None:
    coat = canvas.body
    _four_legs(canvas, top=0.56, ground=0.92, thickness=0.066, color=coat)
    _trunk(canvas, 0.54, canvas.vary(0.1, 0.13), coat)
    wag = canvas.vary(-0.05, 0.12)
    canvas.stroke([(0.22, 0.5), (0.11, 0.4), (0.03 + wag, 0.22)], coat, 0.05)
    head_x, head_y = 0.78 + canvas.vary(-0.02, 0.02), canvas.vary(0.24, 0.36)
    canvas.line((0.7, 0.5), (head_x - 0.03, head_y + 0.06), coat, 0.13)
    with canvas.inside():
        canvas.ellipse((canvas.vary(0.35, 0.55), 0.44), (0.18, 0.09), shade(coat, 0.5))
    canvas.ellipse((head_x, head_y), (0.12, 0.11), coat)
    snout = canvas.vary(0.14, 0.2)
    canvas.line((head_x + 0.05, head_y + 0.03), (head_x + snout, head_y + 0.05), coat, 0.1)
    canvas.ellipse((head_x + snout + 0.03, head_y + 0.015), (0.034, 0.028), canvas.dim)
    if canvas.rng.random() < 0.5:  # an open mouth
        canvas.line((head_x + snout - 0.04, head_y + 0.11), (head_x + snout - 0.03, head_y + 0.15), canvas.accent, 0.03)
    canvas.ellipse((head_x - 0.08, head_y + 0.05), (0.05, canvas.vary(0.1, 0.15)), shade(coat, 0.5), canvas.vary(0, 25))
    canvas.ellipse((head_x + 0.04, head_y - 0.03), (0.021, 0.021), canvas.dim)
    canvas.line((0.7, 0.43), (0.81, 0.47), canvas.accent, 0.034)


def horse(canvas: Canvas) -> None:
    coat, mane = canvas.body, shade(canvas.second, 0.65)
    _four_legs(canvas, top=0.5, ground=0.95, thickness=0.05, color=coat, hoof=canvas.dim)
    _trunk(canvas, 0.47, canvas.vary(0.11, 0.13), coat)
    lift = canvas.vary(-0.02, 0.1)  # head high or stretched forward
    crest = [(0.58, 0.42), (0.72, 0.1 + lift)]
    canvas.polygon([crest[0], (0.74, 0.54), (0.88, 0.22 + lift), crest[1]], coat)
    head = [(0.72, 0.09), (0.84, 0.1), (0.99, 0.3), (0.95, 0.37), (0.88, 0.37), (0.8, 0.26)]
    canvas.polygon([(x, y + lift) for x, y in head], coat)
    for i in range(7):
        t = i / 6
        x, y = crest[0][0] + t * (crest[1][0] - crest[0][0]), crest[0][1] + t * (crest[1][1] - crest[0][1])
        canvas.line((x, y), (x - canvas.vary(0.03, 0.07), y + 0.04), mane, 0.036)
    canvas.polygon([(0.75, 0.12 + lift), (0.77, 0.01 + lift), (0.82, 0.12 + lift)], coat)
    canvas.ellipse((0.85, 0.19 + lift), (0.018, 0.018), canvas.dim)
    canvas.ellipse((0.95, 0.32 + lift), (0.013, 0.013), canvas.dim)
    flow = canvas.vary(-0.02, 0.1)
    for i in range(3):
        canvas.stroke([(0.22, 0.42), (0.13 - flow, 0.46), (0.08 + 0.035 * i - flow, 0.78)], mane, 0.03)


def person(canvas: Canvas) -> None:
    skin = random_color(canvas.rng, None, (0.2, 0.6))
    shoulder, hip = canvas.vary(0.1, 0.14), canvas.vary(0.08, 0.11)
    for side in (-1, 1):
        stride = side * canvas.vary(0.0, 0.12)
        knee = (0.5 + side * 0.06 + stride * 0.7, 0.74)
        foot = (0.5 + side * 0.05 + stride, 0.93)
        canvas.stroke([(0.5 + side * 0.05, 0.56), knee, foot], canvas.second, 0.088)
        canvas.line((foot[0], 0.945), (foot[0] + side * 0.05, 0.945), canvas.dim, 0.05)
    torso = [(0.5 - shoulder, 0.27), (0.5 + shoulder, 0.27), (0.5 + hip, 0.6), (0.5 - hip, 0.6)]
    canvas.polygon(torso, canvas.body)
    if canvas.rng.random() < 0.5:
        with canvas.inside():
            for i in range(5):
                canvas.line((0.3, 0.31 + 0.06 * i), (0.7, 0.31 + 0.06 * i), canvas.accent, 0.022)
    for side in (-1, 1):
        elbow = _polar((0.5 + side * shoulder, 0.3), 0.16, side * canvas.vary(10, 70))
        hand = _polar(elbow, 0.16, side * canvas.vary(-20, 150))
        canvas.stroke([(0.5 + side * shoulder, 0.3), elbow, hand], canvas.body, 0.06)
        canvas.ellipse(hand, (0.034, 0.034), skin)
    canvas.line((0.5, 0.19), (0.5, 0.26), skin, 0.06)
    x = 0.5 + canvas.vary(-0.02, 0.02)
    canvas.ellipse((x, 0.14), (0.085, 0.105), skin)
    canvas.ellipse((x, 0.08), (0.095, canvas.vary(0.05, 0.075)), canvas.dim)
    if canvas.rng.random() < 0.4:  # a hat's brim
        canvas.line((x - 0.13, 0.09), (x + 0.13, 0.09), canvas.accent, 0.03)
    for side in (-1, 1):
        canvas.ellipse((x + side * 0.033, 0.145), (0.013, 0.013), canvas.dim)
    canvas.line((x - 0.025, 0.195), (x + 0.025, 0.195), shade(skin, 0.5), 0.012)


def sheep(canvas: Canvas) -> None:
    wool, face = canvas.bright, canvas.dim
    head_y = canvas.vary(0.36, 0.58)
    _four_legs(canvas, top=0.62, ground=0.91, thickness=0.046, color=face)
    plump = canvas.vary(0.15, 0.19)
    for _ in range(26):
        angle, radius = canvas.vary(0, 2 * math.pi), math.sqrt(canvas.vary(0, 1))
        tuft = (0.48 + 0.26 * radius * math.cos(angle), 0.5 + plump * radius * math.sin(angle))
        canvas.ellipse(tuft, (0.078, 0.072), shade(wool, canvas.vary(0.75, 1.05)))
    for _ in range(14):
        canvas.ring((canvas.vary(0.27, 0.7), canvas.vary(0.38, 0.62)), 0.034, shade(wool, 0.6), 0.012)
    canvas.ellipse((0.81, head_y), (0.075, 0.1), face, -25)
    canvas.ellipse((0.73, head_y - 0.06), (0.055, 0.026), face, 25)
    canvas.ellipse((0.82, head_y - 0.03), (0.017, 0.017), wool)
    canvas.ellipse((0.18, 0.46), (0.04, 0.05), wool)


def _four_legs(
    canvas: Canvas, top: float, ground: float, thickness: float, color: Color, hoof: Color | None = None
) -> None:
    """A walking pair in front and one behind; the far legs are darker."""
    for x, tone in ((0.28, 0.72), (0.66, 0.72), (0.34, 1.0), (0.72, 1.0)):
        length = (ground - top) / 2
        knee = _polar((x, top), length, canvas.vary(-22, 22))
        foot = (knee[0] + canvas.vary(-0.05, 0.03), ground)
        canvas.stroke([(x, top), knee, foot], shade(color, tone), thickness)
        if hoof is not None:
            canvas.line((foot[0], ground - 0.01), (foot[0] + 0.02, ground - 0.01), hoof, thickness * 0.95)


def _trunk(canvas: Canvas, y: float, half_height: float, color: Color) -> None:
    canvas.ellipse((0.49, y), (0.3, half_height), color)
    canvas.rectangle(0.25, y - half_height * 0.75, 0.74, y + half_height * 0.6, color)


def _polar(start: Point, length: float, degrees: float) -> Point:
    """The point ``length`` away from ``start``, 0 degrees hanging straight down, positive to the right."""
    angle = math.radians(degrees)
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)
