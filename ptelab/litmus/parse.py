# SPDX-License-Identifier: GPL-2.0-only
"""Text of a litmus file to `syntax.Litmus`.

Comments change their form along the file ((* … *) in the header, the init block and the tail, C's in the processes),
and `(*` is ordinary C inside a process.  So comments and strings are blanked first, region by region, and one grammar
reads the rest; every place in the blanked text is the same place in the file.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import lark

from ptelab.litmus import syntax
from ptelab.litmus.syntax import LitmusError, Pos
from ptelab.litmus.transform import ToSyntax

_FORBIDDEN = ("for", "while", "do", "goto", "switch", "return", "case", "break", "continue")
_PROCESS = re.compile(r"P\d+\s*\(")
_SHOWN = {
    "$END": "the end of the file", "METADATA": "KEY=VALUE", "INT": "a number", "NAME": "a name", "LPAR": "'('",
    "RPAR": "')'", "LBRACE": "'{'", "RBRACE": "'}'", "SEMICOLON": "';'", "COLON": "':'", "COMMA": "','",
    "EQUALS": "'='", "LSQB": "'['", "RSQB": "']'", "PROC": "P0", "TEST_NAME": "the name of the test",
    "MM": "MM NAME on the first line", "PTE": "PTE", "PAGE_SIZE": "PAGE_SIZE", "EXISTS": "exists (…)",
    "NOT_EXISTS": "~exists (…)", "FORALL": "forall (…)", "LOCATIONS": "locations […]", "FILTER": "filter (…)",
    "STAR": "'*'", "TILDE": "'~'",
}  # fmt: skip


class _Blanker:
    """Walks the text once; `text` is what remains when comments and strings are blanks."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.source = file, text
        self.text = list(text)
        self.comment, self.comment_pos = "", Pos(1, 1)
        self.tail = len(text)  # where the last process has ended
        self._found_comment = False
        i = self._region(0, "{")
        i = self._block(i)
        self._processes(i)

    def pos(self, i: int) -> Pos:
        line = self.source.count("\n", 0, i)
        return Pos(line + 1, i - (self.source.rfind("\n", 0, i) + 1) + 1)

    # Blanks [start, end) but keeps the line ends.
    def _blank(self, start: int, end: int) -> None:
        for i in range(start, end):
            if self.source[i] != "\n":
                self.text[i] = " "

    # Skips a comment or string that starts at i and returns its end; i itself when there is none.
    def _skip(self, i: int, in_c: bool) -> int:
        s = self.source
        if not in_c and s.startswith("(*", i):
            end, opener = self._ocaml_end(i), "*)"
        elif in_c and s.startswith("/*", i):
            end, opener = s.find("*/", i + 2) + 2, "*/"
            end = end if end >= 2 else -1
        elif in_c and s.startswith("//", i):
            end, opener = s.find("\n", i), ""
            end = len(s) if end < 0 else end
        elif not in_c and s[i] == '"':
            end, opener = s.find('"', i + 1) + 1, '"'
            end = end if end > 0 else -1
        else:
            return i
        if end < 0:
            raise LitmusError(self.file, self.pos(i), f"this never ends; {opener} is missing")
        if opener == "*)" and not self._found_comment:
            self._found_comment = True
            self.comment, self.comment_pos = s[i + 2 : end - 2], self.pos(i)
        self._blank(i, end)
        return end

    # The end of an OCaml comment, which may nest; -1 when it never ends.
    def _ocaml_end(self, i: int) -> int:
        depth = 0
        for match in re.compile(r"\(\*|\*\)").finditer(self.source, i):
            depth += 1 if match[0] == "(*" else -1
            if depth == 0:
                return match.end()
        return -1

    def _region(self, i: int, until: str) -> int:
        while i < len(self.source) and self.source[i] != until:
            after = self._skip(i, in_c=False)
            i = after if after > i else i + 1
        return i

    def _block(self, i: int) -> int:
        depth = 0
        while i < len(self.source):
            after = self._skip(i, in_c=False)
            if after > i:
                i = after
                continue
            depth += {"{": 1, "}": -1}.get(self.source[i], 0)
            i += 1
            if depth == 0:
                break
        return i

    def _processes(self, i: int) -> None:
        depth, word = 0, True  # word: a process may start here
        while i < len(self.source):
            c = self.source[i]
            after = self._skip(i, in_c=True)
            if after == i and depth == 0 and word and not c.isspace():
                if not _PROCESS.match(self.source, i):
                    self.tail = i
                    self._region(i, "\0")
                    return
                word = False
            if after == i and c in "{}":
                depth += 1 if c == "{" else -1
                word = depth == 0
            i = max(after, i + 1)


@cache
def _grammar() -> lark.Lark:
    def forbid(token: lark.Token) -> lark.Token:
        if token in _FORBIDDEN:
            raise _Forbidden(token)
        return token

    text = files("ptelab.litmus").joinpath("grammar.lark").read_text(encoding="utf-8")
    return lark.Lark(text, parser="lalr", propagate_positions=True, lexer_callbacks={"NAME": forbid},
                     maybe_placeholders=True)  # fmt: skip


class _Forbidden(Exception):
    def __init__(self, token: lark.Token) -> None:
        self.token = token


def parse(text: str, file: str) -> syntax.Litmus:
    """Parse a litmus file; `file` is what errors call it.  Raises LitmusError."""
    blanker = _Blanker(file, text)
    blanked = "".join(blanker.text)
    try:
        tree = _grammar().parse(blanked)
    except _Forbidden as error:
        pos = Pos(error.token.line or 1, error.token.column or 1)
        raise LitmusError(file, pos, f"'{error.token}' has no place in a column", "the statements one by one") from None
    except lark.UnexpectedToken as error:
        raise _unexpected(file, blanked, error) from None
    except lark.UnexpectedCharacters as error:
        what = f"{error.char!r} is not expected here"
        raise LitmusError(file, Pos(error.line, error.column), what, _expected(error.allowed)) from None
    try:
        return ToSyntax(file, blanked, blanker.comment, blanker.comment_pos).transform(tree)
    except lark.exceptions.VisitError as error:
        raise error.orig_exc from None


def _unexpected(file: str, text: str, error: lark.UnexpectedToken) -> LitmusError:
    token = error.token
    if token.type == "$END":
        line = text.count("\n", 0, len(text.rstrip())) + 1
        pos, what = Pos(line, len(text.rstrip().splitlines()[-1]) + 1 if text.strip() else 1), "the file ends here"
    else:
        pos, what = Pos(error.line, error.column), f"'{' '.join(str(token).split())}' is not expected here"
    return LitmusError(file, pos, what, _expected(error.accepts or error.expected))


# The few words that may stand where the error is; nothing when there are too many to help.
def _expected(names: set[str] | None) -> str:
    shown = sorted({_SHOWN[n] for n in names or () if n in _SHOWN} - {"PAGE_SIZE"})
    if names is None or not 0 < len(shown) <= 6:
        return ""
    return " or ".join(shown) if len(shown) < 3 else ", ".join(shown[:-1]) + " or " + shown[-1]
