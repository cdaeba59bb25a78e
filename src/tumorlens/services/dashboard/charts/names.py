"""Names of files and labels as a page writes them."""

from tumorlens.services.dashboard.texts import Say, known

_MARKUP = frozenset("\\`*_{}[]()#+!|$:<>~&")


def plain(name: str) -> str:
    r"""Write a file's name so that nothing in it is taken for markup.

    >>> print(plain("a_b*.png"))
    a\_b\*.png
    """
    return "".join(f"\\{c}" if c in _MARKUP else c for c in name)


def term(section: str, name: str, say: Say) -> str:
    """Write a name that comes from a file as people say it, or as it is where no text knows it."""
    key = f"{section}.{name}"
    return say(key) if known(key) else name.replace("_", " ")


def label_name(name: str, say: Say) -> str:
    """Write a label, or the name of several together, as people say it."""
    return term("label", name, say)
