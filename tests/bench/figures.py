"""What a benchmark has found, each figure against a reference of the same run, and its goal.

    report = Report('create')
    report.add('create/peer', 'create a volume', 3.1, 'ms', 50.2, 'Cinder', faster(20))
    report.print()

What has no reference, because there is no peer on this machine, has no ratio and has not met its
goal or missed it.
"""

import dataclasses
import os
import statistics

import host


@dataclasses.dataclass(frozen=True)
class Goal:
    """`ratio` of a value and its reference; `met` by a value and its ratio, None for no goal."""
    text: str
    ratio: object
    met: object = None
    of_ratio: bool = True  # a goal for the ratio is open as long as there is no reference


def faster(least=None):
    """Of times: how many times faster than the reference."""
    return Goal(f'at least {least:g} times faster' if least else '', lambda v, r: r / v,
                least and (lambda value, ratio: ratio >= least))


def as_many(least=None):
    """Of what a second brings: how many times the reference's."""
    return Goal(f'at least {least:g} times as many' if least else '', lambda v, r: v / r,
                least and (lambda value, ratio: ratio >= least))


def within(most=None):
    """How many times the reference, where less is better."""
    return Goal(f'at most {most:g} times' if most else '', lambda v, r: v / r,
                most and (lambda value, ratio: ratio <= most))


def under(limit, unit):
    return Goal(f'under {limit:.3g} {unit}', lambda v, r: v / r,
                lambda value, ratio: value < limit, of_ratio=False)


def none():
    return Goal('none', lambda v, r: None, lambda value, ratio: value == 0, of_ratio=False)


def median(values):
    """None without any value."""
    return statistics.median(values) if values else None


def percentile(values, percent):
    """The value that so many percent are not above."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


class Report:
    def __init__(self, quick=False):
        self.machine = host.describe() + (', a quick run' if quick else '')
        self.figures = []

    def add(self, name, title, value, unit, reference, reference_name, goal):
        """`title` says for people what `name` is. Gives nothing; print() says all of it."""
        # pylint: disable=too-many-arguments
        ratio = goal.ratio(value, reference) if reference else None
        open_goal = goal.met is None or (goal.of_ratio and ratio is None)
        self.figures.append({
            'name': name, 'title': title, 'value': value, 'unit': unit, 'reference': reference,
            'reference_name': reference_name, 'ratio': ratio, 'goal': goal.text,
            'met': None if open_goal else goal.met(value, ratio), 'machine': self.machine})

    def missed(self):
        return [figure for figure in self.figures if figure['met'] is False]

    def print(self):
        for figure in self.figures:
            against, ratio = '', ''
            if figure['reference'] is not None:
                against = (f'{amount(figure["reference"])} {figure["unit"]} '
                           f'{figure["reference_name"]}')
            elif figure['reference_name']:
                against = f'no {figure["reference_name"]}'
            if figure['ratio'] is not None:
                ratio = f'{figure["ratio"]:.2f}'
            state = {True: 'met', False: 'MISSED', None: ''}[figure['met']]
            value = f'{amount(figure["value"])} {figure["unit"]}'
            print(f'  {figure["name"]:<24} {value:>14}  against {against:<44} {ratio:>8}  '
                  f'{figure["goal"]:<26} {state}'.replace('against  ', '         ').rstrip())
        print(f'  on {self.machine}; load average {os.getloadavg()[0]:.1f}')
        for figure in self.missed():
            print(f'  FAILED: {figure["title"]}: {amount(figure["value"])} {figure["unit"]}'
                  + (f', ratio {figure["ratio"]:.2f}' if figure['ratio'] is not None else '')
                  + f'; the goal is {figure["goal"]}', flush=True)


def amount(value):
    """A number with three digits that count, and no fewer than it has before the point."""
    if value == 0:
        return '0'
    if abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if abs(value) >= 10 else f'{value:.2f}'
