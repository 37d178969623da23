"""Hostile texts, and how Markdown shows them."""

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

from mnist_mlp.report.text import escape

HOSTILE = (
    *(
        '=HYPERLINK("http://evil.example/";"x")',
        "+1+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1+1",
        "\r=2+2",
        "\uff1d1",
    ),
    *("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "&lt;b&gt; &amp; &#60;", "--> ]]>", "<!--"),
    *(
        "[a](javascript:alert(3))",
        "![b](http://evil.example/b.png)",
        "[c]: http://evil.example",
        "<http://evil.example>",
    ),
    *(
        "| d | e |",
        "\\|",
        "\\",
        "`f`",
        "```",
        "~~~",
        "# g",
        "- h",
        "1. i",
        "2)",
        "> j",
        "---",
        "===",
        "+",
        "    k",
        "l #",
    ),
    *("*m* __n__ _o_ ~~p~~ a_b", "q\n\n# r\n", "s\r\n| t |", "\x1b[31mred\x1b]0;title\x07", "[bold]u[/bold] [/v]"),
    *(
        "$x^2$ \\$ $",
        "$$",
        "\\\\[1cm]",
        "[w]",
        "*x",
        "{y} %z #& ~ ^ _ \\input{/etc/passwd}",
        "-- --- ,, `` '' \"a << ?`",
    ),
    *(
        "http://evil.example www.evil.example a@evil.example",
        "{{ 7*7 }} {% raw %} ${7*7}",
        "\u202egnp.exe",
        "\ud800",
        "\x00",
    ),
    *("%{y} <b>bold</b>", "_under", "\x85\u2028", "\ufffe", " ", "toString", "__proto__", "n" * 70),
)


def shown(text: object) -> str:
    """Return a line of text as a page shows it: runs of spaces collapsed, ends stripped."""
    return re.sub(" +", " ", escape.line(text)).strip(" ")


def rendered(source: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)


def inline(token: Token) -> str:
    """Return the text of a heading, paragraph, cell or image; assert that it has only text, code and images."""
    parts = []
    for child in token.children or []:
        assert child.type in ("text", "text_special", "code_inline", "image", "strong_open", "strong_close"), child
        parts.append(inline(child) if child.type == "image" else child.content)
    return shown("".join(parts))
