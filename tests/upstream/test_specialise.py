import textwrap

import pytest

from metasemi_plugin.upstream.specialise import forget_in_docstring, specialise

MODULE = '''
TABLE = {"a": first, "b": second}


class Page:
    """What it does; ``extra`` does more; the rest."""

    extras = ("extra",)

    def __init__(self, args):
        self.way = args.way
        self.extra = args.extra
        if self.extra is None:
            self.extra = 1
        self.kept = args.kept  # stays

    def step(self, x, more=None):
        """One step.

        Args:
            x: an input.
            more: needed by ``extra``.

        Returns:
            A number.
        """
        if self.way == "other":
            y = 0
        else:
            # why
            y = self.half(x)  # halved
        if self.way == "b":
            y = 1
        elif x:
            y = y + 1
        if self.way in ("a", x):
            z = TABLE[self.way](y)
        total = z + self.extra * more  # Eq. 2
        return self.report(total=total, more=more, kept=self.kept if self.way == "a" else 0)

    def half(self, value):
        if self.way == "a":
            return value / 2
        return value

    @staticmethod
    def options():
        return [Option("--kept", 1), Option("--extra", 2), Option("--way", "a")]
'''
WITHOUT = '''
TABLE = {"a": first, "b": second}


class Page:
    """What it does; the rest."""

    def __init__(self, args):
        self.kept = args.kept  # stays

    def step(self, x):
        """One step.

        Args:
            x: an input.

        Returns:
            A number.
        """
        # why
        y = x / 2  # halved
        if x:
            y = y + 1
        total = first(y)
        return self.report(total=total, kept=self.kept)

    @staticmethod
    def options():
        return [Option("--kept", 1), ]
'''


def test_every_rule_at_once():
    text = specialise(
        MODULE, forget=("extra", "extras", "more"), fixed={"way": "a"}, inline=("half",)
    )
    assert text == WITHOUT


def test_arguments_by_keyword():
    assert specialise("f(a=1, b=2)\n", forget=(), keywords=("b",)) == "f(a=1)\n"


def test_an_argument_that_mentions_goes_whole():
    """Not Dropout() with the default: that would be another net."""
    assert specialise("net = Sequential(Pool(2), Dropout(p))\n", forget=("p",)) == (
        "net = Sequential(Pool(2))\n"
    )


@pytest.mark.parametrize(
    "text", ["y = 2 * extra\n", "for i in extra:\n    pass\n", "'''See ``extra``'''\n"]
)
def test_what_it_cannot_take_out_is_an_error(text):
    with pytest.raises(ValueError, match="cannot leave out extra"):
        specialise(text, forget=("extra",))


def test_docstrings_lose_entries_and_clauses():
    text = textwrap.dedent(
        """\
        First ``gone`` of all. Second (Eq. 3) stays; third with `gone` not.

        Args:
            gone: this
                and this.
            stays: that
                and that.
        """
    )
    assert forget_in_docstring(text, {"gone"}) == (
        "Second (Eq. 3) stays.\n\nArgs:\n    stays: that\n        and that."
    )
    assert forget_in_docstring(text, {"other"}) == text.rstrip("\n")
