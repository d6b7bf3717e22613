// A small file system of its own, in memory, for what happens when it is full; needs the right to mount.
#ifndef CAIRN_TESTS_SUPPORT_SMALL_DISK_H_
#define CAIRN_TESTS_SUPPORT_SMALL_DISK_H_

#include <sys/mount.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

namespace cairn::testing {

class SmallDisk {
 public:
  // `size`: as mount's option, "1m".
  SmallDisk(std::string path, const std::string& size) : path_(std::move(path)) {
    std::filesystem::create_directory(path_);
    mounted_ = mount("tmpfs", path_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // False: there is no such right here.
  bool mounted() const { return mounted_; }
  const std::string& path() const { return path_; }

  int64_t FreeBytes() const {
    struct statvfs disk;
    if (statvfs(path_.c_str(), &disk) != 0) return -1;
    return static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
  }
  // Somebody else takes all but so much, or gives it back.
  void TakeAllBut(int64_t bytes) {
    std::ofstream(path_ + "/ballast", std::ios::binary | std::ios::app)
        << std::string(static_cast<size_t>(std::max<int64_t>(FreeBytes() - bytes, 0)), 'x');
  }
  void MakeRoom() { std::filesystem::remove(path_ + "/ballast"); }

 private:
  const std::string path_;
  bool mounted_ = false;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SUPPORT_SMALL_DISK_H_
