// A process with children, for child_death_test.cc, which kills it.
//
//   cairn_os_parent one COMMAND...   starts one child from a thread that ends, tells "started"
//   cairn_os_parent many COMMAND...  starts one after the other from two threads, without an end
#include <unistd.h>

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "lib/os/process.h"

namespace cairn {
namespace {

void StartMany(const ProcessSpec& spec) {
  std::vector<std::unique_ptr<Process>> children;
  for (;;) {
    auto child = ProcessRunner::Posix()->Start(spec);
    if (!child.ok()) _exit(1);
    children.push_back(*std::move(child));
    if (children.size() == 8) children.clear();
  }
}

int Main(int argc, char** argv) {
  if (argc < 3) return 2;
  ProcessSpec spec;
  spec.argv.assign(argv + 2, argv + argc);
  if (argv[1] == std::string("many")) {
    std::thread other([&] { StartMany(spec); });
    StartMany(spec);
  }
  absl::StatusOr<std::unique_ptr<Process>> child;
  std::thread([&] { child = ProcessRunner::Posix()->Start(spec); }).join();
  if (!child.ok()) return 1;
  puts("started");
  fflush(stdout);
  for (;;) pause();
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) { return cairn::Main(argc, argv); }
