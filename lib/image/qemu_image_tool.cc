#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/image/image_tool.h"
#include "lib/image/new_file.h"
#include "lib/image/qcow2.h"
#include "lib/image/qemu_error.h"
#include "lib/image/qemu_map.h"
#include "lib/image/qemu_progress.h"
#include "lib/os/file_system.h"

namespace cairn {
namespace {

class QemuImageTool : public ImageTool {
 public:
  QemuImageTool(ProcessRunner* processes, QemuImageToolOptions options)
      : processes_(processes), options_(options) {}

  absl::Status Commit(const std::string& directory, const std::string& name,
                      const CancelToken& cancel, const ProgressFn& progress) override {
    ASSIGN_OR_RETURN(const FileStat stat, FileSystem::Posix()->Stat(directory + "/" + name));
    QemuProgress percent(stat.physical_bytes, progress);
    // -d: the layer is removed next, emptying it would be work for nothing. The default cache mode
    // (writeback) flushes the base before qemu-img ends; "none" needs O_DIRECT, which not every
    // share has. Run in the directory, so that the bare names in the headers are the ones beside
    // the file.
    return Run(directory, {"commit", "-p", "-d", "-f", "qcow2", "--", QemuPath(name)}, cancel,
               [&](std::string_view piece) { percent.Feed(piece); });
  }

  absl::Status RepairLeaks(const std::string& directory, const std::string& name,
                           const CancelToken& cancel) override {
    return Run(directory, {"check", "-q", "-r", "leaks", "-f", "qcow2", "--", QemuPath(name)},
               cancel, {});
  }

  absl::Status Resize(const std::string& directory, const std::string& name, int64_t size_bytes,
                      const CancelToken& cancel) override {
    RETURN_IF_ERROR(Run(directory,
                        {"resize", "-q", "--shrink", "-f", "qcow2", "--", QemuPath(name),
                         std::to_string(size_bytes)},
                        cancel, {}));
    ASSIGN_OR_RETURN(auto file,
                     FileSystem::Posix()->Open(directory + "/" + name, OpenMode::kReadWrite));
    return file->Sync();
  }

  absl::Status Convert(const ConvertOptions& options, const CancelToken& cancel,
                       const ProgressFn& progress) override {
    RETURN_IF_ERROR(cancel.Check());
    RETURN_IF_ERROR(CreateTarget(options, cancel));
    QemuProgress percent(options.size_bytes, progress);
    const FileFormat target_format = BaseFileFormat(options.target_format);
    // -n into a file made here, which reads as zeros: the size is ours, not the source's, what was
    // allocated stays so and holes stay holes. Convert's own default cache mode never flushes.
    std::vector<std::string> arguments = {
        "convert", "-p",
        "-n",      "--target-is-zero",
        "-t",      "writeback",
        "-f",      std::string(FileFormatName(options.source_format)),
        "-O",      std::string(FileFormatName(target_format))};
    // Out of order is faster, but scatters the clusters of a qcow2 file, into which it was not
    // measured to be faster: a chain of 1 GiB became 600 runs of clusters instead of 2. Nor were
    // more coroutines than qemu-img's 8, or O_DIRECT.
    if (target_format == FileFormat::kRaw) arguments.push_back("-W");
    arguments.insert(arguments.end(),
                     {"--", QemuPath(options.source_path), QemuPath(options.target_path)});
    RETURN_IF_ERROR(Run("", std::move(arguments), cancel,
                        [&](std::string_view piece) { percent.Feed(piece); }));
    ASSIGN_OR_RETURN(auto file,
                     FileSystem::Posix()->Open(options.target_path, OpenMode::kReadWrite));
    return file->Sync();
  }

  absl::StatusOr<int64_t> MeasureCommit(const std::string& directory, const std::string& name,
                                        const std::string& base, FileFormat base_format,
                                        const CancelToken& cancel) override {
    CommitMeter meter(base_format);
    RETURN_IF_ERROR(Map(directory, base, base_format, cancel,
                        [&](const MapEntry& entry) { meter.AddBase(entry); }));
    int64_t layer_size = 0;
    RETURN_IF_ERROR(Map(directory, name, FileFormat::kQcow2, cancel, [&](const MapEntry& entry) {
      layer_size = std::max(layer_size, entry.start + entry.length);
      meter.AddLayer(entry);
    }));
    if (base_format == FileFormat::kQcow2) return meter.new_bytes();
    // Blocks that are allocated but never written look like holes in a map. A raw file never takes
    // more than its size, though.
    ASSIGN_OR_RETURN(const FileStat stat, FileSystem::Posix()->Stat(directory + "/" + base));
    const int64_t room = std::max(layer_size, stat.size_bytes) - stat.physical_bytes;
    return std::min(meter.new_bytes(), std::max<int64_t>(room, 0));
  }

  absl::StatusOr<std::string> Version() override {
    ASSIGN_OR_RETURN(const ProcessResult result, RunForResult(Spec("", {"--version"})));
    // "qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"
    constexpr std::string_view kBefore = "qemu-img version ";
    const std::string& text = result.stdout_text;
    const size_t begin = text.find(kBefore);
    if (begin == std::string::npos) {
      return Error(Reason::kToolFailed, "qemu-img tells no version", {{"tool", "qemu-img"}});
    }
    const size_t from = begin + kBefore.size();
    const size_t end = text.find_first_of(" \n", from);
    return text.substr(from, end == std::string::npos ? end : end - from);
  }

 private:
  ProcessSpec Spec(const std::string& directory, std::vector<std::string> arguments) const {
    ProcessSpec spec;
    spec.argv = std::move(arguments);
    spec.argv.insert(spec.argv.begin(), "qemu-img");
    spec.working_directory = directory;
    spec.address_space_bytes = options_.address_space_bytes;
    spec.cpu_seconds = options_.cpu_seconds;
    return spec;
  }

  absl::StatusOr<ProcessResult> RunForResult(const ProcessSpec& spec) {
    absl::StatusOr<ProcessResult> result = processes_->Run(spec);
    if (!result.ok()) return AnnotateMissingTool(result.status());
    RETURN_IF_ERROR(CheckQemuExit(spec, *result));
    return result;
  }

  absl::Status Run(const std::string& directory, std::vector<std::string> arguments,
                   const CancelToken& cancel, std::function<void(std::string_view)> on_stdout) {
    ProcessSpec spec = Spec(directory, std::move(arguments));
    spec.cancel = cancel;
    spec.output_max_bytes = 64 * kKiB;  // standard output goes to on_stdout
    spec.on_stdout = std::move(on_stdout);
    return RunForResult(spec).status();
  }

  absl::Status Map(const std::string& directory, const std::string& name, FileFormat format,
                   const CancelToken& cancel, std::function<void(const MapEntry&)> on_entry) {
    MapReader reader(std::move(on_entry));
    RETURN_IF_ERROR(Run(directory,
                        {"map", "--force-share", "--output=json", "-f",
                         std::string(FileFormatName(format)), "--", QemuPath(name)},
                        cancel, [&](std::string_view piece) { reader.Feed(piece); }));
    return reader.Finish();
  }

  absl::Status CreateTarget(const ConvertOptions& options, const CancelToken& cancel) {
    RETURN_IF_ERROR(CheckVolumeSize("size_bytes", options.size_bytes));
    ASSIGN_OR_RETURN(auto file,
                     FileSystem::Posix()->Open(options.target_path, OpenMode::kCreateNew));
    switch (options.target_format) {
      case VolumeFormat::kQcow2: {
        Qcow2CreateOptions create;
        create.size_bytes = options.size_bytes;
        create.preallocate_metadata = options.preallocate_metadata;
        return CreateQcow2(*file, create, cancel);
      }
      case VolumeFormat::kRawSparse:
        return file->Truncate(options.size_bytes);
      case VolumeFormat::kRawThick:
        return AllocateRange(*file, 0, options.size_bytes, kTryAll, cancel, {});
    }
    return InvalidField("target_format", "is not a volume format");
  }

  ProcessRunner* const processes_;  // not owned
  const QemuImageToolOptions options_;
};

}  // namespace

std::unique_ptr<ImageTool> MakeQemuImageTool(ProcessRunner* processes,
                                             QemuImageToolOptions options) {
  return std::make_unique<QemuImageTool>(processes, options);
}

}  // namespace cairn
