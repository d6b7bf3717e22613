"""A real cairnd on directories of its own, for one test."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

import grpc
from grpc.health.v1 import health_pb2, health_pb2_grpc


class CairnServer:
    """Starts in the constructor; close() ends it and removes what it had. `root`: where all of it
    is, perhaps from an earlier time."""

    awaited = 'pool/default'  # what must be SERVING before the server counts as started
    settings = ''  # further lines of the configuration

    def __init__(self, program, root=None):
        self.program = program
        self.root = root or tempfile.mkdtemp(prefix='cairn-test-')
        self.share = os.path.join(self.root, 'share')
        self.socket = os.path.join(self.root, 'cairnd.sock')
        self.log = os.path.join(self.root, 'cairnd.log')
        self.process = None
        self.channel = None
        os.makedirs(self.share, exist_ok=True)
        self._write('nfs_shares', f'file://{self.share}\n')
        self._write('cairnd.yaml', f'''listen: ["unix:{self.socket}"]
state_path: {self.root}/state
{self.settings}pools:
  default:
    nfs_shares_config: {self.root}/nfs_shares
''')
        self.start()

    def _write(self, name, text):
        with open(os.path.join(self.root, name), 'w', encoding='utf-8') as file:
            file.write(text)

    def command(self):
        return [self.program, '--config', os.path.join(self.root, 'cairnd.yaml')]

    def start(self, fail_points=''):
        """`fail_points`: those that are armed (lib/base/failpoint.h)."""
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                self.command(), env={**os.environ, 'CAIRN_FAILPOINTS': fail_points},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        # The first try comes before the server listens; the next is not to come a second later.
        self.channel = grpc.insecure_channel(f'unix:{self.socket}', options=[
            ('grpc.initial_reconnect_backoff_ms', 20), ('grpc.min_reconnect_backoff_ms', 20),
            ('grpc.max_reconnect_backoff_ms', 1000)])
        health = health_pb2_grpc.HealthStub(self.channel)
        give_up = time.monotonic() + 30
        while True:
            try:
                reply = health.Check(health_pb2.HealthCheckRequest(service=self.awaited),
                                     timeout=2, wait_for_ready=True)
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                pass
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f'cairnd is not serving:\n{self.log_tail()}')
            time.sleep(0.05)

    def stop(self, how=signal.SIGTERM):
        self.channel.close()
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        return self.process.returncode

    def log_tail(self):
        with open(self.log, encoding='utf-8', errors='replace') as file:
            return ''.join(file.readlines()[-40:])

    def close(self):
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            shutil.rmtree(self.root, ignore_errors=True)

    def files(self):
        """The files of volumes on the share."""
        return sorted(name for name in os.listdir(self.share) if name.startswith('volume-'))
