// How operations behave: said once, done once; checked without being done; cancelled; waited for;
// watched.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "lib/base/id.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"
#include "tests/unit/engine/sessions_of_tests.h"
#include "tests/unit/engine/watched_system.h"

namespace cairn {
namespace {

using testing::Await;
using testing::FromVolume;
using testing::HasReasonOf;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::Observe;
using testing::OnlyValidated;
using testing::QemuWrite;
using testing::StatusIs;
using testing::TestEngine;

Caller As(const std::string& request_id) {
  Caller caller;
  caller.request_id = request_id;
  return caller;
}

// Stands before every "qemu-img convert" while it is closed, so that a copy is at work as long as a
// test wants.
class Gate {
 public:
  void Close() { Set(true); }
  void Open() { Set(false); }
  absl::Status Pass(const ProcessSpec& spec) {
    if (spec.argv.size() < 2 || spec.argv[1] != "convert") return absl::OkStatus();
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    while (closed_ && !spec.cancel.cancelled()) {
      changed_.wait_for(lock, std::chrono::milliseconds(5));
    }
    return spec.cancel.Check();
  }
  // Until somebody stands at the gate.
  void AwaitArrival() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30), [&] { return arrived_ > 0; }));
  }

 private:
  void Set(bool closed) {
    std::lock_guard lock(mutex_);
    closed_ = closed;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  int arrived_ = 0;
};

class OperationsTest : public ::testing::Test {
 protected:
  OperationsTest() : engine_(SetupOf(processes_)) {}
  ~OperationsTest() override {
    gate_.Open();
    engine_.Stop();
  }
  static TestEngine::Setup SetupOf(ProcessRunner& processes) {
    TestEngine::Setup setup;
    setup.engine.processes = &processes;
    return setup;
  }
  absl::StatusOr<OperationPtr> Cancel(const std::string& id) {
    return Await<absl::StatusOr<OperationPtr>>([&](auto done) { engine_->Cancel(id, done); });
  }
  // A qcow2 volume, and a copy of it, in another format, that stands at the closed gate.
  OperationPtr StartCopy() {
    auto source = engine_.Create(VolumeFormat::kQcow2, kMiB);
    EXPECT_OK(source);
    source_ = *source;
    gate_.Close();
    auto op = engine_.Submit(NewVolume(VolumeFormat::kRawSparse, 0, FromVolume(source_)));
    EXPECT_OK(op);
    gate_.AwaitArrival();
    return *op;
  }

  Gate gate_;
  testing::EventLog log_;
  testing::WatchedProcesses processes_{
      &log_, [this](const ProcessSpec& spec) { return gate_.Pass(spec); }};
  TestEngine engine_;
  std::string source_;
};

// ---- request ids

TEST_F(OperationsTest, TheSameRequestAgainIsTheSameOperation) {
  const CreateVolumeRequest request = NewVolume(VolumeFormat::kQcow2, kMiB);
  ASSERT_OK_AND_ASSIGN(OperationPtr first, engine_.Submit(request, As("r1")));
  ASSERT_OK_AND_ASSIGN(OperationPtr again, engine_.Submit(request, As("r1")));
  EXPECT_EQ(again->id, first->id);
  ASSERT_OK(engine_.Wait(first->id));
  ASSERT_OK_AND_ASSIGN(again, engine_.Submit(request, As("r1")));
  EXPECT_EQ(again->id, first->id);
  EXPECT_EQ(again->state, OperationState::kSucceeded);
  engine_.Restart();
  ASSERT_OK_AND_ASSIGN(again, engine_.Submit(request, As("r1")));
  EXPECT_EQ(again->id, first->id);
  // Without a request id, or with another one, it is another volume.
  ASSERT_OK_AND_ASSIGN(OperationPtr other, engine_.Submit(request, As("r2")));
  EXPECT_NE(other->volume_id, first->volume_id);
  CreateVolumeRequest changed = request;
  changed.size_bytes *= 2;
  EXPECT_THAT(engine_.Submit(changed, As("r1")), HasReasonOf(Reason::kRequestIdReused));
  EXPECT_THAT(engine_.Submit(NewSnapshot(first->volume_id), As("r1")),
              HasReasonOf(Reason::kRequestIdReused));
  EXPECT_THAT(engine_.Submit(request, As(std::string(129, 'r'))),
              HasReasonOf(Reason::kInvalidField));
}

TEST_F(OperationsTest, ARefusedRequestDoesNotUseItsIdUp) {
  EXPECT_THAT(engine_.Submit(NewVolume(VolumeFormat::kQcow2, 1), As("r")),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_OK(engine_.Submit(NewVolume(VolumeFormat::kQcow2, kMiB), As("r")));
}

TEST_F(OperationsTest, TheSameRequestFromManyAtOnceIsDoneOnce) {
  constexpr int kThreads = 16;
  std::vector<std::string> ids(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        auto op = engine_.Submit(NewVolume(VolumeFormat::kQcow2, kMiB), As("r"));
        EXPECT_OK(op);
        if (op.ok()) ids[static_cast<size_t>(i)] = (*op)->id;
      });
    }
  }
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 1u);
  ASSERT_OK(engine_.Wait(ids[0]));
  ASSERT_OK_AND_ASSIGN(auto volumes, engine_->records().ListVolumes({}));
  EXPECT_EQ(volumes.items.size(), 1u);
}

// None expects a revision, so none is refused because of another.
TEST_F(OperationsTest, ManyUpdatesOfOneRecordAtOnce) {
  ASSERT_OK_AND_ASSIGN(const std::string volume, engine_.Create(VolumeFormat::kQcow2, kMiB));
  constexpr int kUpdates = 200;
  std::vector<std::promise<absl::Status>> answers(kUpdates);
  for (int i = 0; i < kUpdates; ++i) {
    UpdateVolumeRequest update;
    update.volume_id = volume;
    update.name = "name-" + std::to_string(i);
    engine_->Submit(update, {}, [&answers, i](absl::StatusOr<OperationPtr> op) {
      answers[static_cast<size_t>(i)].set_value(op.status());
    });
  }
  for (auto& answer : answers) EXPECT_OK(answer.get_future().get());
}

TEST_F(OperationsTest, WhatIsOnlyValidatedIsNotDone) {
  const std::string before = Observe(engine_);
  const int64_t revision = engine_->records().revision();
  ASSERT_OK_AND_ASSIGN(OperationPtr none, engine_.Submit(NewVolume(VolumeFormat::kRawThick, kMiB),
                                                         OnlyValidated("r")));
  EXPECT_EQ(none, nullptr);
  EXPECT_THAT(engine_.Submit(NewVolume(VolumeFormat::kRawThick, 1), OnlyValidated("")),
              HasReasonOf(Reason::kInvalidField));
  EXPECT_EQ(engine_->records().revision(), revision);
  EXPECT_EQ(Observe(engine_), before);
  EXPECT_EQ(testing::ReservedBytes(engine_), 0);
  // Its id is free.
  EXPECT_OK(engine_.Submit(NewVolume(VolumeFormat::kQcow2, kMiB), As("r")));
}

// ---- cancelling

TEST_F(OperationsTest, ARunningCopyIsCancelledAndLeavesNothing) {
  OperationPtr copy = StartCopy();
  ASSERT_OK_AND_ASSIGN(OperationPtr seen, engine_->GetOperation(copy->id));
  EXPECT_EQ(seen->state, OperationState::kRunning);
  EXPECT_TRUE(seen->cancellable);
  ASSERT_OK(Cancel(copy->id));
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(copy->id));
  EXPECT_EQ(ended->state, OperationState::kCancelled);
  EXPECT_THAT(ended->error, HasReasonOf(Reason::kCancelled));
  EXPECT_EQ(engine_.Volume(copy->volume_id), nullptr);
  EXPECT_EQ(engine_.Volume(source_)->state, VolumeState::kAvailable);
  EXPECT_EQ(testing::ReservedBytes(engine_), 0);
  ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = source_}));
  EXPECT_EQ(Observe(engine_), "");
  // An ended operation is what it is.
  ASSERT_OK_AND_ASSIGN(ended, Cancel(copy->id));
  EXPECT_EQ(ended->state, OperationState::kCancelled);
  EXPECT_THAT(Cancel(NewId()), HasReasonOf(Reason::kOperationNotFound));
}

TEST_F(OperationsTest, AQueuedOperationIsCancelledBeforeItsTurn) {
  OperationPtr copy = StartCopy();
  // It waits for the source that the copy reads.
  ASSERT_OK_AND_ASSIGN(OperationPtr waiting, engine_.Submit(NewSnapshot(source_)));
  ASSERT_OK_AND_ASSIGN(OperationPtr behind, engine_.Submit(NewSnapshot(source_)));
  EXPECT_EQ(waiting->state, OperationState::kQueued);
  ASSERT_OK(Cancel(waiting->id));
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(waiting->id));
  EXPECT_EQ(ended->state, OperationState::kCancelled);
  EXPECT_EQ(engine_.FindSnapshot(waiting->target), nullptr);
  gate_.Open();
  ASSERT_OK_AND_ASSIGN(ended, engine_.Wait(copy->id));
  EXPECT_OK(ended->error);
  ASSERT_OK_AND_ASSIGN(ended, engine_.Wait(behind->id));
  EXPECT_OK(ended->error);
  EXPECT_EQ(engine_.Volume(source_)->chain.size(), 2u);
}

// A revision is given out for each record of each commit.
TEST_F(OperationsTest, WhatNothingIsAheadOfIsJournalledNoMoreOftenThanNeeded) {
  const auto revisions = [&](Request request) {
    const int64_t before = engine_->records().revision();
    EXPECT_OK(engine_.Do(std::move(request)));
    return engine_->records().revision() - before;
  };
  // With its plan and at its end: the operation and the volume, each time.
  CreateVolumeRequest create = NewVolume(VolumeFormat::kQcow2, kMiB);
  create.volume_id = NewId();
  EXPECT_EQ(revisions(create), 4);
  EXPECT_EQ(revisions(NewSnapshot(create.volume_id)), 6);
  // It has no steps: it is journalled as ended.
  AttachVolumeRequest attach;
  attach.volume_id = create.volume_id;
  attach.instance_id = "instance";
  EXPECT_EQ(revisions(attach), 2);
}

TEST_F(OperationsTest, ADeletionThatWaitsIsTheLastThingInTheQueue) {
  StartCopy();
  ASSERT_OK_AND_ASSIGN(OperationPtr deletion,
                       engine_.Submit(DeleteVolumeRequest{.volume_id = source_}));
  EXPECT_THAT(engine_.Submit(NewSnapshot(source_)), HasReasonOf(Reason::kVolumeState));
  gate_.Open();
  ASSERT_OK_AND_ASSIGN(deletion, engine_.Wait(deletion->id));
  EXPECT_OK(deletion->error);
}

TEST_F(OperationsTest, AQueueThatIsFullTakesNoMore) {
  OperationPtr copy = StartCopy();
  std::vector<std::string> queued;
  absl::Status refused;
  for (int i = 0; i < 100 && refused.ok(); ++i) {
    auto op = engine_.Submit(NewSnapshot(source_));
    refused = op.status();
    if (op.ok()) queued.push_back((*op)->id);
  }
  EXPECT_THAT(refused, HasReasonOf(Reason::kQueueFull));
  EXPECT_EQ(queued.size(), 64u);
  for (const std::string& id : queued) EXPECT_OK(Cancel(id));
  for (const std::string& id : queued) EXPECT_OK(engine_.Wait(id));
  gate_.Open();
  EXPECT_OK(engine_.Wait(copy->id));
  EXPECT_TRUE(engine_->records().SnapshotsOf(source_).empty());
}

TEST_F(OperationsTest, AnExportThatNobodyWaitsForLeavesTheQueueAtOnce) {
  OperationPtr copy = StartCopy();
  ASSERT_OK_AND_ASSIGN(OperationPtr waiting, engine_.Submit(NewSnapshot(source_)));
  auto told = std::make_shared<std::atomic<int>>(0);
  for (int i = 0; i < 200; ++i) {
    CancelSource caller;
    ExportRequest request;
    request.volume_id = source_;
    request.cancel = caller.token();
    // Would be told at once if the queue was full.
    engine_->StartExport(std::move(request), [told](auto) { ++*told; });
    caller.Cancel();
  }
  EXPECT_EQ(*told, 0);
  ASSERT_OK_AND_ASSIGN(OperationPtr last, engine_.Submit(NewSnapshot(source_)));
  gate_.Open();
  for (const std::string& id : {copy->id, waiting->id, last->id}) {
    ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(id));
    EXPECT_OK(ended->error);
  }
}

// ---- waiting and watching

TEST_F(OperationsTest, WaitingEndsAtItsTimeWithTheOperationAsItIs) {
  OperationPtr copy = StartCopy();
  ASSERT_OK_AND_ASSIGN(OperationPtr seen, engine_.Wait(copy->id, absl::Milliseconds(20)));
  EXPECT_EQ(seen->state, OperationState::kRunning);
  ASSERT_OK_AND_ASSIGN(seen, engine_.Wait(copy->id, absl::Seconds(-1)));
  EXPECT_EQ(seen->state, OperationState::kRunning);
  gate_.Open();
  ASSERT_OK_AND_ASSIGN(seen, engine_.Wait(copy->id));
  EXPECT_EQ(seen->state, OperationState::kSucceeded);
  ASSERT_OK_AND_ASSIGN(seen, engine_.Wait(copy->id, absl::ZeroDuration()));
  EXPECT_EQ(seen->state, OperationState::kSucceeded);
  EXPECT_THAT(engine_.Wait(NewId()), HasReasonOf(Reason::kOperationNotFound));
}

TEST_F(OperationsTest, AWatcherSeesTheStatesInOrderAndTheEndLast) {
  OperationPtr copy = StartCopy();
  std::promise<void> ended;
  std::vector<OperationState> states;
  engine_->Watch(copy->id, [&](absl::StatusOr<OperationPtr> op) {
    ASSERT_OK(op);
    states.push_back((*op)->state);
    if (Ended((*op)->state)) ended.set_value();
  });
  gate_.Open();
  ASSERT_EQ(ended.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  ASSERT_GE(states.size(), 2u);
  EXPECT_EQ(states.front(), OperationState::kRunning);
  EXPECT_EQ(states.back(), OperationState::kSucceeded);
  EXPECT_TRUE(std::is_sorted(states.begin(), states.end()));
}

TEST_F(OperationsTest, WhoStopsWaitingIsNotCalled) {
  OperationPtr copy = StartCopy();
  std::atomic<int> calls = 0;
  auto waiting = engine_->Wait(copy->id, MonotonicTime::InfiniteFuture(), [&](auto) { ++calls; });
  engine_->StopWaiting(waiting);
  gate_.Open();
  ASSERT_OK(engine_.Wait(copy->id));
  EXPECT_EQ(calls, 0);
}

// Whoever sees an operation ended sees what it did.
TEST_F(OperationsTest, AnEndIsSeenWithItsOutcome) {
  ASSERT_OK_AND_ASSIGN(std::string volume, engine_.Create(VolumeFormat::kRawSparse, kMiB));
  for (int i = 0; i < 30; ++i) {
    ASSERT_OK_AND_ASSIGN(OperationPtr op, engine_.Submit(NewSnapshot(volume)));
    OperationPtr seen = op;
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (!Ended(seen->state) && absl::Now() < until) seen = *engine_->GetOperation(op->id);
    ASSERT_EQ(seen->state, OperationState::kSucceeded);
    ASSERT_EQ(engine_.FindSnapshot(op->target)->state, SnapshotState::kAvailable);
    ASSERT_EQ(engine_.Volume(volume)->active_file, engine_.FindSnapshot(op->target)->layer);
  }
}

}  // namespace
}  // namespace cairn
