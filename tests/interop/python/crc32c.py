"""CRC-32C (Castagnoli), as ContentChunk.crc32c and ContentTrailer.crc32c want it."""

import functools

_POLYNOMIAL = 0x82F63B78


def _shifted(value):
    """`value` after one more zero bit of content."""
    return (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)


def _table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = _shifted(value)
        table.append(value)
    return table


_TABLE = _table()


@functools.lru_cache(maxsize=256)
def crc32c(data):
    """The checksum of `data`. What was asked before is remembered: test content repeats itself."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _apply(matrix, value):
    result = 0
    for row in matrix:
        if value & 1:
            result ^= row
        value >>= 1
        if not value:
            break
    return result


@functools.lru_cache(maxsize=256)
def _zero_bytes(length):
    """The matrix that appends `length` zero bytes."""
    if length == 1:
        matrix = [1 << bit for bit in range(32)]
        for _ in range(8):
            matrix = [_shifted(row) for row in matrix]
        return matrix
    half = _zero_bytes(length // 2)
    matrix = [_apply(half, row) for row in half]
    if length % 2:
        matrix = [_apply(_zero_bytes(1), row) for row in matrix]
    return matrix


def combine(crc, next_crc, next_length):
    """The checksum of two pieces, from those of each and the length of the second."""
    if not next_length:
        return crc
    return _apply(_zero_bytes(next_length), crc) ^ next_crc
