"""what a server takes that has 100,000 volumes, each with a snapshot: memory, and time to start"""

from cairn_under_test import CairnUnderTest
from figures import median, under
from population import populate

MIB = 1 << 20


def run(report, quick):
    count = 1_000 if quick else 100_000
    with CairnUnderTest() as empty:
        empty_start = median([empty.restart() for _ in range(3)])
        empty_resident = empty.resident_bytes() / MIB
    with CairnUnderTest() as server:
        populate(server, count, snapshots=count)
        grown = server.resident_bytes() / MIB
        start = median([server.restart() for _ in range(3)])
        resident = server.resident_bytes() / MIB
    title = f'{count:,} volumes and {count:,} snapshots'
    report.add('memory/resident', f'memory with {title}', grown, 'MiB', empty_resident,
               'an empty server', under(300e6 / MIB, 'MiB'))
    report.add('memory/after-start', f'memory with {title}, just started', resident, 'MiB',
               empty_resident, 'an empty server', under(300e6 / MIB, 'MiB'))
    report.add('memory/start', f'start with {title}', start, 's', empty_start, 'an empty server',
               under(3, 's'))
