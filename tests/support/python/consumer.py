"""A consumer that commands its QEMU by itself: an example of the assisted way.

    consumer.py --cairn unix:/run/cairnd.sock --instance ID --qmp /run/vm1/qmp.sock

Its volumes are attached with `AssistedHypervisor`. Whenever Cairn wants something of this machine,
such as to switch a disk to a new layer because a snapshot is taken, the operation waits for its
consumer with a HypervisorStep. The consumer finds it, carries the step out over QMP, and reports.

It keeps nothing in memory or on disk that it could lose. Before it acts it asks QEMU which files
are open, so it can be killed at any instant and started again: what was done is not done twice, a
job that goes on is waited for, and what was not done is done then.

The stubs of proto/ must be on PYTHONPATH.
"""

import argparse
import json
import os
import time
import uuid

import grpc
from google.protobuf import duration_pb2

from cairn.v1 import operation_pb2, operation_service_pb2, operation_service_pb2_grpc
from cairn.v1 import volume_pb2, volume_service_pb2, volume_service_pb2_grpc
from qmp import Qmp, QmpError, same_file

FORMATS = {volume_pb2.FILE_FORMAT_RAW: 'raw', volume_pb2.FILE_FORMAT_QCOW2: 'qcow2'}


class BrokenOff(QmpError):
    """A merge downward has failed after it had begun: its base has been written to."""


class Consumer:
    """Carries out the steps that concern the disks of one machine."""

    def __init__(self, channel, instance_id, qmp_path):
        self.operations = operation_service_pb2_grpc.OperationServiceStub(channel)
        self.volumes = volume_service_pb2_grpc.VolumeServiceStub(channel)
        self.instance_id = instance_id
        self.qmp_path = qmp_path

    # Finding the work.

    def waiting(self):
        """The operations that wait for this machine. One that is being cancelled waits as well,
        for the word whether its step was carried out."""
        found = []
        for state in ('WAITING_FOR_CONSUMER', 'CANCELLING'):
            request = operation_service_pb2.ListOperationsRequest(filter=f'state = {state}')
            while True:
                page = self.operations.ListOperations(request, timeout=10)
                found += [operation for operation in page.operations if self.is_ours(operation)]
                request.page_token = page.next_page_token
                if not request.page_token:
                    break
        return found

    def is_ours(self, operation):
        """A step concerns the disks of one machine, so its first instruction tells."""
        if not operation.hypervisor_step.instructions:
            return False
        instruction = operation.hypervisor_step.instructions[0]
        attachments = self.volume(instruction.volume_id).attachments
        return any(attachment.id == instruction.attachment_id and
                   attachment.instance_id == self.instance_id for attachment in attachments)

    def volume(self, volume_id):
        return self.volumes.GetVolume(volume_service_pb2.GetVolumeRequest(
            volume_id=volume_id, view=volume_pb2.VOLUME_VIEW_FULL), timeout=30).volume

    def run(self):
        """Serves the machine for ever."""
        while True:
            try:
                for operation in self.waiting():
                    self.serve(operation)
            except (grpc.RpcError, OSError) as error:
                print(f'will try again: {error}', flush=True)  # Cairn or QEMU is away
            time.sleep(0.1)

    def serve(self, operation):
        """Carries out one step and reports. A step of an operation that is being cancelled is not
        begun any more; Cairn is told what is so."""
        try:
            if operation.state == operation_pb2.OPERATION_STATE_CANCELLING:
                done = self.is_done(operation)
            else:
                self.carry_out(operation)
                done = True
        except QmpError as error:
            # Each disk has the same files open as before.
            self.report(operation, failed=operation_service_pb2.HypervisorStepFailed(
                message=str(error), begun=isinstance(error, BrokenOff)))
            return
        if done:
            self.report(operation, done=operation_service_pb2.HypervisorStepDone())
        else:
            self.report(operation, failed=operation_service_pb2.HypervisorStepFailed(
                message='it was not begun'))

    def report(self, operation, **outcome):
        return self.operations.ReportHypervisorStep(
            operation_service_pb2.ReportHypervisorStepRequest(
                operation_id=operation.id, step_number=operation.hypervisor_step.number,
                wait=duration_pb2.Duration(seconds=2), **outcome), timeout=60).operation

    # Carrying it out.

    def carry_out(self, operation):
        """All instructions of the step, unless they are carried out already."""
        step = operation.hypervisor_step
        with Qmp(self.qmp_path) as qmp:
            action = step.instructions[0].WhichOneof('action')
            if action == 'switch_to_layer':
                self.switch_to_layers(qmp, step.instructions)
                return
            # Jobs take long, so Cairn is told how far they are.
            def progress(done, total):
                self.report(operation, progress=operation_service_pb2.HypervisorStepProgress(
                    done_bytes=done, total_bytes=total))
            for number, instruction in enumerate(step.instructions):
                # A name that a consumer which comes after this one makes as well.
                job_id = f'cairn-{operation.id}-{step.number}-{number}'
                if action == 'merge_layers':
                    self.merge_layers(qmp, instruction, job_id, progress)
                elif action == 'resize_disk':
                    self.resize_disk(qmp, instruction)
                elif action == 'move_disk':
                    self.move_disk(qmp, instruction, job_id, progress)
                else:
                    raise QmpError(f'unknown instruction: {instruction}')

    def is_done(self, operation):
        """Whether the step is carried out, by what QEMU has open. A job that is on its way has
        passed the point of no return for a consumer that is as simple as this one."""
        step = operation.hypervisor_step
        with Qmp(self.qmp_path) as qmp:
            for number, instruction in enumerate(step.instructions):
                directory = self.directory_of(instruction)
                action = instruction.WhichOneof('action')
                change = getattr(instruction, action)
                if action == 'switch_to_layer':
                    done = self.is_switched(qmp, directory, change)
                elif action == 'resize_disk':
                    done = self.is_resized(qmp, directory, change)
                else:
                    job_id = f'cairn-{operation.id}-{step.number}-{number}'
                    if qmp.job(job_id) is not None:
                        self.carry_out(operation)
                        return True
                    done = (self.is_merged(qmp, directory, change) if action == 'merge_layers'
                            else self.is_moved(qmp, change))
                if not done:
                    return False
        return True

    def directory_of(self, instruction):
        """Where this host has the volume's share: here, where the server has it."""
        for attachment in self.volume(instruction.volume_id).attachments:
            if attachment.id == instruction.attachment_id:
                return attachment.connection.mount_point
        raise QmpError(f'attachment {instruction.attachment_id} is gone')

    # Switching to a new layer.

    @staticmethod
    def is_switched(qmp, directory, switch):
        chain = qmp.chain_of(os.path.join(directory, switch.file_name))
        return len(chain) > 1 and same_file(chain[1],
                                            os.path.join(directory, switch.backing_file_name))

    def switch_to_layers(self, qmp, instructions):
        """Several disks at one instant: one transaction."""
        actions, added = [], []
        try:
            for instruction in instructions:
                switch = instruction.switch_to_layer
                directory = self.directory_of(instruction)
                if switch.quiesce:
                    raise QmpError('this machine has no guest agent')
                if self.is_switched(qmp, directory, switch):
                    continue
                active = self.need_node(qmp, directory, switch.backing_file_name)
                layer = qmp.node_of(os.path.join(directory, switch.file_name))
                if layer is None:  # else a consumer before this one came so far
                    layer = new_node_name()
                    qmp.execute('blockdev-add', backing=None, **{
                        'node-name': layer, 'driver': FORMATS[switch.file_format],
                        'cache': {'direct': True},
                        'file': {'driver': 'file',
                                 'filename': os.path.join(directory, switch.file_name)}})
                added.append(layer)
                actions.append({'type': 'blockdev-snapshot',
                                'data': {'node': active, 'overlay': layer}})
            if actions:
                qmp.execute('transaction', actions=actions)
        except QmpError:
            for layer in added:
                qmp.execute('blockdev-del', **{'node-name': layer})
            raise

    @staticmethod
    def need_node(qmp, directory, file_name):
        node = qmp.node_of(os.path.join(directory, file_name))
        if node is None:
            raise QmpError(f'{file_name} is not open in this machine')
        return node

    # Merging two layers.

    @staticmethod
    def leaving_file(merge):
        """The file that leaves the chain."""
        return (merge.top_file_name if merge.direction == operation_pb2.MERGE_DIRECTION_COMMIT
                else merge.base_file_name)

    def is_merged(self, qmp, directory, merge):
        chain = qmp.chain_of(os.path.join(directory, merge.active_file_name_after))
        return bool(chain) and not any(
            same_file(file, os.path.join(directory, self.leaving_file(merge))) for file in chain)

    def merge_layers(self, qmp, instruction, job_id, progress):
        merge = instruction.merge_layers
        directory = self.directory_of(instruction)
        leaving = qmp.node_of(os.path.join(directory, self.leaving_file(merge)))
        if qmp.job(job_id) is None and not self.is_merged(qmp, directory, merge):
            top = self.need_node(qmp, directory, merge.top_file_name)
            base = self.need_node(qmp, directory, merge.base_file_name)
            if merge.direction == operation_pb2.MERGE_DIRECTION_COMMIT:
                arguments = {'device': self.need_node(qmp, directory,
                                                      merge.active_file_name_after),
                             'top-node': top, 'base-node': base,
                             'backing-file': merge.backing_file_name_after}
                command = 'block-commit'
            else:
                arguments = {'device': top}
                below = qmp.chain_of(os.path.join(directory, merge.base_file_name))[1:]
                if below:
                    arguments['base-node'] = qmp.node_of(below[0])
                    arguments['backing-file'] = merge.backing_file_name_after
                command = 'block-stream'
            qmp.execute(command, **{'job-id': job_id, **arguments})
        try:
            qmp.wait_for_job(job_id, progress=progress)
            if not self.is_merged(qmp, directory, merge):
                raise QmpError(f'{self.leaving_file(merge)} is still in the chain')
        except QmpError as error:
            if merge.direction == operation_pb2.MERGE_DIRECTION_COMMIT:
                raise BrokenOff(str(error)) from error
            raise
        # A node that was added by name stays open until it is removed by name.
        if leaving is not None and leaving in qmp.nodes():
            qmp.execute('blockdev-del', **{'node-name': leaving})

    # Resizing.

    def is_resized(self, qmp, directory, resize):
        node = qmp.nodes()[self.need_node(qmp, directory, resize.file_name)]
        return node['image']['virtual-size'] == resize.size_bytes

    def resize_disk(self, qmp, instruction):
        resize = instruction.resize_disk
        directory = self.directory_of(instruction)
        if not self.is_resized(qmp, directory, resize):
            qmp.execute('block_resize', size=resize.size_bytes, **{
                'node-name': self.need_node(qmp, directory, resize.file_name)})

    # Moving to another share.

    @staticmethod
    def is_moved(qmp, move):
        """The target is what the guest has as its disk. (It is open before that.)"""
        return qmp.node_of(target_path(move)) in qmp.roots()

    def move_disk(self, qmp, instruction, job_id, progress):
        move = instruction.move_disk
        directory = self.directory_of(instruction)
        if qmp.job(job_id) is None and not self.is_moved(qmp, move):
            source = self.need_node(qmp, directory, move.file_name)
            target = qmp.node_of(target_path(move))
            if target is None:  # else a consumer before this one came so far
                target = new_node_name()
                qmp.execute('blockdev-add', **{**json.loads(move.target.qemu_blockdev_json),
                                               'node-name': target})
            try:
                qmp.execute('blockdev-mirror', device=source, target=target, sync='top',
                            **{'job-id': job_id, 'copy-mode': 'write-blocking'})
            except QmpError:
                qmp.execute('blockdev-del', **{'node-name': target})
                raise
        qmp.wait_for_job(job_id, until='ready', progress=progress)
        if qmp.job(job_id) is not None:
            try:
                qmp.execute('job-complete', id=job_id)
            except QmpError:
                if qmp.job(job_id) is not None:
                    raise  # else a consumer before this one had said so already
            qmp.wait_for_job(job_id)
        if not self.is_moved(qmp, move):
            raise QmpError(f'the disk is still on {directory}')
        # Of the old files those stay open that were opened by name; from the top down.
        for file in reversed(self.volume(instruction.volume_id).chain):
            old = qmp.node_of(os.path.join(directory, file.file))
            if old is not None:
                qmp.execute('blockdev-del', **{'node-name': old})


def target_path(move):
    return os.path.join(move.target.mount_point, move.target.file_name)


def new_node_name():
    """QEMU takes 31 characters."""
    return f'layer-{uuid.uuid4().hex[:24]}'


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cairn', required=True, help='the address of the server')
    parser.add_argument('--instance', required=True, help='Attachment.instance_id')
    parser.add_argument('--qmp', required=True, help="the path of QEMU's QMP socket")
    arguments = parser.parse_args()
    Consumer(grpc.insecure_channel(arguments.cairn), arguments.instance, arguments.qmp).run()


if __name__ == '__main__':
    main()
