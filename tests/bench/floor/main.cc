// cairn_bench_floor: the system calls that a durable volume or snapshot cannot do without, and
// nothing else, to compare Cairn with. No server, no lock, no check, no memory of what was made.
//
//   cairn_bench_floor create --dir /srv/share --state /var/tmp/floor --count 200
//
// `create`, an empty qcow2 volume:
//
//   openat(O_CREAT), pwrite for each run of bytes, ftruncate, fsync, close     the temporary file
//   renameat                                                                   to its name
//   fsync of the directory
//   pwrite of the changed pages to SQLite's log, fdatasync of the log          the commit
//
// The fsync before the rename: without it the name may last and the content not. The one of the
// directory: without it the content may last and the name not. The rename: a crash before it leaves
// nothing under a name that counts. The commit after both: what it records is there. The bytes are
// those that Cairn writes, taken from its own writer; the commit is one row as large as the record of
// a volume, in a database set up as the catalog is.
//
// `snapshot`, of a volume that is not in use: the same for the new layer (header and refcounts of an
// empty qcow2 image with a backing file) and for the ".info" map, one fsync of the directory for both
// names, and one commit.
//
// The files stay: ext4 without a journal, as many virtual machines have it, looks long for an inode
// when many files of the same place were removed shortly before.
//
// What Cairn does beyond that is what makes it more than a file: it commits three times (the
// operation before anything is done, the plan before the first step, the result), so --commits 3 is
// the floor of a server that can be killed at any instant and knows what it was about; and it syncs
// the directory between the layer and the map, so that no map names a layer that is not there.
#include <fmt/format.h>
#include <sys/stat.h>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/chain/info_map.h"
#include "tests/bench/command_line.h"
#include "tests/bench/floor/durable_directory.h"
#include "tests/bench/floor/journal.h"
#include "tests/bench/jobs.h"

namespace cairn::bench {
namespace {

struct FloorOptions {
  std::string directory;
  std::string state;
  size_t count = 100;
  size_t clients = 1;
  int commits = 1;
  uint64_t size_bytes = uint64_t{1} << 30;
  std::string preallocation = "metadata";
};

// What one run makes, all of its files in the directory.
struct Item {
  std::string file;
  FileContent content;
  std::string map;  // name of the ".info" file; empty: none
  FileContent map_content;
};

absl::StatusOr<Item> NewVolume(const FloorOptions& options) {
  Qcow2CreateOptions image;
  image.size_bytes = static_cast<int64_t>(options.size_bytes);
  image.preallocate_metadata = options.preallocation == "metadata";
  Item item;
  item.file = BaseFileName(NewId());
  ASSIGN_OR_RETURN(item.content, ContentOfQcow2(image));
  return item;
}

absl::StatusOr<Item> NewSnapshot(const FloorOptions& options) {
  const std::string volume = NewId();
  const std::string snapshot = NewId();
  Qcow2CreateOptions image;
  image.size_bytes = static_cast<int64_t>(options.size_bytes);
  image.backing_file = BaseFileName(volume);
  image.backing_format = "qcow2";
  Item item;
  item.file = LayerFileName(volume, snapshot);
  ASSIGN_OR_RETURN(item.content, ContentOfQcow2(image));
  item.map = InfoFileName(volume);
  const std::string map = FormatInfoMap({item.file, {{snapshot, item.file}}});
  item.map_content = {static_cast<int64_t>(map.size()), {{0, map}}};
  return item;
}

absl::Status Make(const DurableDirectory& directory, Journal* journal, const Item& item,
                  int commits) {
  RETURN_IF_ERROR(directory.Publish(item.file, item.content));
  if (!item.map.empty()) RETURN_IF_ERROR(directory.Publish(item.map, item.map_content));
  RETURN_IF_ERROR(directory.Sync());
  for (int i = 0; i < commits; ++i) RETURN_IF_ERROR(journal->Commit(item.file));
  return absl::OkStatus();
}

absl::StatusOr<Report> RunFloor(const FloorOptions& options,
                                absl::StatusOr<Item> (*new_item)(const FloorOptions&)) {
  umask(0);  // a new file has the right mode at once
  ASSIGN_OR_RETURN(DurableDirectory directory, DurableDirectory::Open(options.directory));
  ASSIGN_OR_RETURN(auto journal, Journal::Create(options.state + "/floor.db"));
  // Prepared beforehand: only system calls are timed.
  std::vector<Item> items;
  for (size_t i = 0; i < options.count; ++i) {
    ASSIGN_OR_RETURN(items.emplace_back(), new_item(options));
  }
  Report report;
  AddRound(RunJobs(options.clients, options.count,
                   [&](size_t, size_t i) {
                     return Make(directory, journal.get(), items[i], options.commits);
                   }),
           "", &report);
  return report;
}

void AddFloor(CLI::App* app, const std::string& name, const std::string& description,
              FloorOptions* options) {
  CLI::App* command = app->add_subcommand(name, description);
  command->add_option("--dir", options->directory, "Where the files are made; they stay")
      ->type_name("DIR")
      ->required();
  command->add_option("--state", options->state, "Where the database is made")
      ->type_name("DIR")
      ->required();
  command->add_option("--count", options->count, "How many")
      ->check(CLI::PositiveNumber)
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--clients", options->clients, "How many are made at a time")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--commits", options->commits, "How often each is committed; Cairn: 3")
      ->check(CLI::Range(0, 10))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--size", options->size_bytes, "Of each volume, such as 10GiB")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE")
      ->default_str("1GiB");
  command
      ->add_option("--preallocation", options->preallocation,
                   "The server's qcow2_preallocation: metadata or off")
      ->check(CLI::IsMember({"metadata", "off"}))
      ->type_name("WORD")
      ->capture_default_str();
}

int Main(int argc, char** argv) {
  CLI::App app("Does what a durable volume or snapshot cannot do without, and nothing else.");
  app.require_subcommand(1);
  FloorOptions create;
  FloorOptions snapshot;
  AddFloor(&app, "create", "Files of empty qcow2 volumes", &create);
  AddFloor(&app, "snapshot", "New layers and maps of volumes that are not there", &snapshot);
  if (auto exit_code = ParseCommandLine(&app, argc, argv)) return *exit_code;
  return PrintReport(app.got_subcommand("create") ? RunFloor(create, NewVolume)
                                                  : RunFloor(snapshot, NewSnapshot));
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) { return cairn::bench::Main(argc, argv); }
