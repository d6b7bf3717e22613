"""Runs one benchmark of cases/ in a process of its own. tests/bench/run calls it:

    bench.py NAME --cairnd FILE --stubs DIR --json FILE [--quick]

Prints what the case has found and writes it to the file; ends with 1 when a goal is missed.
"""

import importlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'support', 'python')]

# It finds the stubs, which all that follows needs, and takes its part of the command line.
import setting  # noqa: F401  pylint: disable=unused-import

from figures import Report


def main():
    name, file = sys.argv[1], sys.argv[sys.argv.index('--json') + 1]
    quick = '--quick' in sys.argv
    case = importlib.import_module(f'cases.{name.replace("-", "_")}')
    report = Report(quick)
    print(f'{name}: {case.__doc__.splitlines()[0]}', flush=True)
    try:
        case.run(report, quick)
    except RuntimeError as error:
        # Such as a call that was refused: then there are no figures.
        print(f'  FAILED: {error}')
        return 1
    report.print()
    with open(file, 'w', encoding='utf-8') as output:
        json.dump(report.figures, output, indent=2)
    return int(bool(report.missed()))


if __name__ == '__main__':
    sys.exit(main())
