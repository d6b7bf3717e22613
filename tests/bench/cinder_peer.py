"""The peer: the NfsDriver of OpenStack Cinder, as Debian's python3-cinder has it, in a process.

    cinder_peer.py DIRECTORY [--prefill FILES] [--rootwrap ROOT]

Answers each line of its input, such as {"operation": "create", "count": 5}, with a line
{"milliseconds": [...]}; the first line says which version it is. The files stay. peer.py is its
client.

What is real: the driver, set up as cinder.volume.manager does it, with a cinder.conf and a shares
file; its processes, run by oslo.concurrency; its locks; the versioned objects; eventlet.

What is not, each of which makes it look faster: there is no API, scheduler, message queue or
database; calls come from inside its process. Instead of an NFS mount a directory is bound to the
mount point, which the driver finds mounted, as at each operation but the first. Run as root, oslo
leaves out sudo and cinder-rootwrap; --rootwrap does not: as a packaged cinder-volume the driver is
an unprivileged user's then. ROOT is where the files of Debian's cinder-common are.
"""

import argparse
import ctypes
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import time
import uuid

SHARE = '127.0.0.1:/peer'
USER = 'nobody'  # of --rootwrap
GIB = 1
CHAIN = 20  # snapshots, of which the oldest is deleted
LAYER = '1M'  # what is written to each of their layers
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18

CONFIGURATION = '''[DEFAULT]
state_path = {root}/state
rootwrap_config = {root}/etc/rootwrap.conf
enabled_backends = nfs1
transport_url = fake:/
log_dir = {root}
[oslo_concurrency]
lock_path = {root}/state/lock
[coordination]
backend_url = file://{root}/state
[database]
connection = sqlite:///{root}/cinder.sqlite
[nfs1]
volume_driver = cinder.volume.drivers.nfs.NfsDriver
nfs_shares_config = {root}/etc/nfs_shares
nfs_mount_point_base = {root}/state/mnt
nfs_snapshot_support = true
nas_secure_file_operations = false
nas_secure_file_permissions = false
nfs_qcow2_volumes = true
nfs_sparsed_volumes = true
'''


def write(path, text):
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)


def system_call(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f'{what}: {os.strerror(ctypes.get_errno())}')


class Place:
    """The directories and the files of one driver, mounted for this process and its children."""

    def __init__(self, root, prefill):
        self.root = os.path.abspath(root)
        self.state = os.path.join(self.root, 'state')
        self.mount_point = os.path.join(self.state, 'mnt', hashlib.md5(SHARE.encode()).hexdigest())
        self._libc = ctypes.CDLL(None, use_errno=True)
        export = os.path.join(self.root, 'export')
        for directory in (export, self.mount_point, os.path.join(self.state, 'conversion'),
                          os.path.join(self.root, 'etc')):
            os.makedirs(directory)
        os.chmod(export, 0o777)
        write(os.path.join(self.root, 'etc', 'nfs_shares'), f'{SHARE}\n')
        write(os.path.join(self.root, 'etc', 'cinder.conf'), CONFIGURATION.format(root=self.root))
        # A private namespace of mounts: they end with this process.
        system_call(self._libc.unshare(CLONE_NEWNS), 'unshare')
        self._mount('none', '/', MS_REC | MS_PRIVATE)
        self._mount(export, self.mount_point, MS_BIND)
        for number in range(prefill):
            write(os.path.join(export, f'volume-{number:06}'), '')

    def _mount(self, source, target, flags):
        system_call(self._libc.mount(source.encode(), target.encode(), b'none', flags, None),
                    f'mount of {target}')

    def use_rootwrap(self, package):
        """Becomes an unprivileged user who may run cinder-rootwrap through sudo."""
        user = pwd.getpwnam(USER)
        etc, programs, sudoers = (os.path.join(self.root, name)
                                  for name in ('etc', 'bin', 'sudoers.d'))
        shutil.copytree(os.path.join(package, 'etc/cinder/rootwrap.d'),
                        os.path.join(etc, 'rootwrap.d'))
        write(os.path.join(etc, 'rootwrap.conf'),
              f'[DEFAULT]\nfilters_path={etc}/rootwrap.d\n'
              'exec_dirs=/sbin,/usr/sbin,/bin,/usr/bin\nuse_syslog=False\n')
        os.mkdir(programs)
        shutil.copy(os.path.join(package, 'usr/bin/cinder-rootwrap'), programs)
        os.mkdir(sudoers)
        rules = os.path.join(sudoers, 'peer')
        write(rules, f'Defaults secure_path={programs}:/usr/sbin:/usr/bin:/sbin:/bin\n'
                     f'Defaults !requiretty\n{USER} ALL=(root) NOPASSWD: ALL\n')
        os.chmod(rules, 0o440)
        self._mount(sudoers, '/etc/sudoers.d', MS_BIND)
        for directory, _, _ in os.walk(self.state):
            os.chown(directory, user.pw_uid, user.pw_gid)
        os.chown(self.root, user.pw_uid, user.pw_gid)
        os.environ['PATH'] = f'{programs}:{os.environ["PATH"]}'
        os.environ['HOME'] = self.state
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)


class Peer:
    """The driver. Cinder is imported here, after its process has become what it is to be."""

    def __init__(self, place):
        # pylint: disable=import-outside-toplevel
        import eventlet
        eventlet.monkey_patch()  # as cinder-volume does
        from cinder import context, coordination, objects
        from cinder.objects import fields
        from oslo_config import cfg
        from oslo_log import log
        import cinder.common.config  # noqa: F401  its options
        objects.register_all()  # before the drivers
        from cinder.volume import configuration
        from cinder.volume.drivers import nfs
        from cinder.volume.manager import volume_backend_opts
        log.register_options(cfg.CONF)
        cfg.CONF(['--config-file', os.path.join(place.root, 'etc', 'cinder.conf')],
                 project='cinder', version='peer')
        log.setup(cfg.CONF, 'cinder')  # INFO, to a file, as packaged
        sys.excepthook = sys.__excepthook__  # errors are not to go there
        coordination.COORDINATOR.start()
        self.place = place
        self.objects = objects
        self.fields = fields
        self.context = context.RequestContext('user', 'project', is_admin=True, overwrite=False)
        self.volumes = {}
        self._leave_out_database()
        self.driver = nfs.NfsDriver(
            configuration=configuration.Configuration(volume_backend_opts, config_group='nfs1'),
            host='peer@nfs1', cluster_name=None, is_vol_db_empty=False, active_backend_id=None)
        self.driver.do_setup(self.context)
        self.driver.check_for_setup_error()
        self.driver.set_initialized()
        self.chain = None  # of delete_oldest: the volume and its snapshots
        # One of each, for what the first call of a process does once.
        for operation in (self.create, self.snapshot, self.attach):
            operation(1)

    def _leave_out_database(self):
        volume, snapshot, known = self.objects.Volume, self.objects.Snapshot, self.volumes

        def save(self):
            self.cinder_obj_get_changes()  # what save() computes first
            self.obj_reset_changes()

        volume.save = save
        volume.get_by_id = classmethod(lambda cls, context, key, *rest, **more: known[key])
        snapshot.save = lambda self: self.obj_reset_changes()
        snapshot.destroy = lambda self: None

    def _make_volume(self):
        """A volume that the driver has created."""
        volume = self._record_volume()
        self._create(volume)
        return volume

    def _record_volume(self):
        objects = self.objects
        kind = objects.VolumeType(self.context, id=str(uuid.uuid4()), name='peer', extra_specs={},
                                  qos_specs_id=None)
        volume = objects.Volume(
            self.context, id=str(uuid.uuid4()), size=GIB, display_name='peer', status='available',
            attach_status=self.fields.VolumeAttachStatus.DETACHED, host='peer@nfs1#nfs1',
            user_id='user', project_id='project', encryption_key_id=None, _name_id=None,
            provider_location=None, metadata={}, admin_metadata={}, volume_type_id=kind.id,
            volume_type=kind, volume_attachment=objects.VolumeAttachmentList(objects=[]))
        volume.obj_reset_changes()
        self.volumes[volume.id] = volume
        return volume

    def _record_snapshot(self, volume):
        snapshot = self.objects.Snapshot(
            self.context, id=str(uuid.uuid4()), volume_id=volume.id, user_id='user',
            project_id='project', status=self.fields.SnapshotStatus.CREATING, progress='0%',
            volume_size=volume.size, display_name='peer', volume_type_id=volume.volume_type_id,
            encryption_key_id=None)
        snapshot.volume = volume
        snapshot.obj_reset_changes()
        return snapshot

    def _create(self, volume):
        # What the manager does with what a driver answers.
        volume.update(self.driver.create_volume(volume))
        volume.save()

    def _snapshot(self, snapshot):
        self.driver.create_snapshot(snapshot)
        snapshot.status = self.fields.SnapshotStatus.AVAILABLE

    def create(self, count):
        return [timed(self._create, self._record_volume()) for _ in range(count)]

    def snapshot(self, count):
        volume = self._make_volume()
        return [timed(self._snapshot, self._record_snapshot(volume)) for _ in range(count)]

    def attach(self, count):
        volume = self._make_volume()
        return [timed(self.driver.initialize_connection, volume, {}) for _ in range(count)]

    def _add_written_snapshot(self):
        volume, snapshots = self.chain
        snapshots.append(self._record_snapshot(volume))
        self._snapshot(snapshots[-1])
        active = self.driver._local_path_active_image(volume)  # pylint: disable=protected-access
        subprocess.run(['qemu-io', '-f', 'qcow2', '-c', f'write -P 7 0 {LAYER}', active],
                       check=True, stdout=subprocess.DEVNULL)

    def delete_oldest(self, count):
        if self.chain is None:
            self.chain = (self._make_volume(), [])
        taken = []
        snapshots = self.chain[1]
        for _ in range(count):
            while len(snapshots) < CHAIN:
                self._add_written_snapshot()
            taken.append(timed(self.driver.delete_snapshot, snapshots.pop(0)))
        return taken


def timed(call, *arguments):
    """The milliseconds that a call takes."""
    begun = time.perf_counter()
    call(*arguments)
    return (time.perf_counter() - begun) * 1e3


def version():
    return subprocess.run(['dpkg-query', '-W', '-f', '${Version}', 'python3-cinder'], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', help='for all its files; empty')
    parser.add_argument('--prefill', type=int, default=0, metavar='FILES',
                        help='empty files that are on the share already')
    parser.add_argument('--rootwrap', metavar='ROOT')
    arguments = parser.parse_args()
    # Answers only: what else is printed goes where errors go.
    answers = os.fdopen(os.dup(1), 'w', encoding='utf-8')
    os.dup2(2, 1)
    place = Place(arguments.directory, arguments.prefill)
    if arguments.rootwrap:
        place.use_rootwrap(arguments.rootwrap)
    peer = Peer(place)
    print(json.dumps({'version': version()}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        taken = getattr(peer, request['operation'])(request['count'])
        print(json.dumps({'milliseconds': taken}), file=answers, flush=True)
    os._exit(0)  # eventlet's hub need not be ended; the mounts end with the process


if __name__ == '__main__':
    main()
