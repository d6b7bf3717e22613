"""A client of cinder_peer.py.

    with start_peer(prefill=10_000) as peer:
        peer.milliseconds('create', 5)

Where there is no peer it says so and why, once for each start, and gives no milliseconds.
"""

import json
import os
import subprocess
import tempfile

NAME = "Cinder's driver"
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'cinder_peer.py')


class Absent:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def milliseconds(self, operation, count):
        """None at all."""
        del operation, count
        return []


class Peer:
    def __init__(self, options):
        self.root = tempfile.mkdtemp(prefix='peer-')
        os.chmod(self.root, 0o755)  # for the unprivileged user of --rootwrap
        self.errors = os.path.join(self.root, 'errors')
        with open(self.errors, 'wb') as errors:
            self.process = subprocess.Popen(
                ['/usr/bin/python3', '-B', PROGRAM, os.path.join(self.root, 'driver'), *options],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            self.version = self._answer()['version']
        except RuntimeError:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        with open(self.errors, encoding='utf-8', errors='replace') as file:
            lines = file.read().strip().splitlines()
        raise RuntimeError(lines[-1] if lines else 'its process has ended')

    def milliseconds(self, operation, count):
        """What each of so many operations took: create, snapshot, attach, delete_oldest."""
        print(json.dumps({'operation': operation, 'count': count}), file=self.process.stdin,
              flush=True)
        return self._answer()['milliseconds']

    def close(self):
        # Its input ends, and so does it.
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def _rootwrap_files(directory):
    """Debian's cinder-common, unpacked and not installed: that would make a user and a database."""
    subprocess.run(['apt-get', '-q', 'download', 'cinder-common'], cwd=directory, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    package, = (name for name in os.listdir(directory) if name.endswith('.deb'))
    subprocess.run(['dpkg', '-x', package, 'root'], cwd=directory, check=True)
    return os.path.join(directory, 'root')


def _installed():
    query = subprocess.run(['dpkg-query', '-W', '-f', '${db:Status-Status}', 'python3-cinder'],
                           check=False, capture_output=True, text=True)
    return query.stdout == 'installed'


def start_peer(prefill=0, rootwrap=False):
    """`rootwrap`: as an unprivileged user, as a packaged cinder-volume, and not as root."""
    if not _installed():
        print('  no peer: python3-cinder is not installed (deploy/install-packages peer)')
        return Absent()
    options = ['--prefill', str(prefill)] if prefill else []
    with tempfile.TemporaryDirectory(prefix='cinder-common-') as package:
        try:
            if rootwrap:
                os.chmod(package, 0o755)
                options += ['--rootwrap', _rootwrap_files(package)]
            return Peer(options)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            print(f'  no peer{" with rootwrap" if rootwrap else ""}: {error}')
            return Absent()
