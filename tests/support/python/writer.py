"""Writers that never pause: they write stamped blocks to disks through NBD, as fast as they are
told to, and tell the models of the disks what they do."""

import random
import threading
import time

import nbd

from model import BLOCK

SLOW_SECONDS = 1.0  # no write may take longer


class Target:
    """A disk as a writer sees it."""

    def __init__(self, model, socket, export):
        self.model = model
        self.socket = socket
        self.export = export

    def connect(self):
        handle = nbd.NBD()
        handle.set_export_name(self.export)
        handle.connect_unix(self.socket)
        return handle


class Writer:
    """Writes to one disk or several until it is stopped.

    Each lane is a thread with connections of its own and writes one after the other, to all disks
    in turn; lanes share no blocks. With one lane, write n + 1 is issued only after n was
    acknowledged, whatever disks they go to.
    """

    def __init__(self, targets, seed, lanes=2, writes_per_second=200, flush_every=16,
                 blocks_max=8):
        self.targets = targets
        self.flush_every = flush_every
        self.blocks_max = blocks_max
        self.latency_max = 0.0
        self.slow_writes = 0
        self.writes = 0
        self.errors = []
        self._interval = lanes / writes_per_second
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._dying = False
        self._lanes = [threading.Thread(target=self._run, args=(lane, lanes, f'{seed}/{lane}'),
                                        daemon=True)
                       for lane in range(lanes)]
        for lane in self._lanes:
            lane.start()

    def stop(self):
        """Ends after the writes under way; everything acknowledged is durable then."""
        self._stopping.set()
        for lane in self._lanes:
            lane.join(60)
            if lane.is_alive():
                self.errors.append('a write is still under way after 60 s')

    def expect_death(self):
        """Call it before the machine is killed: failing writes are no errors from here on."""
        self._dying = True

    def wait_for_writes(self, count, timeout=60):
        """Waits until that many more writes are acknowledged."""
        goal = self.writes + count
        give_up = time.monotonic() + timeout
        while self.writes < goal:
            if self.errors or time.monotonic() > give_up:
                raise AssertionError(f'{goal - self.writes} writes are not acknowledged: '
                                     f'{self.errors}')
            time.sleep(0.01)

    def _run(self, lane, lanes, seed):
        handles = []
        try:
            handles = [target.connect() for target in self.targets]
            dice = random.Random(seed)
            due = time.monotonic()
            turn = 0
            while not self._stopping.is_set():
                which = turn % len(self.targets)
                turn += 1
                self._write(handles[which], self.targets[which].model, dice, lane, lanes)
                if turn % self.flush_every == 0:
                    self._flush(handles)
                # Lost time is not caught up with: a pause would be followed by a burst.
                due = max(due + self._interval, time.monotonic() - self._interval)
                self._stopping.wait(max(0.0, due - time.monotonic()))
            self._flush(handles)
            for handle in handles:
                handle.shutdown()
        except nbd.Error as error:
            if not self._dying:
                self.errors.append(str(error))

    def _write(self, handle, model, dice, lane, lanes):
        # A lane's blocks: every `lanes`-th stretch of 16 blocks, a cluster of a qcow2 image.
        stretches = model.size // BLOCK // 16 // lanes
        first = (dice.randrange(stretches) * lanes + lane) * 16
        begin = dice.randrange(16)
        count = min(dice.randint(1, self.blocks_max), 16 - begin)
        zeros = dice.random() < 0.05
        data, write = model.issue(first + begin, count, zeros)
        started = time.monotonic()
        if zeros:
            handle.zero(len(data), (first + begin) * BLOCK)
        else:
            handle.pwrite(data, (first + begin) * BLOCK)
        model.acknowledge(write)
        took = time.monotonic() - started
        with self._lock:
            self.writes += 1
            self.latency_max = max(self.latency_max, took)
            self.slow_writes += took > SLOW_SECONDS

    def _flush(self, handles):
        for target, handle in zip(self.targets, handles):
            issued = target.model.clock.tick()
            handle.flush()
            with self._lock:
                target.model.flushed_since(issued)
