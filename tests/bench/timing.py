"""What a call takes."""

import time


def milliseconds(call, *arguments, **named):
    begun = time.perf_counter()
    call(*arguments, **named)
    return (time.perf_counter() - begun) * 1e3
