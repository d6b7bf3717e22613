"""Measurements by turns, so that what else the machine does hits all of them alike."""


def in_rounds(count, **measured):
    """`measured`: functions that give a list. Each is called once a round; gives all its values."""
    found = {name: [] for name in measured}
    for _ in range(count):
        for name, measure in measured.items():
            found[name] += measure()
    return found
