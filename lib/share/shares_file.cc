#include "lib/share/shares_file.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <set>
#include <utility>

namespace cairn {
namespace {

constexpr size_t kLineMax = 4096;
constexpr std::string_view kFileScheme = "file://";

// Why a line does not serve, or nothing.
using Problem = std::optional<std::string>;

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

// The fields of a line up to a comment.
std::vector<std::string_view> SplitFields(std::string_view line) {
  std::vector<std::string_view> fields;
  size_t at = 0;
  while (true) {
    while (at < line.size() && IsBlank(line[at])) ++at;
    if (at == line.size() || line[at] == '#') return fields;
    size_t begin = at;
    while (at < line.size() && !IsBlank(line[at])) ++at;
    fields.push_back(line.substr(begin, at - begin));
  }
}

std::string UndoSpaces(std::string_view text) {
  constexpr std::string_view kSpace = "\\040";
  std::string result;
  while (true) {
    size_t at = text.find(kSpace);
    result += text.substr(0, at);
    if (at == std::string_view::npos) return result;
    result += ' ';
    text.remove_prefix(at + kSpace.size());
  }
}

// Part of a line for a message: bounded, and without bytes that would upset a log.
std::string Shown(std::string_view text) {
  constexpr size_t kShownMax = 80;
  std::string shown(text.substr(0, kShownMax));
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return text.size() > kShownMax ? shown + "..." : shown;
}

Problem CheckDirectoryAddress(std::string_view address) {
  std::string_view path = address.substr(kFileScheme.size());
  if (!path.starts_with('/')) return "file:// must be followed by an absolute path";
  if (path == "/") return "the root directory cannot be a share";
  path.remove_prefix(1);
  while (true) {
    size_t slash = path.find('/');
    std::string_view component = path.substr(0, slash);
    if (component.empty() || component == "." || component == "..") {
      return "the path after file:// must be normalised: no \"//\", \".\", \"..\" or slash at its "
             "end";
    }
    if (slash == std::string_view::npos) return std::nullopt;
    path.remove_prefix(slash + 1);
  }
}

Problem CheckHost(std::string_view host) {
  if (host.empty()) return "the host is missing";
  // mount(8) would take it for an option.
  if (host.starts_with('-')) return "a host cannot begin with '-'";
  if (host.find_first_of("/[]\\ ") != std::string_view::npos) return "the host is not valid";
  if (host.find(':') != std::string_view::npos) return "an IPv6 host must stand in brackets";
  return std::nullopt;
}

Problem CheckBracketedHost(std::string_view host) {
  std::string_view digits = host.substr(0, host.find('%'));  // the rest is a zone: fe80::1%eth0
  if (digits.find(':') == std::string_view::npos ||
      digits.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos ||
      host.find_first_of("/[]\\ ") != std::string_view::npos) {
    return "no IPv6 address stands in the brackets";
  }
  return std::nullopt;
}

Problem CheckNfsAddress(std::string_view address) {
  size_t host_end = address.find(":/");
  Problem host_problem;
  if (address.starts_with('[')) {
    size_t bracket = address.find(']');
    if (bracket == std::string_view::npos || address.substr(bracket + 1, 2) != ":/") {
      return "not of the form [IPv6]:/export";
    }
    host_end = bracket + 1;
    host_problem = CheckBracketedHost(address.substr(1, bracket - 1));
  } else {
    if (host_end == std::string_view::npos) return "not of the form host:/export or file:///dir";
    host_problem = CheckHost(address.substr(0, host_end));
  }
  if (host_problem.has_value()) return host_problem;
  std::string_view path = address.substr(host_end + 1);
  if (path.find_first_not_of('/') == std::string_view::npos) return "the export is missing";
  return std::nullopt;
}

Problem CheckAddress(const ShareSpec& share) {
  return share.is_directory() ? CheckDirectoryAddress(share.address)
                              : CheckNfsAddress(share.address);
}

// The fields after the address: only "-o options", any number of times.
Problem ReadOptions(const std::vector<std::string_view>& fields, ShareSpec* share) {
  for (size_t i = 1; i < fields.size(); i += 2) {
    if (fields[i] != "-o") {
      return fmt::format("\"{}\" after the address: only -o and its options may stand there",
                         Shown(fields[i]));
    }
    if (i + 1 == fields.size() || fields[i + 1].starts_with('-')) {
      return "-o without options";
    }
    if (!share->mount_options.empty()) share->mount_options += ',';
    share->mount_options += fields[i + 1];
  }
  if (share->is_directory() && !share->mount_options.empty()) {
    return "a directory is not mounted: it takes no options";
  }
  return std::nullopt;
}

Problem CheckBytes(std::string_view line) {
  if (line.size() > kLineMax) return fmt::format("longer than {} bytes", kLineMax);
  for (unsigned char c : line) {
    if ((c < 0x20 && c != '\t') || c == 0x7f) {
      return fmt::format("holds a control character (byte 0x{:02x})", c);
    }
  }
  return std::nullopt;
}

// A share twice under two mount points would be counted twice: the slash at the end makes no other
// one.
std::string WithoutTrailingSlashes(std::string address) {
  while (address.ends_with('/')) address.pop_back();
  return address;
}

// MD5 from a library context of our own: a system-wide FIPS setting takes it away from the default
// one, and names of directories are no cryptography.
const EVP_MD* Md5() {
  static const EVP_MD* const md5 = [] {
    OSSL_LIB_CTX* context = OSSL_LIB_CTX_new();
    OSSL_PROVIDER_load(context, "default");
    return EVP_MD_fetch(context, "MD5", nullptr);
  }();
  return md5;
}

std::string Md5Hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  const EVP_MD* md5 = Md5();
  if (md5 == nullptr ||
      EVP_Digest(text.data(), text.size(), digest.data(), &size, md5, nullptr) != 1) {
    // There is no other name that would be right: the data of existing volumes is under this one.
    spdlog::critical("OpenSSL offers no MD5, which names the mount points");
    std::abort();
  }
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace

SharesFile ParseSharesFile(std::string_view text) {
  SharesFile file;
  std::set<std::string> seen;
  int number = 0;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);

    auto reject = [&](std::string_view problem) {
      file.problems.push_back(fmt::format("line {}: {}: \"{}\"", number, problem, Shown(line)));
    };
    if (Problem problem = CheckBytes(line)) {
      reject(*problem);
      continue;
    }
    std::vector<std::string_view> fields = SplitFields(line);
    if (fields.empty()) continue;
    ShareSpec share;
    share.line = number;
    share.address = UndoSpaces(fields[0]);
    Problem problem = CheckAddress(share);
    if (!problem.has_value()) problem = ReadOptions(fields, &share);
    if (!problem.has_value() && !seen.insert(WithoutTrailingSlashes(share.address)).second) {
      problem = "duplicate: the first line with this share serves";
    }
    if (problem.has_value()) {
      reject(*problem);
    } else {
      file.shares.push_back(std::move(share));
    }
  }
  return file;
}

std::string MountPointOf(std::string_view mount_point_base, const ShareSpec& share) {
  if (share.is_directory()) return share.address.substr(kFileScheme.size());
  std::string path;
  for (char c : mount_point_base) {
    if (c != '/' || !path.ends_with('/')) path += c;
  }
  if (!path.ends_with('/')) path += '/';
  return path + Md5Hex(share.address);
}

}  // namespace cairn
