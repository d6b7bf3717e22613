"""Real machines that a real libvirtd runs: qemu-system-x86_64 under TCG, as whoever uses libvirt
makes them.

The daemon is the test program's own, started with the first machine. The first domain of a fresh
daemon takes some seconds: libvirt asks QEMU then what it can do.
"""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

from machine import Machine, Onlooker
from qmp import Qmp, QmpError

_HERE = os.path.dirname(os.path.abspath(__file__))
_PROGRAM = os.path.join(_HERE, '..', 'libvirtd')


class Libvirtd:
    """A libvirtd; stop() ends it and its machines, and removes its directory."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix='cairn-lv-')
        self.uri = ''
        atexit.register(self.stop)
        self.start()

    def start(self):
        """Also again, after its end: it finds its machines."""
        started = subprocess.run([_PROGRAM, 'start', self.directory], check=False,
                                 capture_output=True, text=True)
        if started.returncode != 0:
            raise RuntimeError(f'libvirtd does not start: {started.stderr}')
        self.uri = started.stdout.strip()

    def end(self, how):
        """Only the daemon: the machines go on."""
        with open(os.path.join(self.directory, 'pid'), encoding='utf-8') as file:
            os.kill(int(file.read()), how)

    def stop(self):
        subprocess.run([_PROGRAM, 'stop', self.directory], check=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def virsh(self, *words):
        """What virsh prints."""
        done = subprocess.run(['virsh', '-q', '-c', self.uri, *words], check=False, timeout=120,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise QmpError(f'virsh {" ".join(words)}: {done.stderr.strip()}')
        return done.stdout

    def tail_of(self, path):
        try:
            with open(os.path.join(self.directory, path), encoding='utf-8',
                      errors='replace') as file:
                return ''.join(file.readlines()[-20:])
        except FileNotFoundError:
            return ''


class Monitor(Qmp):
    """QMP through libvirt, which has the socket."""

    # pylint: disable=super-init-not-called
    def __init__(self, libvirtd, domain):
        self.libvirtd = libvirtd
        self.domain = domain
        self.job_errors = {}

    def close(self):
        pass

    def execute(self, command, **arguments):
        reply = json.loads(self.libvirtd.virsh(
            'qemu-monitor-command', self.domain,
            json.dumps({'execute': command, 'arguments': arguments})))
        if 'error' in reply:
            raise QmpError(f'{command}: {reply["error"]["desc"]}')
        return reply['return']


class LibvirtDisk:
    """`xml`: the <disk> with which it is opened. Its node is QEMU's, as libvirt has named it."""

    def __init__(self, name, xml):
        self.name = name
        self.xml = xml
        self.target = re.search("<target dev='([a-z]+)'", xml).group(1)
        self.path = re.search("<source file='([^']+)'", xml).group(1)
        self.alias = f'virtio-disk{ord(self.target[-1]) - ord("a")}'
        self.node = None
        self.export = f'export-{name}'


class LibvirtMachine(Machine):
    """A domain that is defined. Cairn knows a disk by its target."""

    blockdev = 'libvirt_disk_xml'
    defined = True
    daemon = None
    _made = 0

    def __init__(self):
        super().__init__()
        if LibvirtMachine.daemon is None:
            LibvirtMachine.daemon = Libvirtd()
        LibvirtMachine._made += 1
        self.domain = f'machine-{LibvirtMachine._made}'
        self.uuid = uuid.uuid4()
        self.pid = None
        self._targets = {}

    def disk_id(self, name):
        return self._targets.setdefault(name, f'vd{chr(ord("a") + len(self._targets))}')

    def control(self, name):
        return {'libvirt': {'uri': self.daemon.uri, 'domain': self.domain,
                            'target': self.disk_id(name)}}

    def xml(self):
        # share-rw: the writer writes through NBD what the guest would write. libvirt has a word for
        # it, <shareable/>, but allows it with raw images only.
        override = ''.join(
            f"<qemu:device alias='{disk.alias}'><qemu:frontend><qemu:property name='share-rw' "
            f"type='bool' value='true'/></qemu:frontend></qemu:device>"
            for disk in self.disks.values())
        return (f"<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
                f"<name>{self.domain}</name><uuid>{self.uuid}</uuid><memory unit='MiB'>64</memory>"
                f"<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>"
                f"{''.join(disk.xml for disk in self.disks.values())}"
                f"<memballoon model='none'/><controller type='usb' model='none'/></devices>"
                f"<qemu:override>{override}</qemu:override></domain>")

    def start(self, disks):
        """`disks`: name -> <disk>."""
        self.disks = {name: LibvirtDisk(name, xml) for name, xml in disks.items()}
        if os.path.exists(self.nbd_socket):
            os.unlink(self.nbd_socket)
        path = os.path.join(self.directory, 'domain.xml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(self.xml())
        if self.defined:
            self.daemon.virsh('define', path)
            self.daemon.virsh('start', self.domain)
        else:
            self.daemon.virsh('create', path)
        with open(os.path.join(self.daemon.directory, 'run', 'libvirt', 'qemu', 'run',
                               f'{self.domain}.pid'), encoding='utf-8') as file:
            self.pid = int(file.read())
        with self.qmp() as qmp:
            nodes = {device['qdev']: device['inserted']['node-name']
                     for device in qmp.execute('query-block') if 'inserted' in device}
        for disk in self.disks.values():
            disk.node = nodes[f'/machine/peripheral/{disk.alias}/virtio-backend']
        self.add_exports()

    def qmp(self):
        return Monitor(self.daemon, self.domain)

    def look_on(self):
        return Onlooker(self.qmp())

    @property
    def known(self):
        """Whether libvirt knows it, and as running. Of one that is not defined it knows nothing
        any more after its end."""
        return self.domain in self.daemon.virsh('list', '--name').split()

    def wait_until(self, what, holds):
        give_up = time.monotonic() + 30
        while not holds():
            if time.monotonic() > give_up:
                raise TimeoutError(f'{self.domain}: {what} after 30 s')
            time.sleep(0.02)

    def kill(self):
        """libvirt needs a moment to notice, up to a second or two where the system is slow to
        reap."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait_until('still runs', lambda: not self.running)
        self.pid = None
        self.wait_until('is still thought to run', lambda: not self.known)

    def quit(self):
        self.daemon.virsh('destroy', '--graceful', self.domain)
        self.wait_until('still runs', lambda: not self.running)
        self.pid = None

    @property
    def running(self):
        """Ended is also what its parent has not taken note of, once its last thread has closed the
        files."""
        if self.pid is None:
            return False
        try:
            with open(f'/proc/{self.pid}/stat', encoding='utf-8') as file:
                state = file.read().rpartition(')')[2].split()[0]
            return state != 'Z' or len(os.listdir(f'/proc/{self.pid}/task')) > 1
        except (FileNotFoundError, ProcessLookupError):
            return False

    def state(self):
        return (f'{type(self).__name__}: {"running" if self.running else "off"}\n'
                f'{self.daemon.tail_of(f"cache/libvirt/qemu/log/{self.domain}.log")}'
                f'libvirtd: {self.daemon.tail_of("log")}')

    def close(self):
        if self.running:
            self.kill()
        if self.defined and self.domain in self.daemon.virsh('list', '--all', '--name').split():
            self.daemon.virsh('undefine', self.domain)
        shutil.rmtree(self.directory, ignore_errors=True)


class TransientMachine(LibvirtMachine):
    """A domain that is gone when it ends."""

    defined = False


LIBVIRT_KINDS = {'libvirt': LibvirtMachine, 'libvirt_transient': TransientMachine}
