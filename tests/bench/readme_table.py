"""Writes what benchmarks have found into the table in README.md.

    readme_table.py FIGURES
"""

import json
import os
import re
import sys

from figures import amount

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'README.md')
TABLE = re.compile(r'(<!-- benchmarks -->\n).*?(<!-- /benchmarks -->)', re.DOTALL)


def row(figure):
    value = f'{amount(figure["value"])} {figure["unit"]}'
    reference, ratio, goal = '', '', figure['goal']
    if figure['reference'] is not None:
        reference = f'{figure["reference_name"]}: {amount(figure["reference"])} {figure["unit"]}'
    if figure['ratio'] is not None:
        ratio = amount(figure['ratio'])
    if figure['met'] is False:
        goal = f'**missed**: {goal}'
    return f'| {figure["title"]} | {value} | {reference} | {ratio} | {goal} |'


def table(figures):
    """In Markdown; the machines stand below it, in the order in which they came."""
    machines = list(dict.fromkeys(figure['machine'] for figure in figures))
    return '\n'.join([
        '| what | Cairn | against | ratio | goal |', '| --- | --- | --- | --- | --- |',
        *map(row, figures), '', 'Measured on ' + '; '.join(machines) + '.', ''])


def with_table(text, figures):
    """README's text with the table of these figures; None where it has no place for it."""
    changed, places = TABLE.subn(lambda m: m.group(1) + table(figures) + m.group(2), text)
    return changed if places == 1 else None


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        figures = json.load(file)
    if any('quick' in figure['machine'] for figure in figures):
        sys.exit(f'{sys.argv[1]} is of a quick run, whose figures are no claims')
    with open(README, encoding='utf-8') as file:
        text = with_table(file.read(), figures)
    if text is None:
        sys.exit('README.md has no place for the table of the benchmarks')
    with open(README, 'w', encoding='utf-8') as file:
        file.write(text)


if __name__ == '__main__':
    main()
