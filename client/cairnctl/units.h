// Sizes and times as people write and read them. Pure functions.
#ifndef CAIRN_CLIENT_CAIRNCTL_UNITS_H_
#define CAIRN_CLIENT_CAIRNCTL_UNITS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::cairnctl {

// "10GiB", "10G", "512M", "1.5TiB", "4096", "4096B": bytes; letter case does not count. Units are
// binary, with or without "iB". A fraction is allowed if it gives whole bytes. Nothing for what is
// no size: a sign, an unknown unit (GB too: it would be decimal), or more than 2^63 - 1.
std::optional<int64_t> ParseSize(std::string_view text);

// "1.5 GiB", "512 B": at most one decimal.
std::string FormatSize(int64_t bytes);

// "90s", "5m", "1h30m", "250ms", "2d"; a bare number is seconds. Nothing for what is no duration.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);

// "12s", "5m", "3h12m", "4d": the two largest units while they matter.
std::string FormatDuration(std::chrono::seconds duration);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_UNITS_H_
