// CRC-32C (Castagnoli), the checksum of uploaded and downloaded content. Functions over values.
#ifndef CAIRN_CLIENT_CRC32C_H_
#define CAIRN_CLIENT_CRC32C_H_

#include <cstdint>
#include <string_view>

namespace cairn::client {

// The checksum of what `crc` is the checksum of, followed by `data`. Begin with 0.
uint32_t ExtendCrc32c(uint32_t crc, std::string_view data);

// The same for `length` zero bytes, in time that grows with the logarithm of the length.
uint32_t ExtendCrc32cByZeros(uint32_t crc, int64_t length);

}  // namespace cairn::client

#endif  // CAIRN_CLIENT_CRC32C_H_
