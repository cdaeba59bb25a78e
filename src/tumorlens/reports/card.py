"""The model card of a bundle, from the bundle's own data (after Mitchell et al., 2019)."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from tumorlens.models.bundle import Bundle
from tumorlens.reports.limits import KNOWN_LIMITS, NOT_FOR


def write_card(bundle: Bundle) -> str:
    """Give the text of card.md."""
    environment = Environment(
        loader=PackageLoader("tumorlens.reports"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, and every value is our own
    )
    return environment.get_template("card.md").render(
        bundle=bundle, limits=KNOWN_LIMITS, not_for=NOT_FOR, **bundle.details
    )
