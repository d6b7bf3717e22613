"""Changes of volumes in use: what each needs before it, its call, the fail points that it passes,
and what is so after it."""

import os
import time
import uuid

from cairn.v1 import snapshot_service_pb2, volume_service_pb2
from live_case import MIB, QCOW2, RAW
from verify import path_of

SIZE = 16 * MIB  # of a disk before the change
CROSSED = 'crossed'


def new_id():
    return str(uuid.uuid4())


def active_path(case, disk):
    volume = case.caller.full(disk.volume_id)
    return path_of(volume, volume.active_file)


def allocated(path):
    return os.stat(path).st_blocks * 512


def wait_for_growth(case, writer, path, size):
    give_up = time.monotonic() + 60
    while allocated(path) < size:
        case.assertLess(time.monotonic(), give_up, f'{path} does not grow')
        writer.wait_for_writes(5)


class Scenario:
    """`kind` is that of the operation, `steps` how many its plan has. Of the steps `disks` are done
    by the machine, and the first of these is the point of no return; before `settled` stands the
    point from which on the rest may be given up."""

    kind = ''
    method = ''
    steps = 0
    disks = ()
    settled = None
    machines = ('storage_daemon', 'qemu_system')
    formats = ((QCOW2,), (RAW,))  # of the disks, by turns
    interrupted = ()  # where it has failed, and nothing has changed, if the machine dies
    holding = ()  # where the machine's writes wait until the server is back

    @property
    def points(self):
        names = ['queued', 'planned']
        for step in range(self.steps):
            if step == self.settled:
                names.append('settled')
            if step == self.disks[0]:
                names.append(CROSSED)
            names.append(f'step{step}')
            if step in self.disks:
                names.append(f'disks{step}')
        return names + ['done', 'ended']

    @property
    def other_points(self):
        """Those that operations may pass and this one does not."""
        every = {CROSSED, 'settled', *(f'{name}{step}' for step in range(20)
                                       for name in ('step', 'disks'))}
        return sorted(every - set(self.points))

    def needs_machine(self, point):
        """Whether the machine is not done with its part yet."""
        return self.points.index(point) <= self.points.index(f'disks{self.disks[-1]}')

    def has_crossed(self, point):
        return self.points.index(point) >= self.points.index(CROSSED)

    def prepare(self, case, disks, writer):
        writer.wait_for_writes(20)
        case.snapshot(disks[0])
        writer.wait_for_writes(20)

    def request(self, case, disks):
        raise NotImplementedError

    def has_succeeded(self, case, disks, request, expected):
        """`expected`: of a disk: what was read in it, if anything was."""

    def go_on(self, case, disks):
        """After the change, if the machine lives."""


class CreateSnapshot(Scenario):
    kind = 'create_snapshot'
    method = 'snapshots.CreateSnapshot'
    steps = 5
    disks = (3,)

    def request(self, case, disks):
        return snapshot_service_pb2.CreateSnapshotRequest(volume_id=disks[0].volume_id,
                                                          snapshot_id=new_id())

    def has_succeeded(self, case, disks, request, expected):
        disks[0].snapshots[request.snapshot_id] = expected(disks[0])


class GroupSnapshot(CreateSnapshot):
    steps = 9
    disks = (6,)
    formats = ((QCOW2, RAW), (RAW, QCOW2))

    def request(self, case, disks):
        request = super().request(case, disks)
        for disk in disks[1:]:
            request.additional_volumes.add(volume_id=disk.volume_id, snapshot_id=new_id())
        return request

    def has_succeeded(self, case, disks, request, expected):
        super().has_succeeded(case, disks, request, expected)
        for disk, member in zip(disks[1:], request.additional_volumes):
            disk.snapshots[member.snapshot_id] = expected(disk)


class DeleteSnapshot(Scenario):
    kind = 'delete_snapshot'
    method = 'snapshots.DeleteSnapshot'
    victim = -1  # by age

    def request(self, case, disks):
        return snapshot_service_pb2.DeleteSnapshotRequest(
            snapshot_id=list(disks[0].snapshots)[self.victim])

    def has_succeeded(self, case, disks, request, expected):
        del disks[0].snapshots[request.snapshot_id]


class DeleteMiddleSnapshot(DeleteSnapshot):
    steps = 4
    disks = (1,)
    victim = 1

    def prepare(self, case, disks, writer):
        for _ in range(3):
            super().prepare(case, disks, writer)


class DeleteNewestByCommit(DeleteSnapshot):
    """The layer below the newest holds more than half of the disk."""
    steps = 7
    disks = (2, 4)

    def prepare(self, case, disks, writer):
        writer.wait_for_writes(20)
        case.snapshot(disks[0])
        active = active_path(case, disks[0])
        wait_for_growth(case, writer, active, SIZE * 6 // 10)
        case.snapshot(disks[0])
        writer.wait_for_writes(10)


class DeleteNewestByStream(DeleteSnapshot):
    """The layer below the newest holds little. A stream that has not ended can be begun again."""
    steps = 4
    disks = (1,)
    interrupted = (CROSSED, 'step1', 'disks1')

    def prepare(self, case, disks, writer):
        writer.wait_for_writes(40)
        case.snapshot(disks[0])
        below = active_path(case, disks[0])
        case.snapshot(disks[0])
        wait_for_growth(case, writer, active_path(case, disks[0]), int(2.2 * allocated(below)))


class Clone(Scenario):
    """Another copy was made before, which has left a layer that is no snapshot's."""
    kind = 'create_volume'
    method = 'volumes.CreateVolume'
    steps = 7
    disks = (2, 4)
    settled = 6

    def prepare(self, case, disks, writer):
        super().prepare(case, disks, writer)
        case.clone(disks[0])
        writer.wait_for_writes(20)

    def request(self, case, disks):
        return volume_service_pb2.CreateVolumeRequest(volume_id=new_id(),
                                                      source_volume_id=disks[0].volume_id)

    def has_succeeded(self, case, disks, request, expected):
        disks[0].copies[request.volume_id] = expected(disks[0])


class Extend(Scenario):
    """What QEMU exports over NBD it does not resize: nobody writes meanwhile, and then also beyond
    the old end."""
    kind = 'extend_volume'
    method = 'volumes.ExtendVolume'
    machines = ('qemu_system',)

    def prepare(self, case, disks, writer):
        writer.wait_for_writes(40)
        case.assert_wrote_well()
        self.node = disks[0].machine.remove_export(disks[0].volume_id)

    def request(self, case, disks):
        return volume_service_pb2.ExtendVolumeRequest(volume_id=disks[0].volume_id,
                                                      size_bytes=2 * SIZE)

    def has_succeeded(self, case, disks, request, expected):
        disks[0].model.size = request.size_bytes

    def go_on(self, case, disks):
        disks[0].machine.add_export(disks[0].volume_id, self.node)
        case.write_to(disks[0])


class ExtendQcow2(Extend):
    steps = 2
    disks = (1,)
    formats = ((QCOW2,),)


class ExtendRaw(Extend):
    steps = 3
    disks = (2,)
    formats = ((RAW,),)


class Migrate(Scenario):
    kind = 'migrate_volume'
    method = 'volumes.MigrateVolume'
    steps = 8
    disks = (6,)
    holding = (CROSSED, 'step6')

    def request(self, case, disks):
        return volume_service_pb2.MigrateVolumeRequest(volume_id=disks[0].volume_id,
                                                       share=case.share(1))


class AssistedMigrate(Migrate):
    """The consumer mirrors and completes in one step."""
    steps = 6
    disks = (4,)
    holding = ()
