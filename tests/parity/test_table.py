"""The table that the documents show is printed by the comparisons that are tested."""

from itertools import islice

from tests.parity import table


def test_every_comparison_has_a_line_for_each_quantity_with_both_figures() -> None:
    names = [name for name, _ in table.comparisons()]
    lines = list(islice(table.markdown(), 7))

    assert len(names) == len(set(names))
    quantities = [line.split("|")[2].strip() for line in lines[2:]]
    assert quantities == ["loss", "z0", "reward of desirable", "reward of undesirable", "gradient"]
    ours, trl, apart = (float(cell) for cell in lines[2].split("|")[3:6])
    assert abs(ours - trl) <= 1e-6
    assert apart <= 1e-6
