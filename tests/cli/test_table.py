"""`gateway.cli.table`: columns that line up."""

from gateway.cli.table import counted, listed, table


def test_columns_line_up() -> None:
    """Each column is as wide as its widest cell, and no line ends in spaces."""
    assert "a    bb  c\nddd  e   ff\ng" == table([("a", "bb", "c"), ("ddd", "e", "ff"), ("g", "", "")])


def test_no_cell_moves_the_cursor() -> None:
    """An escape sequence, a line break or half a character in a cell is shown, not obeyed."""
    assert "?[2J  b\nc??   é" == table([("\x1b[2J", "b"), ("c\r\n", "é")])


def test_a_list_of_nothing_is_seen() -> None:
    """Names come in order, and an empty list shows as a dash."""
    assert ("a b", "-") == (listed({"b", "a"}), listed([]))


def test_a_number_has_its_noun() -> None:
    """One is not many, whatever the plural is."""
    assert ["1 row", "0 rows", "1 policy", "2 policies"] == [
        counted(1, "row"),
        counted(0, "row"),
        counted(1, "policy", "policies"),
        counted(2, "policy", "policies"),
    ]
