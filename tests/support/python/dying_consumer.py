"""The consumer of consumer.py, but it is killed by its own hand: `progress`: while a job is at work
for it; `end`: when it has carried a step out and has not reported that yet.

    dying_consumer.py progress|end OPTION...
"""

import os
import signal
import sys

import consumer

DIES_AT = sys.argv.pop(1)


class DyingConsumer(consumer.Consumer):
    def report(self, operation, **outcome):
        if (DIES_AT == 'progress') == ('progress' in outcome):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().report(operation, **outcome)


consumer.Consumer = DyingConsumer
consumer.main()
