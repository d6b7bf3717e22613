// A libvirtd of the test's own with real QEMU machines: tests/support/libvirtd for C++. The machines
// have no guest and are paused; the test writes to their disks as the guest would.
//
//   LibvirtDaemon libvirtd;
//   ASSERT_TRUE(libvirtd.Start());
//   LibvirtMachine machine(&libvirtd, {{"/share/volume-1", FileFormat::kQcow2}});
//   machine.Write(0, 0, 65536, 0xaa);
#ifndef CAIRN_TESTS_SUPPORT_LIBVIRTD_H_
#define CAIRN_TESTS_SUPPORT_LIBVIRTD_H_

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/format.h"
#include "lib/os/deadline.h"
#include "lib/os/process.h"
#include "tests/support/qemu.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {

class LibvirtDaemon {
 public:
  ~LibvirtDaemon() { RunTool({CAIRN_TEST_LIBVIRTD, "stop", directory_.path()}); }

  // Also again, after it died: it finds its machines.
  bool Start() {
    uri_ = RunTool({CAIRN_TEST_LIBVIRTD, "start", directory_.path()});
    if (!uri_.empty() && uri_.back() == '\n') uri_.pop_back();
    return !uri_.empty();
  }
  const std::string& uri() const { return uri_; }
  void Signal(int signal) const { kill(std::stoi(ReadFile(directory_.File("pid"))), signal); }

  // What virsh prints; it must succeed.
  std::string Virsh(std::vector<std::string> words) const {
    words.insert(words.begin(), {"virsh", "-q", "-c", uri_});
    return RunTool(std::move(words));
  }
  int MachinePid(const std::string& name) const {
    return std::stoi(ReadFile(directory_.File("run/libvirt/qemu/run/" + name + ".pid")));
  }
  // In a file that lives as long as this.
  std::string Save(const std::string& name, const std::string& text) const {
    WriteFile(directory_.File(name), text);
    return directory_.File(name);
  }

 private:
  TempDir directory_;
  std::string uri_;
};

class LibvirtMachine {
 public:
  struct Disk {
    std::string path;
    FileFormat format = FileFormat::kQcow2;
    std::string xml{};  // more elements of <disk>
  };

  // Its disks are vda, vdb ... It is gone when libvirt forgets it, unless it is `defined`.
  // Each gets a name of its own.
  LibvirtMachine(const LibvirtDaemon* libvirtd, const std::vector<Disk>& disks,
                 bool defined = false)
      : libvirtd_(*libvirtd), name_(fmt::format("m{}", ++count_)) {
    std::string xml = fmt::format(
        "<domain type='qemu'><name>{}</name><memory unit='MiB'>16</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>",
        name_);
    char letter = 'a';
    for (const Disk& disk : disks) {
      xml += fmt::format(
          "<disk type='file' device='disk'><driver name='qemu' type='{}'/>"
          "<source file='{}'/><target dev='vd{}' bus='virtio'/>{}</disk>",
          FileFormatName(disk.format), disk.path, letter++, disk.xml);
    }
    xml +=
        "<disk type='file' device='cdrom'><target dev='sda' bus='scsi'/><readonly/></disk>"
        "<memballoon model='none'/><controller type='usb' model='none'/></devices></domain>";
    std::string file = libvirtd_.Save(name_ + ".xml", xml);
    if (defined) {
      libvirtd_.Virsh({"define", file});
      libvirtd_.Virsh({"start", "--paused", name_});
    } else {
      libvirtd_.Virsh({"create", "--paused", file});
    }
    pid_ = libvirtd_.MachinePid(name_);
  }
  ~LibvirtMachine() { Kill(); }

  // What QEMU has in memory only is lost. Its files are closed when this returns; libvirt may need a
  // moment to notice, up to a second or two where the system is slow to reap.
  void Kill() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    const std::string process = fmt::format("/proc/{}", std::exchange(pid_, 0));
    Deadline deadline(absl::Seconds(20));
    while (!HasEnded(process)) ASSERT_FALSE(deadline.passed()) << name_ << " does not end";
  }
  const std::string& name() const { return name_; }
  int pid() const { return pid_; }

  // As the guest of disk `number` that does not flush.
  void Write(int number, int64_t offset, int64_t length, uint8_t pattern) const {
    QemuIo(number, fmt::format("write -P {} {} {}", pattern, offset, length));
  }
  void Flush(int number) const { QemuIo(number, "flush"); }

  // The bare names of the files below `directory` that it has open.
  std::set<std::string> OpenFiles(const std::string& directory) const {
    std::set<std::string> names;
    std::error_code ignored;
    for (const auto& fd :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid_), ignored)) {
      std::filesystem::path target = std::filesystem::read_symlink(fd.path(), ignored);
      if (target.parent_path() == directory) names.insert(target.filename());
    }
    return names;
  }

 private:
  // Ended is also what its parent has not taken note of: "pid (name) Z". The first thread alone says
  // nothing, others may have the files open still.
  static bool HasEnded(const std::string& process) {
    const std::string stat = ReadFile(process + "/stat");
    if (stat.empty()) return true;
    int threads = 0;
    std::error_code error;
    std::filesystem::directory_iterator thread(process + "/task", error);
    for (; !error && thread != std::filesystem::directory_iterator(); thread.increment(error)) {
      ++threads;
    }
    return stat.substr(stat.rfind(')') + 2, 1) == "Z" && threads <= 1;
  }

  // HMP's qemu-io goes through the device's own back end, as a guest's write does; what it says of
  // success goes to QEMU's log, so the tests read what was written.
  void QemuIo(int number, const std::string& command) const {
    std::string answer = libvirtd_.Virsh(
        {"qemu-monitor-command", name_, "--hmp",
         fmt::format("qemu-io -d /machine/peripheral/virtio-disk{}/virtio-backend \"{}\"", number,
                     command)});
    EXPECT_EQ(answer.find("Error"), std::string::npos) << answer;
  }

  inline static int count_ = 0;
  const LibvirtDaemon& libvirtd_;
  const std::string name_;
  int pid_ = 0;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SUPPORT_LIBVIRTD_H_
