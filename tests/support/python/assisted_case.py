"""Disks whose machine is commanded by a consumer: consumer.py, as a process or step by step."""

import os
import subprocess
import sys

import setting
from cairn.v1 import volume_pb2
from consumer import Consumer
from live_case import LiveCase


class AssistedCase(LiveCase):
    def hypervisor(self, machine, disk):
        return volume_pb2.Hypervisor(assisted=volume_pb2.AssistedHypervisor())

    def start_consumer(self, machine, dies_at=None):
        """A consumer as a process; it is gone when the test ends."""
        program = ['consumer.py'] if dies_at is None else ['dying_consumer.py', dies_at]
        process = subprocess.Popen(
            [sys.executable, '-B', os.path.join(setting.HERE, program[0]), *program[1:],
             '--cairn', f'unix:{self.server.socket}', '--instance', 'machine-1',
             '--qmp', machine.cairn_socket],
            env={**os.environ, 'PYTHONPATH': setting.STUBS}, stdin=subprocess.DEVNULL)
        self.addCleanup(self.stop_consumer, process)
        return process

    @staticmethod
    def stop_consumer(process):
        if process.poll() is None:
            process.kill()
        process.wait()

    def consumer(self, machine):
        """A consumer that does only what it is told."""
        return Consumer(self.server.channel, 'machine-1', machine.cairn_socket)
