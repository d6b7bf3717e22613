// What choosing a share for a volume costs, by the number of volumes that are there: with the figures
// kept up to date in memory, and as the Cinder NFS driver does it, which measures the share with du.
#include <benchmark/benchmark.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>

#include <map>
#include <memory>

#include "lib/os/process.h"
#include "tests/support/engine_fixture.h"

namespace cairn {
namespace {

using testing::TestEngine;

// An engine with so many volumes on its one share; made once.
TestEngine& EngineWith(int64_t volumes) {
  static auto* const engines = new std::map<int64_t, std::unique_ptr<TestEngine>>;
  std::unique_ptr<TestEngine>& engine = (*engines)[volumes];
  if (engine != nullptr) return *engine;
  TestEngine::Setup setup;
  setup.shares = 1;
  setup.pool.max_over_subscription_ratio = 1000;
  engine = std::make_unique<TestEngine>(setup);
  std::vector<std::string> running;
  for (int64_t i = 0; i < volumes; ++i) {
    CreateVolumeRequest request;
    request.size_bytes = kMiB;
    request.format = VolumeFormat::kRawSparse;
    auto operation = engine->Submit(request);
    if (operation.ok()) running.push_back((*operation)->id);
    // As many as the share's queue holds.
    if (running.size() < 500 && i + 1 < volumes) continue;
    for (const std::string& id : running) {
      auto ended = engine->Wait(id);
      if (!ended.ok() || !(*ended)->error.ok()) abort();
    }
    running.clear();
  }
  return *engine;
}

// All that a request for a volume costs but the volume itself: its fields, the choice of the share
// and the reservation, which is given back.
void Admission(benchmark::State& state) {
  TestEngine& engine = EngineWith(state.range(0));
  CreateVolumeRequest request;
  request.size_bytes = kMiB;
  request.format = VolumeFormat::kRawSparse;
  Caller caller;
  caller.validate_only = true;
  for (auto _ : state) {
    absl::Status status = engine.Do(request, caller);
    if (!status.ok()) state.SkipWithError(std::string(status.message()).c_str());
  }
}
BENCHMARK(Admission)->Arg(10)->Arg(10'000)->Unit(benchmark::kMicrosecond);

// The peer's way: `du --bytes --apparent-size --exclude *snapshot*` at each decision.
void Du(benchmark::State& state) {
  TestEngine& engine = EngineWith(state.range(0));
  for (auto _ : state) {
    ProcessSpec spec;
    spec.argv = {"du", "-sb", "--apparent-size", "--exclude", "*snapshot*", engine.directory()};
    auto result = ProcessRunner::Posix()->Run(spec);
    if (!result.ok() || result->exit_code != 0) state.SkipWithError("du failed");
  }
}
BENCHMARK(Du)->Arg(10)->Arg(10'000)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  spdlog::set_level(spdlog::level::err);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
