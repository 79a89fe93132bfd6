"""What stands in VOC's rooms: bottle, chair, dining table, potted plant, sofa, screen. Seen from the front."""

import math

import numpy as np

from .canvas import Canvas, shade


def bottle(canvas: Canvas) -> None:
    half, neck = canvas.vary(0.12, 0.19), canvas.vary(0.045, 0.065)
    shoulder = canvas.vary(0.38, 0.5)
    outline = [(neck, 0.1), (neck, shoulder - 0.14), (half, shoulder), (half, 0.95)]
    canvas.polygon([(0.5 + x, y) for x, y in outline] + [(0.5 - x, y) for x, y in reversed(outline)], canvas.body)
    canvas.rectangle(0.5 - neck - 0.014, 0.04, 0.5 + neck + 0.014, 0.12, canvas.accent)
    label = shoulder + canvas.vary(0.06, 0.12)
    canvas.rectangle(0.5 - half, label, 0.5 + half, label + 0.26, canvas.bright)
    for i in range(4):
        y = label + 0.05 + 0.052 * i
        canvas.line((0.5 - half * 0.7, y), (0.5 + half * canvas.vary(0.1, 0.75), y), canvas.dim, 0.014)
    canvas.line((0.5 - half * 0.65, shoulder + 0.01), (0.5 - half * 0.65, label - 0.03), shade(canvas.body, 1.5), 0.022)


def chair(canvas: Canvas) -> None:
    bar, top, seat = canvas.vary(0.036, 0.055), canvas.vary(0.05, 0.14), canvas.vary(0.5, 0.58)
    canvas.line((0.6, seat + 0.04), (0.6, 0.86), shade(canvas.body, 0.7), bar * 0.85)
    canvas.line((0.3, top), (0.3, 0.95), canvas.body, bar)
    canvas.line((0.62, top), (0.62, seat + 0.02), canvas.body, bar)
    slats = canvas.count(2, 5)
    for i in range(slats):
        y = top + 0.05 + (seat - top - 0.1) * i / (slats - 1)
        canvas.line((0.3, y), (0.62, y), shade(canvas.body, 0.8), 0.032)
    canvas.polygon([(0.26, seat), (0.64, seat), (0.82, seat + 0.12), (0.36, seat + 0.12)], canvas.second)
    canvas.line((0.4, seat + 0.12), (0.4, 0.97), canvas.body, bar)
    canvas.line((0.78, seat + 0.11), (0.78, 0.95), canvas.body, bar)
    rung = canvas.vary(0.76, 0.86)
    canvas.line((0.4, rung), (0.78, rung), shade(canvas.body, 0.7), 0.022)


def diningtable(canvas: Canvas) -> None:
    back, front = canvas.vary(0.28, 0.36), canvas.vary(0.5, 0.57)
    for x in (0.3, 0.7):
        canvas.line((x, front - 0.05), (x, 0.8), shade(canvas.body, 0.5), 0.042)
    for x in (0.13, 0.87):
        canvas.line((x, front), (x, 0.94), shade(canvas.body, 0.7), 0.056)
    inset = canvas.vary(0.12, 0.22)
    canvas.polygon([(inset, back), (1 - inset, back), (0.97, front), (0.03, front)], canvas.body)
    with canvas.inside():
        for i in range(5):
            y = back + 0.02 + (front - back) * i / 5
            canvas.line((0, y), (1, y + canvas.vary(-0.02, 0.02)), shade(canvas.body, 0.75), 0.01)
    canvas.rectangle(0.03, front, 0.97, front + 0.055, shade(canvas.body, 0.6))
    depth = front - back
    for i, x in enumerate((0.27, 0.51, 0.75)):
        plate = (x + canvas.vary(-0.04, 0.04), back + depth * (0.45 + 0.25 * (i % 2)))
        canvas.ellipse(plate, (0.09, 0.036), canvas.bright)
        canvas.ellipse(plate, (0.05, 0.018), canvas.second)
    x = canvas.vary(0.36, 0.66)
    canvas.line((x, back - 0.06), (x, back + depth * 0.35), canvas.accent, 0.052)
    canvas.line((x, back - 0.13), (x, back - 0.04), canvas.accent, 0.024)


def pottedplant(canvas: Canvas) -> None:
    stem = (0.5, 0.64)
    for _ in range(canvas.count(8, 13)):
        lean, length = canvas.vary(-1.35, 1.35), canvas.vary(0.26, 0.56)
        tip = (stem[0] + length * math.sin(lean), stem[1] - length * math.cos(lean))
        canvas.line(stem, tip, shade(canvas.body, 0.5), 0.014)
        middle = ((stem[0] + 2 * tip[0]) / 3, (stem[1] + 2 * tip[1]) / 3)
        leaf = shade(canvas.body, canvas.vary(0.55, 1.2))
        canvas.ellipse(middle, (length * 0.34, canvas.vary(0.035, 0.055)), leaf, math.degrees(lean) - 90)
    rim, base = canvas.vary(0.19, 0.24), canvas.vary(0.11, 0.16)
    canvas.polygon([(0.5 - rim, 0.64), (0.5 + rim, 0.64), (0.5 + base, 0.95), (0.5 - base, 0.95)], canvas.second)
    canvas.rectangle(0.47 - rim, 0.6, 0.53 + rim, 0.68, shade(canvas.second, 0.8))


def sofa(canvas: Canvas) -> None:
    back, arm = canvas.vary(0.24, 0.34), canvas.vary(0.12, 0.17)
    cloth, side = canvas.body, shade(canvas.body, 0.75)
    for x in (0.12, 0.88):
        canvas.line((x, 0.8), (x, 0.9), canvas.dim, 0.05)
    canvas.rectangle(0.1, back, 0.9, 0.62, cloth)
    for x in np.arange(0.2, 0.84, 0.085):
        for y in (back + 0.07, back + 0.16):
            canvas.ellipse((x, y), (0.012, 0.012), canvas.second)
    canvas.rectangle(0.16, 0.56, 0.84, 0.82, shade(cloth, 0.9))
    for left in (0.03, 0.97 - arm):
        canvas.rectangle(left, 0.46, left + arm, 0.83, side)
        canvas.ellipse((left + arm / 2, 0.46), (arm / 2, 0.065), side)
    seats = canvas.count(2, 3)
    for i in range(1, seats):
        x = 0.16 + 0.68 * i / seats
        canvas.line((x, back + 0.03), (x, 0.81), shade(cloth, 0.5), 0.014)
    canvas.line((0.16, 0.6), (0.84, 0.6), shade(cloth, 0.5), 0.018)
    x = canvas.vary(0.2, 0.6)
    canvas.polygon([(x, 0.42), (x + 0.16, 0.4), (x + 0.18, 0.57), (x + 0.02, 0.58)], canvas.accent)


def tvmonitor(canvas: Canvas) -> None:
    top, bezel = canvas.vary(0.1, 0.2), canvas.vary(0.035, 0.06)
    canvas.rectangle(0.44, 0.7, 0.56, 0.88, shade(canvas.body, 0.6))
    half = canvas.vary(0.16, 0.26)
    canvas.rectangle(0.5 - half, 0.86, 0.5 + half, 0.93, shade(canvas.body, 0.5))
    canvas.rectangle(0.04, top, 0.96, 0.74, canvas.body)
    left, right, upper, lower = 0.04 + bezel, 0.96 - bezel, top + bezel, 0.74 - bezel - 0.01
    canvas.rectangle(left, upper, right, lower, canvas.glass)
    programme = canvas.count(0, 2)
    if programme == 0:  # text
        for i in range(7):
            y = upper + 0.05 + (lower - upper - 0.08) * i / 6
            canvas.line((left + 0.04, y), (right - canvas.vary(0.05, 0.4), y), shade(canvas.glass, 0.6), 0.014)
    elif programme == 1:  # a bar chart
        for i in range(6):
            x = left + 0.04 + 0.125 * i
            canvas.rectangle(x, lower - canvas.vary(0.06, 0.36), x + 0.08, lower - 0.03, canvas.accent)
    else:  # two windows
        canvas.rectangle(left + 0.05, upper + 0.05, 0.58, 0.5, canvas.second)
        canvas.rectangle(0.42, 0.4, right - 0.06, lower - 0.04, canvas.accent)
    canvas.polygon(
        [(left + 0.02, upper + 0.01), (left + 0.2, upper + 0.01), (left + 0.04, upper + 0.3)], shade(canvas.glass, 1.25)
    )
    canvas.ellipse((0.9, 0.74 - bezel / 2), (0.013, 0.013), canvas.bright)
