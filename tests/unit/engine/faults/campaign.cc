#include "tests/unit/engine/faults/campaign.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "lib/base/id.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"
#include "tests/unit/engine/sessions_of_tests.h"

namespace cairn::testing {
namespace {

constexpr absl::Duration kEndLimit = absl::Minutes(2);
constexpr absl::Duration kLook = absl::Microseconds(200);
constexpr std::array<std::string_view, 9> kModeNames = {"once",   "twice",       "answer-lost",
                                                        "while",  "restart",     "restart-again",
                                                        "killed", "killed-late", "locked"};

// What is in one of the texts only, by lines.
std::string Difference(const std::string& found, const std::string& expected) {
  const std::vector<std::string> ours = absl::StrSplit(found, '\n');
  const std::vector<std::string> theirs = absl::StrSplit(expected, '\n');
  std::string text;
  const auto add = [&](const auto& some, const auto& others, std::string_view mark) {
    for (const std::string& line : some) {
      if (std::find(others.begin(), others.end(), line) == others.end()) {
        text += fmt::format("      {} {}\n", mark, line);
      }
    }
  };
  add(ours, theirs, "is:    ");
  add(theirs, ours, "should:");
  return text.empty() ? "      in another order\n" : text;
}

// Until the operation has ended or waits.
bool Lasts(FaultMode mode) {
  return mode == FaultMode::kForAWhile || mode == FaultMode::kUntilRestart ||
         mode == FaultMode::kAtRestart || mode == FaultMode::kToolLocked;
}

bool Waits(const OperationRecord& operation) { return !operation.parked.ok(); }

}  // namespace

std::string CampaignCase::Name() const {
  std::string name = fmt::format("{}/{}/{}", call, strerrorname_np(error_number),
                                 kModeNames[static_cast<size_t>(mode)]);
  return again != 0 ? fmt::format("{}/{}", name, again) : name;
}

std::optional<CampaignCase> CampaignCase::FromName(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  if (parts.size() < 3) return std::nullopt;
  const auto mode = std::find(kModeNames.begin(), kModeNames.end(), parts[2]);
  if (mode == kModeNames.end()) return std::nullopt;
  CampaignCase result{.call = atoll(parts[0].c_str()),
                      .mode = static_cast<FaultMode>(mode - kModeNames.begin())};
  if (parts.size() > 3) result.again = atoll(parts[3].c_str());
  for (const int error : kFaultErrors) {
    if (parts[1] == strerrorname_np(error)) result.error_number = error;
  }
  return result;
}

Campaign::Campaign(const CampaignKind& kind) : kind_(kind), files_(FileSystem::Posix()) {
  MakeEngine();
  RunUnfaulted();
}

Campaign::~Campaign() { Clear(); }

void Campaign::MakeEngine() {
  engine_.reset();
  TestEngineSetup setup = QuietSetup(&files_);
  setup.engine.processes = &processes_;
  engine_ = std::make_unique<TestEngine>(std::move(setup));
  AwaitShares();
}

void Campaign::Inject(const CampaignCase& fault) {
  switch (fault.mode) {
    case FaultMode::kToolKilled:
      return processes_.Inject({fault.call, FaultyProcesses::Kind::kKilled});
    case FaultMode::kToolKilledLate:
      return processes_.Inject({fault.call, FaultyProcesses::Kind::kKilledLate});
    case FaultMode::kToolLocked:
      return processes_.Inject({fault.call, FaultyProcesses::Kind::kFindsALock});
    default:
      files_.Inject({.call = "*",
                     .nth = fault.call,
                     .error_number = fault.error_number,
                     .from_then_on = Lasts(fault.mode),
                     .again_after = fault.mode == FaultMode::kTwice ? fault.again : 0,
                     .carried_out = fault.mode == FaultMode::kAnswerLost});
  }
}

void Campaign::Clear() {
  files_.Clear();
  processes_.Clear();
}

void Campaign::RunUnfaulted() {
  Stage stage(engine_.get());
  const Request request = kind_.prepare(stage);
  const int64_t before = files_.calls("*");
  const int64_t runs_before = processes_.runs();
  Begun begun = Begin(request);
  const std::string end = AwaitEnd(begun);
  if (end != "SUCCEEDED") return Violation("without a fault: " + end + " " + last_error_);
  AwaitMerges();
  calls_ = files_.calls("*") - before;
  children_ = processes_.runs() - runs_before;
  expected_ = stage.Look();
  UseOn(stage);
  ExpectNothingLeft(stage);
}

Campaign::Begun Campaign::Begin(const Request& request) {
  Begun begun;
  last_error_.clear();
  if (const auto* import = std::get_if<ImportVolumeRequest>(&request)) {
    begun.sender = std::make_unique<ImportSender>(**engine_, *import, ImportedContent());
    // Whether it was refused, or has an operation that is being undone, the sender is not told.
    bool told = false;
    while (begun.operation_id.empty() && !told) {
      told = begun.sender->told().has_value();
      auto newest = (*engine_)->records().ListOperations(
          {.filter = {}, .order_by = "create_time desc", .page_size = 1, .page_token = {}});
      if (newest.ok() && !newest->items.empty() &&
          newest->items[0]->volume_id == import->volume_id &&
          newest->items[0]->id != last_operation_) {
        begun.operation_id = newest->items[0]->id;
      }
    }
    last_operation_ = begun.operation_id;
    return begun;
  }
  auto operation = engine_->Submit(request);
  if (operation.ok()) {
    begun.operation_id = (*operation)->id;
  } else {
    last_error_ = Describe(operation.status());
  }
  return begun;
}

void Campaign::AwaitEndOrWait(const Begun& begun) {
  const absl::Time until = absl::Now() + kEndLimit;
  while (!begun.operation_id.empty() && absl::Now() < until) {
    auto operation = (*engine_)->GetOperation(begun.operation_id);
    if (!operation.ok() || Ended((*operation)->state) || Waits(**operation)) return;
    absl::SleepFor(kLook);
  }
}

std::string Campaign::AwaitEnd(Begun& begun) {
  const absl::Time until = absl::Now() + kEndLimit;
  if (begun.sender != nullptr) {
    while (!begun.sender->told().has_value()) {
      if (absl::Now() > until) {
        last_error_ = "the sender is not answered";
        return "";
      }
      if (!SharesAreUsable()) Probe();
      absl::SleepFor(kLook);
    }
    if (absl::Status told = *begun.sender->told(); !told.ok()) last_error_ = Describe(told);
    begun.sender.reset();
  }
  if (begun.operation_id.empty()) return "refused";
  std::string step;
  while (absl::Now() < until) {
    auto operation = (*engine_)->GetOperation(begun.operation_id);
    if (!operation.ok()) return Describe(operation.status());
    if (Ended((*operation)->state)) {
      if (!(*operation)->error.ok()) last_error_ = Describe((*operation)->error);
      return std::string(OperationStateName((*operation)->state));
    }
    step = (*operation)->step;
    if (!SharesAreUsable()) Probe();
    absl::SleepFor(kLook);
  }
  last_error_ = step;
  return "";
}

bool Campaign::IsTidy() {
  auto volumes = (*engine_)->records().ListVolumes(
      {.filter = {}, .order_by = {}, .page_size = 1000, .page_token = {}});
  return volumes.ok() &&
         std::all_of(volumes->items.begin(), volumes->items.end(), [](const VolumePtr& volume) {
           return volume->surplus_layers.empty() || !volume->attachments.empty();
         });
}

// What the operation has left behind is merged, by an operation of its own that comes again until it is.
void Campaign::AwaitMerges() {
  const absl::Time until = absl::Now() + kEndLimit;
  while (!IsTidy() && absl::Now() < until) absl::SleepFor(kLook);
  if (!IsTidy()) Violation("layers that no snapshot needs stay");
}

// Until one of those has met the fault, or there is none.
void Campaign::AwaitMergesOrWait() {
  const absl::Time until = absl::Now() + kEndLimit;
  while (!IsTidy() && absl::Now() < until) {
    auto merges = (*engine_)->records().ListOperations({.filter = "kind=MERGE_LAYERS",
                                                        .order_by = "create_time desc",
                                                        .page_size = 1,
                                                        .page_token = {}});
    if (merges.ok() && !merges->items.empty() && merges->items[0]->id != last_merge_) {
      auto merge = (*engine_)->GetOperation(merges->items[0]->id);
      if (merge.ok() && (Ended((*merge)->state) || Waits(**merge))) {
        last_merge_ = (*merge)->id;
        return;
      }
    } else if (!SharesAreUsable()) {
      return;  // it comes when they are
    }
    absl::SleepFor(kLook);
  }
}

bool Campaign::SharesAreUsable() {
  auto pool = (*engine_)->GetPool("");
  return pool.ok() && std::all_of(pool->shares.begin(), pool->shares.end(), [](const auto& each) {
           return each.share.status.state == ShareState::kOnline;
         });
}

// Looks at them, as is done every few seconds otherwise, and sweeps them.
void Campaign::Probe() {
  EXPECT_OK(Await<absl::Status>([&](auto done) { (*engine_)->RescanPool("", done); }));
}

// A share on which a look at its root failed is back after a probe.
void Campaign::AwaitShares() {
  const absl::Time until = absl::Now() + kEndLimit;
  while (absl::Now() < until) {
    Probe();
    if (SharesAreUsable()) return;
    absl::SleepFor(kLook);
  }
  Violation("the shares do not come back");
}

void Campaign::Run(const CampaignCase& fault) {
  fault_ = fault;
  violated_ = false;
  Stage stage(engine_.get());
  const Request request = kind_.prepare(stage);
  const std::string before = stage.Look();
  const bool lasts = Lasts(fault.mode);
  const bool restarts =
      fault.mode == FaultMode::kUntilRestart || fault.mode == FaultMode::kAtRestart;
  Inject(fault);
  Begun begun = Begin(request);
  AwaitEndOrWait(begun);
  AwaitMergesOrWait();
  if (auto operation = (*engine_)->GetOperation(begun.operation_id);
      operation.ok() && !Ended((*operation)->state)) {
    ++ends_["waited"];
  }
  if (restarts) {
    begun.sender.reset();
    engine_->Stop();
  }
  if (lasts) Clear();
  if (restarts && fault.mode == FaultMode::kAtRestart) {
    // The first call makes the directory of the catalog, without which there is no start.
    files_.Inject({.call = "*", .nth = fault.again + 1, .error_number = fault.error_number});
  }
  if (restarts) engine_->Start();
  if (lasts) AwaitShares();
  std::string end = AwaitEnd(begun);
  Clear();
  AwaitShares();
  AwaitMerges();
  ++ends_[end];
  if (end == "SUCCEEDED") {
    Compare(stage.Look(), expected_, "SUCCEEDED, but not as without a fault");
  } else if (end == "FAILED" || end == "CANCELLED" || end == "refused") {
    const std::string why = last_error_;
    Compare(stage.Look(), before, fmt::format("{} ({}), but something changed", end, why));
    if (!violated_) {
      begun = Begin(request);
      end = AwaitEnd(begun);
      if (end == "refused" && !SharesAreUsable()) {
        AwaitShares();
        begun = Begin(request);
        end = AwaitEnd(begun);
      }
      AwaitMerges();
      if (end == "SUCCEEDED") {
        Compare(stage.Look(), expected_, "again after FAILED, but not as without a fault");
      } else {
        Violation(fmt::format("{} ({}), and again: {} {}", "FAILED", why, end, last_error_));
      }
    }
  } else {
    Violation(fmt::format("did not end: {}", last_error_));
  }
  if (!violated_) CheckImages();
  if (!violated_) UseOn(stage);
  if (!violated_) ExpectNothingLeft(stage);
  begun.sender.reset();
  if (violated_) MakeEngine();
}

void Campaign::Compare(const std::string& found, const std::string& expected,
                       const std::string& what) {
  if (found != expected) Violation(what + "\n" + Difference(found, expected));
}

// Every so often, as it takes a child for each file. A cluster that nothing uses harms nothing.
void Campaign::CheckImages() {
  constexpr int kPeriod = 40;
  constexpr int kLeaks = 3;
  if (++checks_ % kPeriod != 0) return;
  auto volumes = (*engine_)->records().ListVolumes(
      {.filter = {}, .order_by = {}, .page_size = 1000, .page_token = {}});
  ASSERT_OK(volumes);
  for (const VolumePtr& volume : volumes->items) {
    for (const std::string& file : volume->chain) {
      if (file == volume->chain.front() && volume->base_format == FileFormat::kRaw) continue;
      ProcessSpec spec;
      spec.argv = {"qemu-img", "check", "-f", "qcow2",
                   engine_->DirectoryOf(volume->share) + "/" + file};
      auto result = ProcessRunner::Posix()->Run(spec);
      ASSERT_OK(result);
      if (result->exit_code == 0 || result->exit_code == kLeaks) continue;
      Violation(fmt::format("{}: {}{}", file, result->stdout_text, result->stderr_text));
    }
  }
}

// The volumes are snapshot, lose their oldest snapshot, and go.
void Campaign::UseOn(Stage& stage) {
  auto volumes = (*engine_)->records().ListVolumes(
      {.filter = {}, .order_by = {}, .page_size = 1000, .page_token = {}});
  ASSERT_OK(volumes);
  const auto use = [&](const std::string& what, const Request& request) {
    if (violated_) return;
    absl::Status done = engine_->Do(request);
    if (HasReason(done, Reason::kShareUnavailable)) {
      // A look at the root after the end met the fault, just before it was lifted.
      AwaitShares();
      done = engine_->Do(request);
    }
    if (!done.ok()) Violation(fmt::format("afterwards {}: {}", what, Describe(done)));
  };
  const auto contents = [&] {
    std::set<std::string> lines;
    for (absl::string_view line : absl::StrSplit(stage.Look(), '\n')) {
      if (absl::StrContains(line, "content of V") || absl::StrContains(line, "content of NEW:")) {
        lines.insert(std::string(line));
      }
    }
    return lines;
  };
  const std::set<std::string> before = contents();
  for (const VolumePtr& volume : volumes->items) {
    if (!volume->attachments.empty()) use("detach", Detach(volume->id));
    use("snapshot", NewSnapshot(volume->id));
    auto snapshots = (*engine_)->records().SnapshotsOf(volume->id);
    if (snapshots.empty()) continue;
    use("delete the oldest snapshot", DeleteSnapshotRequest{.snapshot_id = snapshots.front()->id});
  }
  if (!violated_ && contents() != before) {
    Violation("a snapshot and its deletion afterwards changed the content");
  }
  for (const VolumePtr& volume : volumes->items) {
    use("delete", DeleteVolumeRequest{.volume_id = volume->id, .cascade = true});
  }
}

void Campaign::ExpectNothingLeft(Stage& stage) {
  if (auto left = stage.Files(/*temporary=*/false); !left.empty()) {
    return Violation(fmt::format("left behind at the end: {}", fmt::join(left, ", ")));
  }
  if (!stage.Files(/*temporary=*/true).empty()) AwaitShares();
  if (auto left = stage.Files(/*temporary=*/true); !left.empty()) {
    return Violation(fmt::format("temporary files are not swept: {}", fmt::join(left, ", ")));
  }
  // It is given back just after the end.
  const absl::Time until = absl::Now() + kEndLimit;
  while (ReservedBytes(*engine_) != 0 && absl::Now() < until) absl::SleepFor(kLook);
  if (int64_t held = ReservedBytes(*engine_); held != 0) {
    Violation(fmt::format("{} bytes stay reserved", held));
  }
}

void Campaign::Violation(std::string what) {
  violated_ = true;
  const bool of_tool = fault_.mode >= FaultMode::kToolKilled;
  std::string at = of_tool ? processes_.fired_at() : files_.fired_at();
  if (const size_t id = at.find("volume-"); id != std::string::npos) {
    at = at.substr(0, at.find(' ') + 1) + at.substr(at.rfind('/') + 1);
  }
  violations_.push_back(
      fmt::format("{}/{} at {}: {}", kind_.name, fault_.Name(), at, std::move(what)));
}

}  // namespace cairn::testing
