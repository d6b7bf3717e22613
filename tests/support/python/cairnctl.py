"""cairnctl as a process, against the server of a test."""

import json
import os
import pty
import select
import subprocess
import time

import setting


class Cairnctl:
    """`server`: a CairnServer. Nothing here has a terminal, except what ask() runs."""

    def __init__(self, server):
        self.env = {**os.environ, 'CAIRN_SERVER': f'unix:{server.socket}'}

    def start(self, *words, **options):
        """A process; stdin is empty and the outputs are pipes, unless `options` say otherwise."""
        streams = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE,
                   'stderr': subprocess.PIPE}
        return subprocess.Popen([setting.CAIRNCTL, *words], env=self.env, start_new_session=True,
                                **{**streams, **options})

    def run(self, *words, **options):
        """The exit code, stdout and stderr; outputs that are not pipes are empty."""
        data = options.pop('input', None)
        limit = options.pop('limit', 60)
        if data is not None:
            options['stdin'] = subprocess.PIPE
        process = self.start(*words, **options)
        try:
            out, err = process.communicate(data, limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return (process.returncode, (out or b'').decode('utf-8', 'surrogateescape'),
                (err or b'').decode('utf-8', 'surrogateescape'))

    def make(self, *words):
        """The ids that a command prints, which must succeed."""
        code, out, err = self.run(*words, '--quiet')
        if code != 0:
            raise AssertionError(f'{words}: {code}: {err}')
        return out.split()

    def show(self, *words):
        code, out, err = self.run(*words, '-o', 'json')
        if code != 0:
            raise AssertionError(f'{words}: {code}: {err}')
        return json.loads(out)

    def ask(self, answer, *words):
        """Runs it with a terminal of its own, which is none of its standard streams, and types
        `answer` when it asks. The exit code and what the terminal showed."""
        terminal, inner = pty.openpty()
        # The shell takes the terminal as the controlling one from its stdin, then gives it up.
        process = subprocess.Popen(
            ['setsid', '--ctty', '--wait', 'sh', '-c', 'exec "$0" "$@" </dev/null >/dev/null 2>&1',
             setting.CAIRNCTL, *words], env=self.env, stdin=inner, stdout=subprocess.DEVNULL)
        shown = b''
        give_up = time.monotonic() + 30
        try:
            while time.monotonic() < give_up:
                if select.select([terminal], [], [], 0.1)[0]:
                    asked_before = b'[y/N]' in shown
                    shown += os.read(terminal, 4096)
                    if b'[y/N]' in shown and not asked_before:
                        os.write(terminal, answer.encode() + b'\n')
                elif process.poll() is not None:
                    break
            return process.wait(30), shown.decode('utf-8', 'replace')
        finally:
            process.kill()
            process.wait()
            # Kept until now: a terminal that nobody has open is taken away.
            os.close(inner)
            os.close(terminal)
