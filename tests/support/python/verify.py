"""Looks at every byte and every file of volumes that nobody uses."""

import json
import os
import subprocess
import tempfile
import time

from cairn.v1 import snapshot_service_pb2, volume_pb2, volume_service_pb2

FORMATS = {volume_pb2.FILE_FORMAT_RAW: 'raw', volume_pb2.FILE_FORMAT_QCOW2: 'qcow2'}
LEAKED_CLUSTERS = 3  # what `qemu-img check` ends with when that is all it has found


class NotAsRecorded(AssertionError):
    pass


def require(holds, message):
    if not holds:
        raise NotAsRecorded(message)


def path_of(volume, file):
    return os.path.join(volume.share[len('file://'):], file)


def content_of_files(volume):
    """The disk's bytes, read from the files without the server."""
    with tempfile.TemporaryDirectory(prefix='cairn-content-') as directory:
        raw = os.path.join(directory, 'raw')
        subprocess.run(['qemu-img', 'convert', '-f', FORMATS[volume.chain[-1].format], '-O', 'raw',
                        path_of(volume, volume.active_file), raw], check=True)
        with open(raw, 'rb') as file:
            return file.read()


def verify_chain(volume, machine_died=False):
    """The files are sound and stand on one another as the record says."""
    verify_headers(volume)
    for file in volume.chain:
        path = path_of(volume, file.file)
        if file.format == volume_pb2.FILE_FORMAT_QCOW2:
            check = subprocess.run(['qemu-img', 'check', '-f', 'qcow2', path], check=False,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            require(check.returncode in ((0, LEAKED_CLUSTERS) if machine_died else (0,)),
                    f'{path}: {check.stdout}')


def verify_headers(volume):
    """The files stand on one another as the record says; also while a machine has them open."""
    require(volume.chain[-1].file == volume.active_file, f'not the active file is on top: {volume}')
    below = None
    for file in volume.chain:
        path = path_of(volume, file.file)
        if file.format == volume_pb2.FILE_FORMAT_QCOW2:
            header = json.loads(subprocess.run(
                ['qemu-img', 'info', '--force-share', '-f', 'qcow2', '--output=json', path],
                check=True, stdout=subprocess.PIPE).stdout)
            found = (header.get('backing-filename'), header.get('backing-filename-format'))
        else:
            found = (None, None)
        recorded = (below.file, FORMATS[below.format]) if below else (None, None)
        require(found == recorded, f'{path} stands on {found}, the record says {recorded}')
        below = file


def verify_map(volume, snapshots):
    """The map agrees with the record."""
    path = path_of(volume, f'volume-{volume.id}.info')
    if not os.path.exists(path):
        require(not snapshots and volume.active_file == f'volume-{volume.id}',
                f'{path} is missing')
        return
    with open(path, encoding='utf-8') as file:
        found = json.load(file)
    require(found.pop('active') == volume.active_file, f'{path}: wrong active file')
    require(set(found) == {s.id for s in snapshots}, f'{path} has {found}, not {snapshots}')
    names = [file.file for file in volume.chain]
    for snapshot in snapshots:
        above = names.index(found[snapshot.id])
        require(names[above - 1] == snapshot.file,
                f'{path}: {snapshot.id} is below {found[snapshot.id]}, and that is not '
                f'{snapshot.file}: {names}')


def verify_disk(caller, disk):
    """One disk, with its snapshots and copies."""
    volume = caller.full(disk.volume_id)
    require(volume.state == volume_pb2.VOLUME_STATE_AVAILABLE, f'{volume}')
    verify_chain(volume, disk.machine_died)
    data = content_of_files(volume)
    require(len(data) == disk.model.size == volume.size_bytes, f'{len(data)} bytes: {volume}')
    now = disk.model.clock.tick()
    (disk.model.after_death() if disk.machine_died
     else disk.model.between(now - 1, now)).check(disk.model.read(data))
    require(caller.download(volume_id=volume.id) == data, 'the server reads something else')
    snapshots = caller.call('snapshots.ListSnapshots', snapshot_service_pb2.ListSnapshotsRequest(
        volume_id=volume.id, page_size=1000)).snapshots
    require({s.id for s in snapshots} == set(disk.snapshots),
            f'there are {[s.id for s in snapshots]}, not {set(disk.snapshots)}')
    verify_map(volume, snapshots)
    for snapshot in snapshots:
        verify_content(disk, disk.snapshots[snapshot.id],
                       caller.download(snapshot_id=snapshot.id), f'snapshot {snapshot}')
    for copy, expected in disk.copies.items():
        verify_content(disk, expected, caller.download(volume_id=copy), f'copy {copy}')


def verify_content(disk, expected, data, name):
    try:
        require(len(data) == expected.size, f'{len(data)} bytes, not {expected.size}')
        expected.check(disk.model.read(data))
    except AssertionError as problem:
        raise NotAsRecorded(f'{name}: {problem}') from problem


def verify_shares(caller, server, volume_ids):
    """Nothing lies on the shares but the files of these volumes."""
    known = set()
    for volume_id in volume_ids:
        volume = caller.full(volume_id)
        known |= {path_of(volume, file.file) for file in volume.chain}
        known.add(path_of(volume, f'volume-{volume_id}.info'))
    listed = caller.call('volumes.ListVolumes',
                         volume_service_pb2.ListVolumesRequest(page_size=1000)).volumes
    require({v.id for v in listed} == set(volume_ids), f'there are other volumes: {listed}')
    # What ended operations left is swept in the background.
    give_up = time.monotonic() + 15
    while server.all_files() - known and time.monotonic() < give_up:
        time.sleep(0.1)
    require(not server.all_files() - known, f'unknown files: {server.all_files() - known}')
