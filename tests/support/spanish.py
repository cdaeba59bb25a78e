"""What is left in English on a page that should be in Spanish."""

import html
import re

ENGLISH = re.compile(
    r"\b(the|of|and|with|without|that|than|which|are|is|was|were|scans?|images?|from|into|by|this|"
    r"not|none|found|given|where|what|groups?|shown|features?|label|test|share)\b",
    re.IGNORECASE,
)
# Code and names of files; what is said to be in English; scripts. Texts of drawings stay.
LEFT_OUT = re.compile(
    r"(?s)<(style|script|code|pre|metadata|defs)\b.*?</\1>|<(details|td) lang=\"en\">.*?</\2>"
)


def english_on(page: str) -> list[str]:
    """Return the texts of a page, also of its drawings and alt texts, that have English words."""
    bare = LEFT_OUT.sub(" ", page)
    spoken = re.findall(r'\b(?:alt|aria-label|title)="([^"]*)"', bare)
    comments = re.findall(r"<!-- (.*?) -->", bare)  # Matplotlib draws letters as paths
    texts = re.split(r"<[^>]+>", re.sub(r"(?s)<!--.*?-->", "", bare))
    found = (
        re.sub(r"«.*?»", "", html.unescape(text)).strip() for text in (*texts, *spoken, *comments)
    )
    return sorted({text for text in found if ENGLISH.search(text)})
