// cairnctl volume: import and export.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "cairnctl/commands.h"
#include "cairnctl/finish.h"
#include "cairnctl/image_format.h"
#include "cairnctl/names.h"
#include "cairnctl/progress.h"
#include "cairnctl/units.h"

namespace cairn::cairnctl {
namespace {

constexpr int64_t kSectorBytes = 512;

struct ImportArgs {
  std::string file, name, id, pool, share, format;
  int64_t size_bytes = 0;
  bool raw_content = false;
  std::vector<std::string> labels;
};

struct ExportArgs {
  std::string source, file;
  bool snapshot = false, force = false;
  int64_t offset = 0, length_bytes = 0;
};

// Closed at the end of the scope, if it is not stdin.
class InputFile {
 public:
  explicit InputFile(int fd) : fd_(fd) {}
  ~InputFile() {
    if (fd_ > STDIN_FILENO) close(fd_);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

absl::StatusOr<int64_t> SizeOf(const ImportArgs& args, const client::ContentSource& source) {
  if (args.size_bytes > 0) return args.size_bytes;
  if (source.size_bytes() > 0)
    return (source.size_bytes() + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
  return absl::InvalidArgumentError("the size of the content cannot be told: give --size");
}

client::TransferOptions TransferOptionsOf(Session* session, Progress* progress, const char* label) {
  client::TransferOptions options;
  options.stop = session->stop();
  options.on_progress = [progress, label](const client::TransferProgress& now) {
    progress->Update({label, now.done_bytes, now.total_bytes});
  };
  return options;
}

absl::Status RunImport(Session* session, const ImportArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const InputFile input(args.file == "-" ? STDIN_FILENO
                                         : open(args.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (input.fd() < 0) {
    return absl::NotFoundError(
        fmt::format("{}: {}", args.file, std::generic_category().message(errno)));
  }
  const auto file = client::NewFileSource(input.fd());
  if (!file.ok()) return client::Annotate(file.status(), args.file);
  PeekedSource source(file->get());
  if (!args.raw_content) {
    const auto head = source.Peek();
    if (!head.ok()) return client::Annotate(head.status(), args.file);
    if (absl::Status status = CheckRawContent(*head, args.file); !status.ok()) return status;
  }
  const auto size = SizeOf(args, source);
  if (!size.ok()) return size.status();
  v1::ImportHeader header;
  header.set_volume_id(args.id);
  header.set_name(args.name);
  header.set_pool(args.pool);
  header.set_share(args.share);
  header.set_size_bytes(*size);
  header.set_format(VolumeFormatOf(args.format));
  SetLabels(args.labels, header.mutable_labels());
  session->SetChangeFields(&header);

  Progress progress(session->globals.quiet);
  const Interrupt::Scope scope(session->interrupt());
  const auto pending =
      (*client)->ImportVolume(header, &source, TransferOptionsOf(session, &progress, "upload"));
  progress.Clear();
  if (session->stop().stop_requested() && !pending.ok())
    Note("The upload was given up; there is no volume.");
  return Finish(session, pending, "Volume created.");
}

absl::StatusOr<client::TransferSummary> Export(Session* session, const ExportArgs& args,
                                               const v1::ExportVolumeRequest& request) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  Progress progress(session->globals.quiet);
  const Interrupt::Scope scope(session->interrupt());
  const auto options = TransferOptionsOf(session, &progress, "download");
  if (args.file == "-") {
    // Through a pipe every byte must go, so zeros are written too.
    return (*client)->ExportVolume(request, client::NewFileSink(STDOUT_FILENO, true).get(),
                                   options);
  }
  return (*client)->ExportVolumeToFile(request, args.file, options);
}

// Before anything is asked of the server.
absl::Status CheckTarget(const ExportArgs& args) {
  struct stat info = {};
  if (args.file == "-" || stat(args.file.c_str(), &info) != 0) return absl::OkStatus();
  if (S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(
        fmt::format("{} is a directory; name a file in it", args.file));
  }
  if (args.force) return absl::OkStatus();
  return absl::AlreadyExistsError(
      fmt::format("{} exists; --force {}", args.file,
                  S_ISREG(info.st_mode) ? "replaces it" : "writes into it"));
}

absl::Status RunExport(Session* session, const ExportArgs& args) {
  if (absl::Status status = CheckTarget(args); !status.ok()) return status;
  const auto id = args.snapshot ? SnapshotId(session, args.source) : VolumeId(session, args.source);
  if (!id.ok()) return id.status();
  v1::ExportVolumeRequest request;
  if (args.snapshot) {
    request.set_snapshot_id(*id);
  } else {
    request.set_volume_id(*id);
  }
  request.set_offset(args.offset);
  request.set_length(args.length_bytes);
  const auto summary = Export(session, args, request);
  if (!summary.ok()) return summary.status();
  if (!session->globals.quiet) {
    Note(fmt::format("{} downloaded to {}, CRC-32C {:08x}", FormatSize(summary->length_bytes),
                     args.file == "-" ? "stdout" : args.file, summary->crc32c));
  }
  return absl::OkStatus();
}

void AddImport(CLI::App* noun, Session* session) {
  auto args = std::make_shared<ImportArgs>();
  CLI::App* verb =
      AddVerb(noun, "import", "Create a volume and upload its content: a disk's raw bytes",
              {"volume import disk.raw --name web-1",
               "volume import disk.raw --size 100GiB --format raw-sparse --pool fast",
               "volume import - --size 10GiB < disk.raw"});
  verb->add_option("file", args->file, "The file or device; - is stdin")
      ->required()
      ->type_name(kFileType);
  verb->add_option("name,--name", args->name, "A name for people");
  AddSize(verb, "--size", &args->size_bytes, "The volume's size; the file's by default");
  verb->add_option("--id", args->id, "The id it shall have; a new UUID by default")
      ->type_name("UUID");
  verb->add_option("--pool", args->pool, "The pool; the default pool by default")
      ->type_name(kPoolType);
  verb->add_option("--share", args->share, "The share; chosen by the pool by default")
      ->type_name("ADDRESS");
  AddChoice(verb, "--format", &args->format, VolumeFormatWords(),
            "The format; the pool's by default");
  AddLabels(verb, &args->labels, "A label; may be given several times");
  verb->add_flag("--raw-content", args->raw_content,
                 "Upload the bytes as they are, even if they look like an image of another format");
  OnRun(verb, session, args, RunImport);
}

void AddExport(CLI::App* noun, Session* session) {
  auto args = std::make_shared<ExportArgs>();
  CLI::App* verb =
      AddVerb(noun, "export", "Download the content of a volume or a snapshot, as raw bytes",
              {"volume export web-1 web-1.raw", "volume export --snapshot before-upgrade old.raw",
               "volume export web-1 - | gzip > web-1.raw.gz"});
  verb->add_option("volume", args->source, "Id or name; of a snapshot with --snapshot")
      ->required()
      ->type_name(kVolumeType);
  verb->add_option(
          "file", args->file,
          "Where to: a file, in which zeros become holes, a device, or a FIFO; - is stdout")
      ->required()
      ->type_name(kFileType);
  verb->add_flag("--snapshot", args->snapshot, "The source is a snapshot");
  verb->add_flag("--force", args->force, "Replace the file, or write into the device, that exists");
  AddSize(verb, "--offset", &args->offset, "Begin here; in the file, too");
  AddSize(verb, "--length", &args->length_bytes,
          "So much; to the end by default. The file has the volume's size anyway");
  OnRun(verb, session, args, RunExport);
}

}  // namespace

void AddVolumeContentVerbs(CLI::App* volume, Session* session) {
  AddImport(volume, session);
  AddExport(volume, session);
}

}  // namespace cairn::cairnctl
