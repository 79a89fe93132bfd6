"""The vehicles among VOC's classes, seen from the side, heading right."""

import math

from .canvas import Canvas, Color, shade


def aeroplane(canvas: Canvas) -> None:
    y, girth = 0.5, canvas.vary(0.06, 0.09)
    sweep, span = canvas.vary(0.04, 0.16), canvas.vary(0.28, 0.38)
    canvas.polygon(
        [(0.12, y - 0.02), (0.03, y - canvas.vary(0.22, 0.32)), (0.13, y - 0.26), (0.27, y - 0.02)], canvas.second
    )
    canvas.polygon([(0.06, y), (0.2, y), (0.1, y + 0.1), (0.02, y + 0.1)], shade(canvas.second, 0.7))
    canvas.polygon(
        [(0.46, y - 0.04), (0.6, y - 0.04), (0.56 - sweep, y - span * 0.7), (0.48 - sweep, y - span * 0.7)],
        shade(canvas.second, 1.15),
    )
    canvas.ellipse((0.5, y), (0.45, girth), canvas.body)
    canvas.polygon(
        [(0.42, y + 0.02), (0.6, y + 0.02), (0.54 - sweep, y + span), (0.42 - sweep, y + span)],
        shade(canvas.second, 0.8),
    )
    canvas.ellipse((0.52 - sweep / 2, y + span * 0.55), (0.06, 0.03), canvas.dim)
    for i in range(canvas.count(6, 9)):
        canvas.ellipse((0.26 + 0.06 * i, y - 0.015), (0.015, 0.017), canvas.dim)
    canvas.ellipse((0.89, y - 0.02), (0.034, 0.022), canvas.glass)


def bicycle(canvas: Canvas) -> None:
    radius, y = canvas.vary(0.18, 0.22), 0.7
    rear, front = (0.25, y), (0.76, y)
    for hub in (rear, front):
        canvas.ring(hub, radius, canvas.dim, 0.03)
        turn = canvas.vary(0, math.pi / 5)
        for i in range(5):
            angle = turn + i * math.pi / 5
            dx, dy = radius * math.cos(angle), radius * math.sin(angle)
            canvas.line((hub[0] - dx, hub[1] - dy), (hub[0] + dx, hub[1] + dy), canvas.bright, 0.007)
    seat, head, crank = (0.41, canvas.vary(0.34, 0.42)), (0.68, canvas.vary(0.34, 0.4)), (0.48, y)
    for start, end in ((rear, seat), (seat, head), (rear, crank), (crank, head), (crank, seat), (head, front)):
        canvas.line(start, end, canvas.body, 0.032)
    pedal = canvas.vary(0, math.pi)
    dx, dy = 0.08 * math.cos(pedal), 0.08 * math.sin(pedal)
    canvas.line((crank[0] - dx, crank[1] - dy), (crank[0] + dx, crank[1] + dy), canvas.dim, 0.02)
    canvas.ring(crank, 0.045, canvas.dim, 0.014)
    canvas.line((seat[0] - 0.07, seat[1] - 0.04), (seat[0] + 0.06, seat[1] - 0.04), canvas.accent, 0.045)
    grip = head[1] - canvas.vary(0.08, 0.15)
    canvas.line(head, (0.66, grip), canvas.body, 0.026)
    canvas.line((0.6, grip), (0.74, grip + 0.02), canvas.dim, 0.034)


def boat(canvas: Canvas) -> None:
    mast, top = canvas.vary(0.45, 0.55), canvas.vary(0.04, 0.14)
    boom = 0.62
    canvas.line((mast, top), (mast, 0.72), canvas.dim, 0.028)
    right, left = canvas.vary(0.24, 0.38), canvas.vary(0.18, 0.32)
    sail = [(mast + 0.03, top + 0.03), (mast + 0.03, boom), (mast + 0.03 + right, boom)]
    canvas.polygon(sail, canvas.bright)
    canvas.polygon(
        [(mast - 0.03, top + 0.1), (mast - 0.03, boom), (mast - 0.03 - left, boom)], shade(canvas.bright, 0.8)
    )
    for i in range(4):
        t = 0.2 + 0.2 * i
        y = top + 0.03 + t * (boom - top - 0.03)
        canvas.line((mast + 0.03, y), (mast + 0.03 + right * t, y), canvas.second, 0.02)
    bow, stern = canvas.vary(0.9, 0.98), canvas.vary(0.03, 0.1)
    canvas.polygon([(stern, 0.68), (bow, 0.68), (0.8, 0.92), (0.2, 0.92)], canvas.body)
    with canvas.inside():
        for i in range(3):
            canvas.line((0.02, 0.74 + 0.06 * i), (0.98, 0.74 + 0.06 * i), shade(canvas.body, 0.6), 0.012)
    canvas.line((stern, 0.68), (bow, 0.68), canvas.accent, 0.025)


def bus(canvas: Canvas) -> None:
    roof, floor = canvas.vary(0.16, 0.24), 0.8
    canvas.rectangle(0.04, roof, 0.96, floor, canvas.body)
    canvas.rectangle(0.04, 0.59, 0.96, 0.66, canvas.second)
    windows = canvas.count(4, 7)
    step = 0.7 / windows
    for i in range(windows):
        left = 0.08 + step * i
        canvas.rectangle(left, roof + 0.08, left + step * 0.76, 0.5, canvas.glass)
    canvas.rectangle(0.04, roof, 0.96, roof + 0.03, shade(canvas.body, 0.6))
    canvas.rectangle(0.81, roof + 0.08, 0.93, floor - 0.02, shade(canvas.glass, 0.85))
    canvas.line((0.87, roof + 0.08), (0.87, floor - 0.02), canvas.body, 0.014)
    canvas.ellipse((0.95, 0.72), (0.018, 0.026), canvas.bright)
    for x in (canvas.vary(0.2, 0.28), canvas.vary(0.64, 0.72)):
        _wheel(canvas, x, floor, canvas.vary(0.085, 0.1), canvas.dim, canvas.bright)


def car(canvas: Canvas) -> None:
    roof, rear, front = canvas.vary(0.28, 0.36), canvas.vary(0.24, 0.34), canvas.vary(0.6, 0.7)
    waist = 0.5
    canvas.polygon([(0.18, waist), (rear, roof), (front, roof), (0.82, waist)], canvas.body)
    canvas.polygon(
        [(0.03, 0.72), (0.04, 0.54), (0.2, waist - 0.01), (0.8, waist - 0.01), (0.96, 0.57), (0.97, 0.72)], canvas.body
    )
    glass_top, glass_end = roof + 0.04, waist - 0.01
    pillar = (rear + front) / 2
    canvas.polygon(
        [(0.25, glass_end), (rear + 0.03, glass_top), (pillar - 0.02, glass_top), (pillar - 0.02, glass_end)],
        canvas.glass,
    )
    canvas.polygon(
        [(pillar + 0.02, glass_end), (pillar + 0.02, glass_top), (front - 0.02, glass_top), (0.75, glass_end)],
        canvas.glass,
    )
    canvas.rectangle(0.03, 0.66, 0.97, 0.72, shade(canvas.body, 0.55))
    canvas.line((pillar, waist), (pillar, 0.66), shade(canvas.body, 0.5), 0.012)
    canvas.line((pillar - 0.09, 0.55), (pillar - 0.04, 0.55), canvas.dim, 0.016)
    canvas.ellipse((0.93, 0.59), (0.032, 0.026), canvas.bright)
    canvas.rectangle(0.035, 0.55, 0.07, 0.61, canvas.accent)
    for x in (0.24, 0.76):
        _wheel(canvas, x, 0.72, canvas.vary(0.1, 0.125), canvas.dim, canvas.bright)


def motorbike(canvas: Canvas) -> None:
    radius = canvas.vary(0.15, 0.18)
    for x in (0.21, 0.79):
        _wheel(canvas, x, 0.72, radius, canvas.dim, canvas.bright)
        canvas.ellipse((x, 0.72), (radius * 0.25, radius * 0.25), canvas.dim)
    engine = shade(canvas.bright, 0.65)
    canvas.polygon([(0.25, 0.64), (0.4, 0.45), (0.68, 0.43), (0.66, 0.72), (0.4, 0.78)], engine)
    for i in range(4):
        canvas.line((0.42, 0.55 + 0.05 * i), (0.62, 0.55 + 0.05 * i), canvas.dim, 0.014)
    canvas.ellipse((0.57, 0.43), (0.15, canvas.vary(0.07, 0.1)), canvas.body, -8)
    tail = canvas.vary(0.34, 0.42)
    canvas.polygon([(0.08, tail), (0.44, 0.41), (0.46, 0.49), (0.14, tail + 0.08)], canvas.second)
    grip = (canvas.vary(0.64, 0.7), canvas.vary(0.24, 0.32))
    canvas.line((0.79, 0.72), grip, shade(canvas.bright, 0.75), 0.042)
    canvas.line((grip[0] - 0.09, grip[1] - 0.02), (grip[0] + 0.05, grip[1]), canvas.dim, 0.04)
    canvas.ellipse((0.76, grip[1] + 0.09), (0.06, 0.06), canvas.accent)
    canvas.stroke([(0.5, 0.76), (0.4, 0.8), (0.08, 0.79)], shade(canvas.bright, 0.85), 0.045)


def train(canvas: Canvas) -> None:
    canvas.rectangle(0, 0.86, 1, 0.89, canvas.dim)
    for i in range(11):
        canvas.rectangle(0.01 + 0.093 * i, 0.88, 0.055 + 0.093 * i, 0.93, shade(canvas.dim, 1.5))
    roof, nose = canvas.vary(0.32, 0.4), canvas.vary(0.7, 0.82)
    canvas.polygon([(0, roof), (nose, roof), (0.97, 0.57), (1, 0.8), (0, 0.8)], canvas.body)
    canvas.rectangle(0, 0.66, 0.98, 0.7, canvas.second)
    canvas.rectangle(0, 0.725, 0.99, 0.745, canvas.second)
    pane = nose - 0.03
    canvas.polygon([(pane, roof + 0.04), (pane + 0.1, roof + 0.07), (0.92, 0.57), (pane, 0.57)], canvas.glass)
    windows = canvas.count(3, 5)
    step = (pane - 0.06) / windows
    for i in range(windows):
        canvas.rectangle(0.03 + step * i, roof + 0.08, 0.03 + step * (i + 0.62), 0.57, canvas.glass)
        canvas.line((0.03 + step * (i + 0.81), roof), (0.03 + step * (i + 0.81), 0.8), shade(canvas.body, 0.6), 0.01)
    x = canvas.vary(0.2, 0.5)  # the current collector
    canvas.stroke([(x, roof), (x + 0.08, roof - 0.09), (x, roof - 0.16)], canvas.dim, 0.02)
    canvas.line((x - 0.1, roof - 0.16), (x + 0.12, roof - 0.16), canvas.dim, 0.02)
    for x in (0.1, 0.22, 0.42, 0.54, 0.76, 0.88):
        canvas.ellipse((x, 0.81), (0.05, 0.05), canvas.dim)
        canvas.ellipse((x, 0.81), (0.018, 0.018), canvas.bright)


def _wheel(canvas: Canvas, x: float, y: float, radius: float, tyre: Color, rim: Color) -> None:
    canvas.ellipse((x, y), (radius, radius), tyre)
    canvas.ellipse((x, y), (radius * 0.55, radius * 0.55), rim)
