"""The machine that a benchmark runs on, and the directory that all of its files lie in."""

import os
import platform
import subprocess
import tempfile


def _processor():
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        for line in file:
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.machine()


def file_system(directory):
    return subprocess.run(['findmnt', '-n', '-o', 'FSTYPE', '-T', directory], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def describe():
    """In a line: what figures of two runs may differ by."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30)
    return (f'{os.cpu_count()} x {_processor()}, {memory:.0f} GiB, Linux {platform.release()}, '
            f'{file_system(tempfile.gettempdir())}')
