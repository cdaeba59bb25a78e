"""Draw the picture of the walk: three rows of rooms, from what is given to what comes out.

Run `python docs/make_walk.py`. `WALKS` names a module and what it hands on; a test holds the page
and the picture against the code.
"""

from html import escape
from pathlib import Path

OUT = Path(__file__).with_name("pictures") / "walk.svg"
WALKS = {
    "predict": (
        ("files named", "cli.use"),
        ("Scan", "images.readers"),
        ("PreparedScan | Unusable", "inputs.prepare"),
        ("logits, maps, embedding", "models.engine"),
        ("Prediction", "predictions.predictor"),
        ("predictions.csv", "predictions.document"),
    ),
    "upload": (
        ("bytes", "services.http.middleware"),
        ("a caller", "services.http.authenticator"),
        ("files", "services.http.inference"),
        ("PreparedScan | Unusable", "services.decoder"),
        ("Prediction", "predictions.predictor"),
        ("a transaction", "services.store.commit_queue"),
        ("a row, on the disk", "services.store.history"),
    ),
    "train": (
        ("cases", "study.data.index"),
        ("groups, parts", "study.data.splits"),
        ("prepared images", "inputs.cache"),
        ("batches", "study.training.data.batches"),
        ("weights", "study.training.loop"),
        ("a bundle", "study.training.packaging.assemble"),
    ),
}
WIDTH, ROOM, GAP, TOP, STEP = 1376, (172, 62), 24, 40, 118
COLORS = {"images": "#cfe3f5", "inputs": "#cfe3f5", "models": "#d9ead3", "predictions": "#d9ead3",
          "services": "#fde3c8", "study": "#e6dcf0", "cli": "#eeeeee"}  # fmt: skip


def main() -> None:
    """Write the picture."""
    OUT.write_text(draw(), encoding="utf-8")
    print(OUT)


def draw() -> str:
    """Return the picture as SVG."""
    height = TOP + STEP * len(WALKS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" role="img" aria-label="Three walks through the modules">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for row, (name, rooms) in enumerate(WALKS.items()):
        parts += _row(name, rooms, TOP + row * STEP)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(name: str, rooms: tuple[tuple[str, str], ...], top: int) -> list[str]:
    width, height = ROOM
    drawn = [f'<text x="10" y="{top - 12}" font-size="15" font-weight="bold">{name}</text>']
    for column, (comes_out, module) in enumerate(rooms):
        left = 10 + column * (width + GAP)
        color = COLORS[module.split(".", 1)[0]]
        folder, _, leaf = module.rpartition(".")
        drawn += [
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" fill="{color}" '
            'stroke="#555555"/>',
            _text(left + width / 2, top + 20, folder, 11, "#555555"),
            _text(left + width / 2, top + 38, leaf, 14, "#111111"),
            _text(left + width / 2, top + height + 16, comes_out, 12, "#333333"),
        ]
        if column:
            middle = top + height / 2
            drawn.append(
                f'<path d="M{left - GAP} {middle}h{GAP - 6}m-6 -5l7 5l-7 5" fill="none" '
                'stroke="#333333" stroke-width="2"/>'
            )
    return drawn


def _text(x: float, y: float, text: str, size: int, color: str) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


if __name__ == "__main__":
    main()
