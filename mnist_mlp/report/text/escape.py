"""Names, values and messages are anybody's text: the one place where each format is kept from taking them for its own.

Options, keys and values come from a user's files, reasons from exceptions, directories from the file system. Tables and
sentences carry them as they are; whatever writes a format passes them through that format's function here.
"""

import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby

import pandas as pd
from markupsafe import Markup

from mnist_mlp.analysis.notes import shorten_all

# What no format can show: controls (they steer a terminal), what turns the direction of writing, line separators,
# halves of characters (no UTF-8) and what XML forbids.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
LONGEST_LABEL = 40  # characters in a figure, which would leave no room for the axes otherwise
LONGEST_SLUG = 60  # characters of a file name's part


def visible(text: object) -> str:
    r"""Text with every character that cannot be shown as Python writes it, such as `\x1b`; lines and tabs stay."""
    shown = str(text).replace("\r\n", "\n")
    return _HIDDEN.sub(lambda m: m[0] if m[0] in "\n\t" else m[0].encode("unicode_escape").decode(), shown)


def line(text: object) -> str:
    """The same on one line, for a terminal too: line breaks and tabs become a space."""
    return visible(_BREAKS.sub(" ", str(text)))


def html(value: object) -> object:
    """For Jinja, which escapes what is markup itself: text that a browser leaves as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def markdown(value: object) -> Markup:
    """Text that Markdown (CommonMark, GitHub's tables, links, formulas) shows to the letter, wherever it stands.

    In a paragraph, heading, list, quotation, table cell or an image's text alternative; not between backticks.
    """
    if isinstance(value, Markup):
        return value
    text = re.sub(r"[\\`*{}\[\]<>&|~$#]", r"\\\g<0>", line(value))
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)  # within a word it is no mark
    text = re.sub(r"(?<=\w)(:)(?=//)|(?<=www)(\.)|(?<=\S)(@)", r"\\\g<0>", text, flags=re.IGNORECASE)
    text = re.sub(r"^([-+=])(?![A-Za-z0-9.])", r"\\\1", text)  # lists and rules
    text = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)
    # At the ends, spaces would be cut off, begin a block of code or keep marks around the text from working.
    return Markup(re.sub(r"^\s|\s$", lambda m: f"&#{ord(m[0])};", text))


def code(text: object) -> Markup:
    """Text between backticks, more of them than it has in a row itself."""
    content = line(text)
    fence = "`" * (_longest_run(content) + 1)
    pad = " " if content.startswith("`") or content.endswith("`") or content != content.strip() else ""
    return Markup(f"{fence}{pad}{content}{pad}{fence}") if content else Markup("")


def fenced(lines: Iterable[object], language: str = "sh") -> Markup:
    """Lines as a block of code."""
    content = "\n".join(map(visible, lines))
    fence = "`" * max(3, _longest_run(content) + 1)
    return Markup(f"{fence}{language}\n{content}\n{fence}")


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def csv(frame: pd.DataFrame) -> str:
    """A table as CSV whose texts, and names of columns, no spreadsheet takes for formulas; numbers are left alone."""
    safe = frame.map(_cell).rename(columns=_cell)
    text = io.StringIO()
    safe.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # also as wide as Chinese signs, which count as well
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    guard = "'" if _FORMULA.match(value) and not _NUMBER.fullmatch(value) else ""
    return guard + visible(value)


_LATEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}"},
    **{'"': r"\char34{}", "±": r"$\pm$", "×": r"$\times$"},  # a quotation mark may be a command of babel's
}


# What pdfLaTeX has in every font encoding; of the rest it would stop at each letter.
_UNSET = (
    "[^ -~\u00b1\u00d7\u00c0-\u00cf\u00d1-\u00d6\u00d8-\u00dd\u00df-\u00ef\u00f1-\u00f6\u00f8-\u00fd\u00ff"
    "\u2013\u2014\u2018\u2019\u201c\u201d\u2026]"
)
_TEX_PARTS = re.compile(rf"([-,])(?=\1)|({_UNSET}+)|.")


def latex(text: object) -> str:
    """Text as LaTeX sets it to the letter: no commands, no ligatures, no argument of the row or rule before it.

    Letters that pdfLaTeX may not have are shown by LuaLaTeX and XeLaTeX, and by their codes elsewhere.
    """

    def part(match: re.Match[str]) -> str:
        if match[1]:
            return f"{match[0]}\\/"
        if match[2]:
            codes = " ".join(f"U+{ord(letter):04X}" for letter in match[2])
            return f"\\ifdefined\\Uchar {match[2]}\\else {codes}\\fi{{}}"
        return _LATEX.get(match[0], match[0])

    return re.sub(r"^(\s*)([\[*])", r"\1{\2}", _TEX_PARTS.sub(part, line(text)))


def figure(text: object) -> str:
    """Text that Matplotlib shows to the letter, no formulas between dollar signs; a long one without its middle."""
    return labels([str(text)])[0]


def labels(texts: Sequence[str]) -> list[str]:
    """Labels of one figure: the same of several texts, whose labels differ as they do.

    Lists are compact, and labels are longer where they would look alike without their middles.
    """
    return [text.replace("$", r"\$") for text in shorten_all(compact(list(map(line, texts))), LONGEST_LABEL)]


def compact(texts: Sequence[str]) -> list[str]:
    """Texts with lists such as [64, 64, 64] as "3 × 64", unless two of them would be the same."""
    made = [_LIST.sub(_counted, text) for text in texts]
    return made if len({*made}) == len({*texts}) else list(texts)


_LIST = re.compile(r"\[[^\[\]]*, [^\[\]]*\]")


def _counted(match: re.Match[str]) -> str:
    """A list with equal elements in a row counted."""
    runs = [(value, len(list(same))) for value, same in groupby(match[0][1:-1].split(", "))]
    words = [f"{count} × {value}" if count > 1 else value for value, count in runs]
    return words[0] if len(words) == 1 else f"[{', '.join(words)}]"


def slugs(names: Sequence[str]) -> list[str]:
    """A different part of a file name, or of a label, for each of these different names: letters, digits and `_`."""
    made: list[str] = []
    for name in names:
        ascii_ = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        slug = re.sub("[^A-Za-z0-9]+", "_", ascii_).strip("_")[:LONGEST_SLUG] or "data"
        number = 2
        unique = slug
        while unique.lower() in (other.lower() for other in made):  # some file systems do not tell them apart
            unique, number = f"{slug}_{number}", number + 1
        made.append(unique)
    return made
