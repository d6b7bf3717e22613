"""Real machines with disks: qemu-storage-daemon, and qemu-system-x86_64 under TCG.

A machine has QMP sockets for Cairn and for the test, and gives each of its disks to the test's
writer over NBD. It can be killed, and started again with what Cairn says is to be opened then.
"""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

from qmp import Qmp, QmpError


class Disk:
    """A disk of a machine. `blockdev`: the options with which it is opened, as JSON."""

    def __init__(self, name, blockdev):
        self.name = name
        self.blockdev = blockdev
        self.node = json.loads(blockdev)['node-name']
        self.export = f'export-{name}'

    @property
    def path(self):
        return json.loads(self.blockdev)['file']['filename']


class Onlooker:
    """Asks the machine all the time which nodes it has, as libvirt and monitoring do, until it is
    stopped. It must be safe to ask at any instant of a change."""

    def __init__(self, qmp):
        self.error = None
        self._qmp = qmp
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._stopping.wait(0.001):
                self._qmp.execute('query-named-block-nodes')
        except (OSError, QmpError) as error:
            self.error = error

    def stop(self):
        self._stopping.set()
        self._thread.join()
        self._qmp.close()


class Machine:
    """Made, it is off. close() ends it, however it is, and removes its directory."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix='cairn-machine-')
        self.cairn_socket = os.path.join(self.directory, 'cairn.qmp')
        self.spare_socket = os.path.join(self.directory, 'spare.qmp')
        self.test_socket = os.path.join(self.directory, 'test.qmp')
        self.nbd_socket = os.path.join(self.directory, 'nbd.sock')
        self.log = os.path.join(self.directory, 'log')
        self.process = None
        self.disks = {}
        self._exports = 0

    blockdev = 'qemu_blockdev_json'  # which word of a ConnectionInfo start() is to be given

    def disk_id(self, name):
        """What Cairn is told as QmpHypervisor.node_or_device."""
        raise NotImplementedError

    def control(self, name):
        """What Cairn is told as Hypervisor."""
        return {'qmp': {'address': f'unix:{self.cairn_socket}',
                        'node_or_device': self.disk_id(name)}}

    def command(self):
        raise NotImplementedError

    def monitors(self, device):
        arguments = []
        for name, path in (('cairn', self.cairn_socket), ('spare', self.spare_socket),
                           ('test', self.test_socket)):
            arguments += ['-chardev' if device == '-mon' else '--chardev',
                          f'socket,id={name},path={path},server=on,wait=off',
                          device, f'chardev={name},mode=control' if device == '-mon'
                          else f'chardev={name}']
        return arguments

    def start(self, disks):
        """`disks`: name -> the JSON of -blockdev."""
        self.disks = {name: Disk(name, blockdev) for name, blockdev in disks.items()}
        for path in (self.cairn_socket, self.spare_socket, self.test_socket, self.nbd_socket):
            if os.path.exists(path):
                os.unlink(path)
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        give_up = time.monotonic() + 60
        while True:
            try:
                self.qmp().close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError(f'the machine did not start: {self.log_tail()}') from None
                time.sleep(0.02)
        self.add_exports()

    def qmp(self):
        """A connection of the test's own; to be closed."""
        return Qmp(self.test_socket)

    def look_on(self):
        """Somebody else looks at the machine from now on; to be stopped."""
        return Onlooker(Qmp(self.spare_socket))

    def add_exports(self):
        with self.qmp() as qmp:
            qmp.execute('nbd-server-start',
                        addr={'type': 'unix', 'data': {'path': self.nbd_socket}})
        for name in self.disks:
            self.add_export(name)

    def add_export(self, name, node=None):
        """Gives the disk to writers, in its present size."""
        disk = self.disks[name]
        with self.qmp() as qmp:
            qmp.execute('block-export-add', type='nbd', id=disk.export, name=disk.export,
                        writable=True, **{'node-name': node or disk.node})

    def remove_export(self, name):
        """While QEMU exports a disk over NBD it does not resize it. The writers are gone."""
        with self.qmp() as qmp:
            export = self.disks[name].export
            node = next(e['node-name'] for e in qmp.execute('query-block-exports')
                        if e['id'] == export)
            qmp.execute('block-export-del', id=export, mode='hard')
            give_up = time.monotonic() + 30
            while any(e['id'] == export for e in qmp.execute('query-block-exports')):
                if time.monotonic() > give_up:
                    raise TimeoutError(f'{export} does not go away')
                time.sleep(0.01)
        return node

    def open_chain(self, name):
        """The files that the disk has open, the active one first, as its export sees it."""
        with self.qmp() as qmp:
            node = next(e['node-name'] for e in qmp.execute('query-block-exports')
                        if e['id'] == self.disks[name].export)
            return qmp.chain_of(qmp.file_of(node))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def quit(self):
        """Ends it as its user would, so that everything is written."""
        with self.qmp() as qmp:
            try:
                qmp.execute('quit')
            except (ConnectionError, QmpError):
                pass
        code = self.process.wait(60)
        if code != 0:
            raise RuntimeError(f'the machine ended with {code}: {self.log_tail()}')

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def state(self):
        """For people."""
        if self.process is None:
            return f'{type(self).__name__}: never switched on'
        return (f'{type(self).__name__}: ' +
                ('running' if self.running else f'ended with {self.process.returncode}') +
                f' {self.log_tail() if os.path.exists(self.log) else ""}')

    def log_tail(self):
        with open(self.log, encoding='utf-8', errors='replace') as file:
            return ''.join(file.readlines()[-20:])

    def close(self):
        if self.running:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class StorageDaemon(Machine):
    """qemu-storage-daemon. Cairn knows a disk by the name of its node."""

    def disk_id(self, name):
        return f'cairn-{name[:13]}'

    def command(self):
        arguments = ['qemu-storage-daemon', *self.monitors('--monitor')]
        for disk in self.disks.values():
            arguments += ['--blockdev', disk.blockdev]
        return arguments


class ExportingDaemon(StorageDaemon):
    """qemu-storage-daemon, where Cairn knows a disk by the id of its export."""

    def disk_id(self, name):
        return f'export-{name}'


class QemuSystem(Machine):
    """A whole machine without a guest. Cairn knows a disk by the id of its virtio-blk device."""

    def disk_id(self, name):
        return f'disk-{name[:8]}'

    def command(self):
        arguments = ['qemu-system-x86_64', '-accel', 'tcg', '-machine', 'q35', '-m', '64',
                     '-nodefaults', '-no-user-config', '-display', 'none', *self.monitors('-mon')]
        for disk in self.disks.values():
            # share-rw: the writer writes through NBD what the guest would write.
            arguments += ['-blockdev', disk.blockdev, '-device',
                          f'virtio-blk-pci,drive={disk.node},id={self.disk_id(disk.name)},'
                          'share-rw=on']
        return arguments


KINDS = {'storage_daemon': StorageDaemon, 'exporting_daemon': ExportingDaemon,
         'qemu_system': QemuSystem}
