// Chains of a layer, its base and what that may lie on, for the tests of the native commit.
#ifndef CAIRN_TESTS_UNIT_IMAGE_COMMIT_FIXTURE_H_
#define CAIRN_TESTS_UNIT_IMAGE_COMMIT_FIXTURE_H_

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lib/base/size.h"
#include "lib/base/strings.h"
#include "lib/image/qcow2_commit.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/image/image_test_util.h"

namespace cairn::testing {

class CommitTest : public ::testing::Test {
 protected:
  struct Shape {
    std::string base_format;    // "raw", "qcow2"
    std::string bottom_format;  // what the base lies on; empty: nothing
    std::string base_options;   // of qemu-img create -o
    std::string layer_options;
    int64_t base_bytes = 0;
    int64_t layer_bytes = 0;
    std::string Describe() const {
      return fmt::format("{} of {} bytes ({}) on \"{}\", layer of {} bytes ({})", base_format,
                         base_bytes, base_options, bottom_format, layer_bytes, layer_options);
    }
  };

  void SetUp() override { std::filesystem::create_directory(dir_.File("native")); }

  // Of a file of the chain; of the directory when empty.
  std::string Path(const std::string& name) const {
    return dir_.File("native") + (name.empty() ? "" : "/" + name);
  }
  absl::Status Commit() {
    return CommitSmallLayer(*FileSystem::Posix(), Path(""), "layer", "base", {}, {});
  }

  Shape RandomShape() {
    Shape shape;
    shape.base_format = random_.OneOf<std::string>({"raw", "qcow2", "qcow2", "qcow2"});
    if (shape.base_format == "qcow2") {
      shape.bottom_format = random_.OneOf<std::string>({"", "", "raw", "qcow2"});
    }
    const int64_t cluster = random_.OneOf<int64_t>({512, 4 * kKiB, 64 * kKiB, 64 * kKiB, 2 * kMiB});
    const auto options = [&] {
      std::string text = fmt::format("cluster_size={}", cluster);
      if (random_.Between(0, 3) == 0) return text + ",compat=0.10";
      if (random_.Between(0, 3) == 0) {
        text += fmt::format(",refcount_bits={}", 1 << random_.Between(0, 6));
      }
      if (random_.Between(0, 3) == 0) text += ",lazy_refcounts=on";
      return text;
    };
    shape.base_options = options();
    shape.layer_options = options();
    const int64_t size_max = cluster == 512 ? 2 * kMiB : 64 * kMiB;
    shape.base_bytes = random_.Size(512, size_max, random_.OneOf<int64_t>({512, cluster}));
    shape.layer_bytes = shape.base_bytes;
    if (random_.Between(0, 3) == 0) {
      shape.layer_bytes = random_.Size(shape.base_bytes, 4 * size_max, 512);
    }
    return shape;
  }

  void MakeImage(const std::string& name, const std::string& format, int64_t size,
                 const std::string& options) {
    std::vector<std::string> argv = {"qemu-img", "create", "-q", "-f", format};
    if (!options.empty()) argv.insert(argv.end(), {"-o", options});
    argv.insert(argv.end(), {Path(name), std::to_string(size)});
    MustRun(argv);
  }
  void MakeLayer(const std::string& name, const std::string& below, const std::string& format,
                 int64_t size, const std::string& options) {
    std::vector<std::string> argv = {"qemu-img", "create", "-q", "-f", "qcow2",
                                     "-F",       format,   "-b", below};
    if (!options.empty()) argv.insert(argv.end(), {"-o", options});
    argv.insert(argv.end(), {Path(name), std::to_string(size)});
    MustRun(argv);
  }
  void MakeChain(const Shape& shape) {
    for (const char* name : {"bottom", "base", "layer"}) std::filesystem::remove(Path(name));
    if (!shape.bottom_format.empty()) {
      MakeImage("bottom", shape.bottom_format, shape.base_bytes, "");
      WriteRandomly("bottom", shape.bottom_format, shape.base_bytes, 6);
      MakeLayer("base", "bottom", shape.bottom_format, shape.base_bytes, shape.base_options);
    } else {
      MakeImage("base", shape.base_format, shape.base_bytes,
                shape.base_format == "raw" ? "" : shape.base_options);
    }
    WriteRandomly("base", shape.base_format, shape.base_bytes, 8);
    MakeLayer("layer", "base", shape.base_format, shape.layer_bytes, shape.layer_options);
  }
  void Fill(const Shape& shape) {
    WriteRandomly("layer", "qcow2", shape.layer_bytes, static_cast<int>(random_.Between(0, 10)));
  }
  // Data, zeros with and without room for them, and discards.
  void WriteRandomly(const std::string& name, const std::string& format, int64_t size, int writes) {
    std::vector<std::string> commands;
    for (int i = 0; i < writes; ++i) {
      const int64_t length = std::min(size, random_.Size(512, kMiB, 512));
      int64_t offset = random_.Between(0, size - length) / 512 * 512;
      if (i == 1) offset = size - length;
      std::string how = fmt::format("write -P {}", random_.Between(1, 255));
      if (random_.Between(0, 2) == 0) {
        how = random_.OneOf<std::string>({"write -z", "write -z -u", "discard"});
      }
      commands.push_back(fmt::format("{} {} {}", how, offset, length));
    }
    if (!commands.empty()) QemuIo(Path(name), format, commands);
  }
  // All files of the chain as they are, into a directory beside.
  void CopyChain(const std::string& directory) {
    std::filesystem::remove_all(dir_.File(directory));
    std::filesystem::copy(Path(""), dir_.File(directory), std::filesystem::copy_options::recursive);
  }

  Random random_;
  TempDir dir_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_IMAGE_COMMIT_FIXTURE_H_
