"""Escaping of untrusted text for each output format.

Options, keys and values come from a user's files, reasons from exceptions, directories from the file system. Tables and
sentences contain them unescaped; the writer of a format passes them through the format's function in this module.
"""

import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby

import pandas as pd
from markupsafe import Markup

from mnist_mlp.analysis.notes import shorten_all

# Characters that no format can show: control characters (terminal sequences), bidirectional controls, line separators,
# surrogates (not valid in UTF-8) and characters that XML forbids.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
LONGEST_LABEL = 40  # characters in a figure; longer labels leave no room for the axes
LONGEST_SLUG = 60  # characters of a slug in a file name


def visible(text: object) -> str:
    r"""Replace characters that cannot be shown by Python escapes such as `\x1b`; line breaks and tabs stay."""
    shown = str(text).replace("\r\n", "\n")
    return _HIDDEN.sub(lambda m: m[0] if m[0] in "\n\t" else m[0].encode("unicode_escape").decode(), shown)


def line(text: object) -> str:
    """Return visible text on one line; line breaks and tabs become a space."""
    return visible(_BREAKS.sub(" ", str(text)))


def html(value: object) -> object:
    """Return visible text for Jinja, which escapes HTML markup itself."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def markdown(value: object) -> Markup:
    """Escape text for Markdown: CommonMark and GitHub's tables, links and formulas.

    The result is literal text in a paragraph, heading, list, quotation, table cell or an image's text alternative,
    but not between backticks.
    """
    if isinstance(value, Markup):
        return value
    text = re.sub(r"[\\`*{}\[\]<>&|~$#]", r"\\\g<0>", line(value))
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)  # an underscore within a word is literal
    text = re.sub(r"(?<=\w)(:)(?=//)|(?<=www)(\.)|(?<=\S)(@)", r"\\\g<0>", text, flags=re.IGNORECASE)
    text = re.sub(r"^([-+=])(?![A-Za-z0-9.])", r"\\\1", text)  # lists and rules
    text = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)
    # Spaces at the ends would be stripped, start a code block or disable emphasis around the text.
    return Markup(re.sub(r"^\s|\s$", lambda m: f"&#{ord(m[0])};", text))


def code(text: object) -> Markup:
    """Return text as inline code, fenced by more backticks than it contains in a row."""
    content = line(text)
    fence = "`" * (_longest_run(content) + 1)
    pad = " " if content.startswith("`") or content.endswith("`") or content != content.strip() else ""
    return Markup(f"{fence}{pad}{content}{pad}{fence}") if content else Markup("")


def fenced(lines: Iterable[object], language: str = "sh") -> Markup:
    """Return lines as a fenced code block."""
    content = "\n".join(map(visible, lines))
    fence = "`" * max(3, _longest_run(content) + 1)
    return Markup(f"{fence}{language}\n{content}\n{fence}")


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV, with visible text only.

    Text that a spreadsheet would take for a formula gets an apostrophe in front; a number such as -0.5 does not.
    """
    safe = frame.map(_cell).rename(columns=_cell)
    text = io.StringIO()
    safe.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # full-width forms start a formula, too
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
    **{'"': r"\char34{}", "±": r"$\pm$", "×": r"$\times$"},  # babel may make the quotation mark a command
}


# Characters that pdfLaTeX may lack in some font encoding, where they would stop it: all except these.
_UNSET = (
    "[^ -~\u00b1\u00d7\u00c0-\u00cf\u00d1-\u00d6\u00d8-\u00dd\u00df-\u00ef\u00f1-\u00f6\u00f8-\u00fd\u00ff"
    "\u2013\u2014\u2018\u2019\u201c\u201d\u2026]"
)
_TEX_PARTS = re.compile(rf"([-,])(?=\1)|({_UNSET}+)|.")


def latex(text: object) -> str:
    r"""Escape text for LaTeX.

    The result forms no command and no ligature, and a bracket in it is no option of the `\\` or rule before it.
    LuaLaTeX and XeLaTeX set all characters. pdfLaTeX shows the code points of those that it may lack.
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
    """Escape text for Matplotlib (no math between dollar signs) and shorten long text in the middle."""
    return labels([str(text)])[0]


def labels(texts: Sequence[str]) -> list[str]:
    """Return the labels of one figure (see `figure`); different texts have different labels.

    Lists are compact, and labels that would be equal after shortening stay longer.
    """
    return [text.replace("$", r"\$") for text in shorten_all(compact(list(map(line, texts))), LONGEST_LABEL)]


def compact(texts: Sequence[str]) -> list[str]:
    """Abbreviate lists such as [64, 64, 64] to "3 × 64", unless two texts would become equal."""
    made = [_LIST.sub(_counted, text) for text in texts]
    return made if len({*made}) == len({*texts}) else list(texts)


_LIST = re.compile(r"\[[^\[\]]*, [^\[\]]*\]")


def _counted(match: re.Match[str]) -> str:
    """Return a list with repeated elements counted."""
    runs = [(value, len(list(same))) for value, same in groupby(match[0][1:-1].split(", "))]
    words = [f"{count} × {value}" if count > 1 else value for value, count in runs]
    return words[0] if len(words) == 1 else f"[{', '.join(words)}]"


def slugs(names: Sequence[str]) -> list[str]:
    """Return a unique slug of letters, digits and `_` for each name, for file names and LaTeX labels."""
    made: list[str] = []
    for name in names:
        ascii_ = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        slug = re.sub("[^A-Za-z0-9]+", "_", ascii_).strip("_")[:LONGEST_SLUG] or "data"
        number = 2
        unique = slug
        while unique.lower() in (other.lower() for other in made):  # some file systems ignore case
            unique, number = f"{slug}_{number}", number + 1
        made.append(unique)
    return made
