"""Text in many languages: what the programs under a folder say, in every language that they were translated into.

    translations.py FOLDER > lines.txt

FOLDER holds compiled message catalogues (`*.mo`), such as /usr/share/locale, or what Debian's packages
`libreoffice-l10n-*` unpack to. A message is a line, without the marks of its markup; short ones and those that are left
as they were are passed over. Lines are sorted, each once.
"""

import argparse
import gettext
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MARKS = re.compile(r"<[^>]*>|\{[^}]*\}|&\w+;|[%$]\S+|[~_&](?=\w)")
SHORTEST = 12  # characters


def messages(path: Path) -> Iterator[str]:
    """The originals and their translations in one catalogue."""
    with path.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    for original, translation in vars(catalogue)["_catalog"].items():
        first = original[0] if isinstance(original, tuple) else original
        source = first.split("\x04")[-1]
        if source and translation != source:
            yield from (source, translation)


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    lines = set()
    for path in parser.parse_args().folder.rglob("*.mo"):
        lines |= {" ".join(MARKS.sub("", message).split()) for message in messages(path)}
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print("\n".join(sorted(line for line in lines if len(line) >= SHORTEST)))


if __name__ == "__main__":
    main()
