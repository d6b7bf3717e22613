#include "lib/hypervisor/libvirt_chain.h"

#include <fmt/format.h>

namespace cairn {
namespace {

std::string_view DirectoryOf(std::string_view path) { return path.substr(0, path.rfind('/')); }
std::string_view NameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

bool SamePath(std::string_view a, std::string_view b) {
  while (a.size() > 1 && a.back() == '/') a.remove_suffix(1);
  while (b.size() > 1 && b.back() == '/') b.remove_suffix(1);
  return a == b;
}

absl::StatusOr<LibvirtChain> FindLibvirtChain(const LibvirtConnection& connection,
                                              const LibvirtDomain& domain,
                                              const std::string& target) {
  auto mismatch = [&](const std::string& what) {
    return connection.Failure(Reason::kHypervisorMismatch, fmt::format("disk {} {}", target, what));
  };
  auto found = std::find_if(domain.disks.begin(), domain.disks.end(),
                            [&](const LibvirtDisk& disk) { return disk.target == target; });
  if (found == domain.disks.end()) return mismatch("is not there");
  LibvirtChain chain;
  chain.disk = *found;
  for (const LibvirtFile& file : found->files) {
    if (file.path.empty() || file.path[0] != '/') return mismatch("is not made of files");
    std::string directory(DirectoryOf(file.path));
    if (chain.names.empty()) chain.directory = directory;
    if (!SamePath(chain.directory, directory)) {
      return mismatch(fmt::format("has open {}/{} and {} in another directory", chain.directory,
                                  chain.names.back(), file.path));
    }
    chain.names.emplace_back(NameOf(file.path));
    chain.references.push_back(file.index.empty() ? file.path
                                                  : fmt::format("{}[{}]", target, file.index));
  }
  if (chain.names.empty()) return mismatch("has no file open");
  return chain;
}

}  // namespace cairn
