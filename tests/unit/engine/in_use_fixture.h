// A volume that a machine, or an assisting consumer, has open.
#ifndef CAIRN_TESTS_UNIT_ENGINE_IN_USE_FIXTURE_H_
#define CAIRN_TESTS_UNIT_ENGINE_IN_USE_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lib/base/failpoint.h"
#include "lib/base/id.h"
#include "lib/chain/layer_plans.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/fake_machine.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn::testing {

class InUseTest : public ::testing::Test {
 protected:
  explicit InUseTest(ProcessRunner* processes = nullptr) : engine_(Setup(&machine_, processes)) {}

  static TestEngine::Setup Setup(FakeMachine* machine, ProcessRunner* processes) {
    TestEngine::Setup setup;
    setup.engine.processes = processes;
    setup.engine.connect_hypervisor = [machine](const HypervisorAddress&) {
      return machine->Connect();
    };
    return setup;
  }

  void Make(VolumeFormat format = VolumeFormat::kRawSparse) {
    ASSERT_OK_AND_ASSIGN(id_, engine_.Create(format, kMiB, engine_.address(0)));
  }
  // Attaches the volume to the machine, which opens what it was told.
  void Open(HypervisorAddress::Kind kind = HypervisorAddress::Kind::kQmp) {
    AttachVolumeRequest request = Attach(id_, "vm");
    request.hypervisor = {kind, "unix:/fake", "", "disk"};
    if (kind == HypervisorAddress::Kind::kAssisted) request.hypervisor = {kind, "", "", ""};
    ASSERT_OK(engine_.Do(request));
    VolumePtr volume = engine_.Volume(id_);
    std::vector<std::string> files(volume->chain.rbegin(), volume->chain.rend());
    machine_.Boot(engine_.DirectoryOf(volume->share), files, volume->size_bytes);
  }
  // As the guest does, through whatever is open.
  void Write(int64_t piece, uint8_t pattern) {
    const DiskState disk = machine_.disk();
    QemuWrite(disk.directory + "/" + disk.files[0],
              disk.files.size() > 1 || IsQcow2() ? FileFormat::kQcow2 : FileFormat::kRaw,
              piece * kPiece, kPiece, pattern);
  }
  bool IsQcow2() { return engine_.Volume(id_)->base_format == FileFormat::kQcow2; }
  // What nobody uses any more is tidied up by itself.
  void UntilTidy() {
    const absl::Time until = absl::Now() + absl::Seconds(60);
    while (absl::Now() < until) {
      const VolumePtr volume = engine_.Volume(id_);
      const bool merges = volume->attachments.empty() && !volume->surplus_layers.empty();
      if (!merges) return;
      absl::SleepFor(absl::Milliseconds(2));
    }
    ADD_FAILURE() << "volume " << id_ << " keeps layers that no snapshot needs";
  }
  // By the record, after the machine.
  bool Reads(int64_t piece, uint8_t pattern) {
    UntilTidy();
    const FileFormat format =
        engine_.Volume(id_)->chain.size() > 1 || IsQcow2() ? FileFormat::kQcow2 : FileFormat::kRaw;
    return QemuReads(engine_.ActivePath(id_), format, piece * kPiece, kPiece, pattern);
  }
  InfoMap Map() {
    VolumePtr volume = engine_.Volume(id_);
    auto map = ReadInfoMap(*FileSystem::Posix(), engine_.DirectoryOf(volume->share), id_);
    EXPECT_OK(map);
    return map.ok() && map->has_value() ? **map : InfoMap{};
  }
  // Record, map and headers say the same, and nothing else lies there.
  void ExpectSound() {
    UntilTidy();
    VolumePtr volume = engine_.Volume(id_);
    const std::string directory = engine_.DirectoryOf(volume->share);
    auto chain =
        ReadChain(*FileSystem::Posix(), directory, id_, volume->active_file, volume->base_format);
    ASSERT_OK(chain);
    EXPECT_EQ(FilesOf(*chain), volume->chain);
    EXPECT_EQ(volume->chain.back(), volume->active_file);
    auto files = ListChainFiles(*FileSystem::Posix(), directory, id_);
    ASSERT_OK(files);
    std::vector<std::string> recorded = volume->chain;
    std::sort(recorded.begin(), recorded.end());
    EXPECT_EQ(*files, recorded);
    if (volume->chain.size() > 1) {
      EXPECT_EQ(Map().active, volume->active_file);
    }
    for (const SnapshotPtr& snapshot : engine_->records().SnapshotsOf(id_)) {
      EXPECT_EQ(Map().layers[snapshot->id], snapshot->layer);
    }
    EXPECT_EQ(volume->current_operation, "");
  }
  // The operation as it is once `reached` holds.
  template <typename F>
  OperationPtr Until(const std::string& operation_id, F&& reached) {
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (absl::Now() < until) {
      auto operation = engine_->GetOperation(operation_id);
      if (operation.ok() && reached(**operation)) return *operation;
      absl::SleepFor(absl::Milliseconds(2));
    }
    ADD_FAILURE() << "operation " << operation_id << " does not get there";
    auto operation = engine_->GetOperation(operation_id);
    return operation.ok() ? *operation : std::make_shared<const OperationRecord>();
  }
  OperationPtr UntilItWaits(const std::string& operation_id) {
    return Until(operation_id, [](const OperationRecord& o) {
      return o.step.find("waiting to go on") != std::string::npos;
    });
  }
  OperationPtr UntilEnd(const std::string& operation_id) {
    return Until(operation_id, [](const OperationRecord& o) { return Ended(o.state); });
  }
  OperationPtr UntilConsumer(const std::string& operation_id, int64_t step = 1) {
    return Until(operation_id, [&](const OperationRecord& o) {
      return o.state == OperationState::kWaitingForConsumer && o.consumer_step == step;
    });
  }
  absl::StatusOr<OperationPtr> Report(const std::string& operation_id, ConsumerReport report) {
    std::promise<absl::StatusOr<OperationPtr>> promise;
    engine_->Report(operation_id, std::move(report),
                    [&](absl::StatusOr<OperationPtr> op) { promise.set_value(std::move(op)); });
    return promise.get_future().get();
  }
  std::string Begin(Request request) {
    auto op = engine_.Submit(std::move(request));
    EXPECT_OK(op);
    return op.ok() ? (*op)->id : "";
  }
  absl::Status ForceDetach() {
    DetachVolumeRequest request = Detach(id_);
    request.force = true;
    request.reason = "the machine is dead";
    return engine_.Do(request);
  }

  FakeMachine machine_;
  TestEngine engine_;
  std::string id_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_IN_USE_FIXTURE_H_
