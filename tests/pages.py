"""What a reader of a report's page sees, as text."""

import re
from html.parser import HTMLParser

# A number that is none, where a reader would see it; "None of the 4 networks diverged" is a sentence.
NO_NUMBER = r"(?<![\w/])(nan|inf|NaT|<NA>|None(?! of))(?![\w/])"


class _Text(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.parts = []
        self.feed(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.parts += [value for name, value in attributes if name in ("id", "alt")]

    def handle_data(self, data):
        self.parts.append(data)


def save_empty(figure, folder, name, **_):
    """Stand in for `figures.save` where pages are read and not looked at: most of a report's time goes into drawing."""
    file = folder / "figures" / f"{name}.svg"
    file.parent.mkdir(exist_ok=True)
    file.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return f"figures/{name}.svg"


def visible(page):
    """Return the text of a page, of its images what is said of them, and its anchors; no styles, no embedded data."""
    return " ".join(_Text(page).parts)
