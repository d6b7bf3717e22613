#!/usr/bin/env python3
"""Checks the rules of the tree that no compiler checks.

    tidy.py [--root DIR] CHECK...

Prints each violation as `file:line: what is wrong` and ends with 1 if there is any. The checks:

    layers   the include directions of the house: downward only, no gRPC in lib/, no lib/ in client/
    guards   each header has an include guard made of its path
    length   no file of ours is longer than a reader can keep in mind
    clocks   the wall clock is read where its time is shown or recorded, and nowhere else
    marks    nothing is left marked as unfinished
    format   the C++ files are as clang-format 14 writes them
    scripts  the shell scripts parse and pass shellcheck, the Python files compile
    links    relative links and file names in the documents lead somewhere
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

FOLDERS = ('client', 'deploy', 'lib', 'proto', 'server', 'tests')
SKIPPED = {'build', 'node_modules', '__pycache__', '.git', '.cache'}
CODE = ('.h', '.cc')
LENGTH_MAX = 600

# Who may ask what time it is. All that measures asks the monotonic clock (MonotonicTime, or
# std::chrono::steady_clock in client/).
WALL_CLOCK = re.compile(r'absl::Now\(|system_clock::now\(|GetCurrentTimeNanos|\bwait_until\(|'
                        r'AwaitWithDeadline|WaitWithDeadline|GPR_CLOCK_REALTIME|CLOCK_REALTIME|'
                        r'\bgettimeofday\(|\btime\((nullptr|NULL|0)\)')
WALL_CLOCK_READERS = {
    'lib/base/clock.cc',  # Clock::Now(), from which the times of records come
    'lib/base/mutex.h',  # what the thread sanitizer knows; see there
    'client/cairnctl/show.h',  # "2 hours ago"
}

# What the files of a folder of lib/ may include, besides the folder itself.
BELOW = {
    'base': (),
    'os': ('base',),
    'exec': ('base', 'os'),
    'image': ('base', 'os'),
    'share': ('base', 'os', 'exec'),
    'catalog': ('base', 'os', 'exec'),
    'hypervisor': ('base', 'os', 'exec'),
    'chain': ('base', 'os', 'exec', 'image', 'share', 'catalog', 'hypervisor'),
    'pool': ('base', 'os', 'exec', 'image', 'share', 'catalog', 'hypervisor'),
    'engine': ('base', 'os', 'exec', 'image', 'share', 'catalog', 'hypervisor', 'chain', 'pool'),
}
# The engine's interface speaks in records and pools, so the server may name these too; it has
# descriptors of its own as well, those of its sockets.
SERVER_MAY = re.compile(r'lib/(engine/|base/|os/unique_fd\.h$|pool/pool\.h$|'
                        r'catalog/(catalog|records)\.h$)')
GENERATED = re.compile(r'(grpc|grpcpp|google/(protobuf|rpc)|cairn/v1)/')
INCLUDE = re.compile(r'\s*#\s*include\s+["<]([^">]+)[">]')


class Tree:
    """The files of a tree, read once."""

    def __init__(self, root):
        self.root = root
        self.paths = []
        self._lines = {}
        for folder in FOLDERS:
            for where, folders, files in os.walk(os.path.join(root, folder)):
                folders[:] = sorted(f for f in folders if f not in SKIPPED)
                for name in sorted(files):
                    self.paths.append(os.path.relpath(os.path.join(where, name), root))
        self.paths += sorted(f for f in os.listdir(root) if os.path.isfile(os.path.join(root, f)))
        if os.path.isfile(os.path.join(root, '.ci', 'run')):
            self.paths.append('.ci/run')

    def code(self):
        return [p for p in self.paths if p.endswith(CODE)]

    def lines(self, path):
        if path not in self._lines:
            with open(os.path.join(self.root, path), encoding='utf-8', errors='replace') as file:
                self._lines[path] = file.read().splitlines()
        return self._lines[path]

    def scripts(self, program):
        """The executable texts whose first line names `program`."""
        for path in self.paths:
            if os.path.splitext(path)[1] in ('', '.sh', '.py'):
                lines = self.lines(path)
                if lines and lines[0].startswith('#!') and program in lines[0]:
                    yield path


def forbidden(path, include):
    """Why the file at `path` may not include `include`; empty if it may."""
    parts = path.split('/')
    target = include.split('/')
    if parts[0] == 'lib':
        if GENERATED.match(include):
            return 'lib/ knows neither gRPC nor generated code'
        if target[0] in ('server', 'client', 'tests') or include.startswith('cairn/'):
            return f'lib/ stands below {target[0]}/'
        if target[0] == 'lib' and target[1] != parts[1]:
            if parts[1] not in BELOW:
                return f'lib/{parts[1]} has no place in the house'
            if target[1] not in BELOW[parts[1]]:
                return f'lib/{parts[1]} does not stand on lib/{target[1]}'
    elif parts[0] == 'client':
        if target[0] in ('lib', 'server', 'tests'):
            return f'client/ knows proto/, nothing of {target[0]}/'
    elif parts[0] == 'server':
        if target[0] in ('tests', 'client') or include.startswith('cairn/client/'):
            return f'server/ includes nothing of {target[0]}/'
        if target[0] == 'lib' and not SERVER_MAY.match(include):
            return 'server/ speaks with the engine, and includes its headers only'
    return ''


def check_layers(tree):
    for path in tree.code():
        for number, line in enumerate(tree.lines(path), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            include = match.group(1)
            why = forbidden(path, include)
            if why:
                yield path, number, f'includes {include}: {why}'
            elif line.strip().endswith('"') and '/' not in include:
                yield path, number, f'includes {include}: ours are named by their whole path'


def guard_of(path):
    # The client's headers are included, and installed, as cairn/client/<name>.h.
    if path.startswith('client/cairn/'):
        path = path[len('client/cairn/'):]
    return 'CAIRN_' + re.sub(r'[^A-Za-z0-9]', '_', path).upper() + '_'


def check_guards(tree):
    for path in tree.paths:
        if not path.endswith('.h'):
            continue
        guard = guard_of(path)
        code = [line.strip() for line in tree.lines(path) if line.strip()]
        code = [line for line in code if not line.startswith('//')]
        if code[:2] != [f'#ifndef {guard}', f'#define {guard}'] or code[-1:] != [
                f'#endif  // {guard}']:
            yield path, 1, f'the include guard must be {guard}, around all and named at its end'


def check_length(tree):
    for path in tree.paths:
        if not path.endswith(CODE + ('.py', '.js', '.sh')) and path not in tree.scripts('bash'):
            continue
        length = len(tree.lines(path))
        if length > LENGTH_MAX:
            yield path, LENGTH_MAX + 1, f'has {length} lines; {LENGTH_MAX} are the most'


def check_clocks(tree):
    for path in tree.code():
        if not path.startswith(('lib/', 'server/', 'client/')) or path in WALL_CLOCK_READERS:
            continue
        for number, line in enumerate(tree.lines(path), 1):
            match = WALL_CLOCK.search(line.split('//')[0])
            if match:
                yield path, number, (f'{match.group(0)}: the wall clock may be set at any time; '
                                     'measure with MonotonicTime, record with Clock::Now()')


def check_marks(tree):
    mark = re.compile(r'\b(TO' r'DO|FIX' r'ME|X' r'XX|HA' r'CK)\b')
    for path in tree.paths:
        if path == 'LICENSE' or path.endswith('package-lock.json'):
            continue
        for number, line in enumerate(tree.lines(path), 1):
            match = mark.search(line)
            if match:
                yield path, number, f'{match.group(1)}: say it in an issue, or do it'


def check_format(tree):
    program = shutil.which('clang-format-14')
    if not program:
        yield 'tests/unit/tidy/tidy.py', 0, 'no clang-format-14: deploy/install-packages test'
        return
    paths = tree.code()
    size = max(1, len(paths) // (os.cpu_count() or 1) + 1)
    runs = [
        subprocess.Popen([program, '--dry-run', '-Werror', '-style=file'] + paths[i:i + size],
                         cwd=tree.root, stderr=subprocess.PIPE, text=True)
        for i in range(0, len(paths), size)
    ]
    place = re.compile(r'(.+?):(\d+):\d+: error: (.*)')
    for run in runs:
        _, errors = run.communicate()
        found = False
        for match in place.finditer(errors):
            found = True
            yield match.group(1), int(match.group(2)), 'is not as clang-format-14 writes it'
        if run.returncode and not found:
            yield 'clang-format-14', 0, errors.strip()


def check_scripts(tree):
    shell = sorted(tree.scripts('bash'))
    commands = [['bash', '-n', path] for path in shell]
    if shell and shutil.which('shellcheck'):
        commands.append(['shellcheck', '-f', 'gcc'] + shell)
    for command in commands:
        run = subprocess.run(command, cwd=tree.root, capture_output=True, text=True, check=False)
        if run.returncode:
            yield command[-1], 0, (run.stdout + run.stderr).strip()
    for path in tree.paths:
        if not path.endswith('.py'):
            continue
        text = '\n'.join(tree.lines(path)) + '\n'
        try:
            compile(text, path, 'exec')
        except SyntaxError as error:
            yield path, error.lineno or 0, error.msg
        for number, line in enumerate(tree.lines(path), 1):
            if len(line) > 100 or line != line.rstrip():
                yield path, number, 'is longer than 100 columns, or ends with a space'


def check_links(tree):
    link = re.compile(r'\]\(([^)#\s]+)(?:#[^)]*)?\)')
    for path in tree.paths:
        if not path.endswith('.md'):
            continue
        for number, line in enumerate(tree.lines(path), 1):
            for target in link.findall(line):
                where = os.path.join(tree.root, os.path.dirname(path), target)
                if '://' not in target and not os.path.exists(where):
                    yield path, number, f'links to {target}, which is not there'


CHECKS = {name[len('check_'):]: function for name, function in list(globals().items())
          if name.startswith('check_')}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument('--root', default=os.path.normpath(os.path.join(here, '..', '..', '..')))
    parser.add_argument('check', nargs='*', metavar='CHECK', default=list(CHECKS))
    arguments = parser.parse_args()
    tree = Tree(arguments.root)
    found = 0
    for name in arguments.check:
        if name not in CHECKS:
            parser.error(f'no check {name}; there are {", ".join(CHECKS)}')
        for path, line, what in CHECKS[name](tree):
            found += 1
            print(f'{path}:{line}: {what}')
    if found:
        print(f'{found} violation(s)', file=sys.stderr)
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
