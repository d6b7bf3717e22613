'use strict';
// CRC-32C (Castagnoli), as ContentChunk.crc32c wants it.

const table = new Uint32Array(256).map((_, value) => {
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0x82f63b78 : 0);
  return value;
});

// The checksum of `data`, or with `crc` that of what came before and `data`.
function crc32c(data, crc = 0) {
  crc = ~crc;
  for (const byte of data) crc = table[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

module.exports = {crc32c};
