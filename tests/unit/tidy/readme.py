#!/usr/bin/env python3
"""README's table of the configuration is what the server prints.

    readme.py [--update] CAIRND
"""

import argparse
import os
import re
import subprocess
import sys

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', '..', 'README.md')
TABLE = re.compile(r'(<!-- configuration -->\n).*?(<!-- /configuration -->)', re.DOTALL)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--update', action='store_true', help='write the table into README.md')
    parser.add_argument('cairnd')
    arguments = parser.parse_args()
    reference = subprocess.run([arguments.cairnd, '--print-config-reference'], check=True,
                               stdout=subprocess.PIPE, text=True).stdout
    with open(README, encoding='utf-8') as file:
        text = file.read()
    wanted, tables = TABLE.subn(lambda m: m.group(1) + reference.strip() + '\n' + m.group(2), text)
    if tables != 1:
        sys.exit('README.md has no place for the table of the configuration')
    if arguments.update:
        with open(README, 'w', encoding='utf-8') as file:
            file.write(wanted)
    elif wanted != text:
        sys.exit('README.md differs from cairnd --print-config-reference; '
                 f'run {sys.argv[0]} --update {arguments.cairnd}')


if __name__ == '__main__':
    main()
