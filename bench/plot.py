"""Draws the race as SVG: requests a second on one core, a bar a server, with the range of the rounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from bench.figures import Figure

BARS = {
    "online.grpc": "penstock, gRPC",
    "peers.mosec.msgpack": "mosec, HTTP msgpack",
    "peers.triton.grpc": "Triton (Python backend), gRPC",
    "peers.mlserver.grpc": "MLServer, gRPC",
    "peers.grpc_aio.grpc": "bare grpc.aio, no model",
    "online.http.binary": "penstock, HTTP binary",
    "online.http.json": "penstock, HTTP JSON",
    "peers.triton.http.binary": "Triton (Python backend), HTTP binary",
    "peers.mlserver.http.json": "MLServer, HTTP JSON",
}
COUNTS = (64, 256)
WIDTH, LEFT, RIGHT, BAR, GAP = 760, 240, 110, 18, 8


def svg(figures: Mapping[str, Figure], caption: str) -> str:
    """Return the picture; servers that were not measured are left out."""
    shown = [
        (count, label, figures[name])
        for count in COUNTS
        for place, label in BARS.items()
        if (name := f"{place}.c{count}.requests_per_second") in figures
    ]
    most = max((max(figure.values) for _, _, figure in shown), default=1.0)
    parts: list[str] = []
    y, previous = 30, None
    for count, label, figure in shown:
        if count != previous:
            y += 24
            parts.append(_text(12, y - 6, f"{count} in flight", weight="bold"))
            previous = count
        parts.append(_bar(y, label, figure, (WIDTH - LEFT - RIGHT) / most))
        y += BAR + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 30}" font-family="sans-serif" font-size="12">'
    paper = f'<rect width="{WIDTH}" height="{y + 30}" fill="#ffffff"/>'
    title = _text(12, 20, "Requests a second on one core, median and range", weight="bold")
    return "\n".join([head, paper, title, *parts, _text(12, y + 18, caption), "</svg>"]) + "\n"


def _bar(y: int, label: str, figure: Figure, scale: float) -> str:
    colour = "#1f6f8b" if label.startswith("penstock") else "#a9b8bf"
    low, high = LEFT + min(figure.values) * scale, LEFT + max(figure.values) * scale
    middle = y + BAR / 2
    return "\n".join([
        _text(12, y + 13, label),
        f'<rect x="{LEFT}" y="{y}" width="{max(figure.median * scale, 1):.1f}" height="{BAR}" fill="{colour}"/>',
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="#222222"/>',
        _text(high + 6, y + 13, f"{figure.median:,.0f}"),
    ])  # fmt: skip


def _text(x: float, y: float, words: str, *, weight: str = "normal") -> str:
    escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}" fill="#222222">{escaped}</text>'
