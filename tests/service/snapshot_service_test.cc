// SnapshotService, PoolService and OperationService over a real socket, with the real engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/id.h"
#include "tests/service/test_server.h"
#include "tests/service/wire_error.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SnapshotServiceTest : public ServiceTest {};
class PoolServiceTest : public ServiceTest {};
class OperationServiceTest : public ServiceTest {};

TEST_F(SnapshotServiceTest, TheLifeOfASnapshot) {
  v1::Volume volume = CreateVolume();
  v1::CreateSnapshotRequest create;
  create.set_volume_id(volume.id());
  create.set_snapshot_id(NewId());
  create.set_name("before");
  (*create.mutable_labels())["k"] = "v";
  v1::CreateSnapshotResponse created;
  grpc::Status status = CALL(snapshots_, CreateSnapshot, create, &created);
  v1::Operation operation = Succeeded(status, created.operation());
  EXPECT_EQ(operation.target(), create.snapshot_id());
  EXPECT_EQ(operation.volume_id(), volume.id());
  const v1::Snapshot& snapshot = operation.snapshot();
  EXPECT_EQ(snapshot.id(), create.snapshot_id());
  EXPECT_EQ(snapshot.volume_id(), volume.id());
  EXPECT_EQ(snapshot.name(), "before");
  EXPECT_EQ(snapshot.labels().at("k"), "v");
  EXPECT_EQ(snapshot.state(), v1::SNAPSHOT_STATE_AVAILABLE);
  EXPECT_EQ(snapshot.size_bytes(), kMiBytes);
  EXPECT_EQ(snapshot.file(), "volume-" + volume.id());
  EXPECT_EQ(snapshot.created_while(), v1::SNAPSHOT_CONDITION_OFFLINE);

  v1::GetSnapshotRequest get;
  get.set_snapshot_id(snapshot.id());
  v1::GetSnapshotResponse got;
  ASSERT_THAT(CALL(snapshots_, GetSnapshot, get, &got), Succeeds());
  EXPECT_EQ(got.snapshot().SerializeAsString().size(), snapshot.SerializeAsString().size());

  v1::UpdateSnapshotRequest update;
  update.set_snapshot_id(snapshot.id());
  update.set_name("renamed");
  update.mutable_update_mask()->add_paths("name");
  v1::UpdateSnapshotResponse updated;
  status = CALL(snapshots_, UpdateSnapshot, update, &updated);
  EXPECT_EQ(Succeeded(status, updated.operation()).snapshot().name(), "renamed");

  v1::DeleteSnapshotRequest remove;
  remove.set_snapshot_id(snapshot.id());
  v1::DeleteSnapshotResponse removed;
  status = CALL(snapshots_, DeleteSnapshot, remove, &removed);
  Succeeded(status, removed.operation());
  EXPECT_THAT(CALL(snapshots_, GetSnapshot, get, &got), FailsWith("SNAPSHOT_NOT_FOUND"));
}

TEST_F(SnapshotServiceTest, ListsThoseOfAVolume) {
  v1::Volume volume = CreateVolume();
  v1::Volume other = CreateVolume();
  std::string first = CreateSnapshot(volume.id()).id();
  std::string second = CreateSnapshot(volume.id()).id();
  CreateSnapshot(other.id());
  v1::ListSnapshotsRequest request;
  request.set_volume_id(volume.id());
  v1::ListSnapshotsResponse response;
  ASSERT_THAT(CALL(snapshots_, ListSnapshots, request, &response), Succeeds());
  ASSERT_THAT(response.snapshots(), SizeIs(2));
  EXPECT_EQ(response.snapshots(0).id(), first);
  EXPECT_EQ(response.snapshots(1).id(), second);
  request.set_volume_id(NewId());
  ASSERT_THAT(CALL(snapshots_, ListSnapshots, request, &response), Succeeds());
  EXPECT_THAT(response.snapshots(), IsEmpty());
  request.clear_volume_id();
  ASSERT_THAT(CALL(snapshots_, ListSnapshots, request, &response), Succeeds());
  EXPECT_THAT(response.snapshots(), SizeIs(3));
}

TEST_F(SnapshotServiceTest, RevertGoesBackAndDiscardsOnlyWhenTold) {
  v1::Volume volume = CreateVolume();
  std::string first = CreateSnapshot(volume.id()).id();
  std::string second = CreateSnapshot(volume.id()).id();
  v1::RevertToSnapshotRequest request;
  request.set_snapshot_id(first);
  v1::RevertToSnapshotResponse response;
  grpc::Status status = CALL(snapshots_, RevertToSnapshot, request, &response);
  EXPECT_THAT(status, FailsWith("SNAPSHOT_NOT_NEWEST"));
  EXPECT_THAT(WireError::Of(status).metadata["newer"], ::testing::HasSubstr(second));
  request.set_discard_newer(true);
  status = CALL(snapshots_, RevertToSnapshot, request, &response);
  EXPECT_EQ(Succeeded(status, response.operation()).volume().id(), volume.id());
}

TEST_F(PoolServiceTest, GivesFiguresAndShares) {
  CreateVolume(8 * kMiBytes);
  v1::GetPoolResponse response;
  ASSERT_THAT(CALL(pools_, GetPool, v1::GetPoolRequest(), &response), Succeeds());
  const v1::Pool& pool = response.pool();
  EXPECT_EQ(pool.name(), "default");
  EXPECT_TRUE(pool.usable());
  EXPECT_GT(pool.capacity().total_bytes(), 0);
  EXPECT_GT(pool.capacity().available_bytes(), 0);
  EXPECT_EQ(pool.capacity().provisioned_bytes(), 8 * kMiBytes);
  EXPECT_EQ(pool.max_over_subscription_ratio(), 20.0);
  EXPECT_EQ(pool.placement_policy(), v1::PLACEMENT_POLICY_LEAST_ALLOCATED);
  EXPECT_EQ(pool.default_format(), v1::VOLUME_FORMAT_RAW_SPARSE);
  EXPECT_TRUE(pool.snapshots_enabled());
  ASSERT_THAT(pool.shares(), SizeIs(2));
  EXPECT_EQ(pool.shares(0).address(), "file://" + dir_.File("a"));
  EXPECT_EQ(pool.shares(0).state(), v1::SHARE_STATE_ONLINE);
  EXPECT_GT(pool.shares(0).since().seconds(), 1'600'000'000);
  EXPECT_EQ(pool.shares(0).volume_count() + pool.shares(1).volume_count(), 1);
  ASSERT_THAT(pool.volume_counts(), SizeIs(1));
  EXPECT_EQ(pool.volume_counts(0).state(), v1::VOLUME_STATE_AVAILABLE);
  EXPECT_EQ(pool.volume_counts(0).count(), 1);
}

TEST_F(PoolServiceTest, AcceptsAShareAsItIs) {
  v1::AcceptShareRequest request;
  v1::AcceptShareResponse response;
  EXPECT_THAT(CALL(pools_, AcceptShare, request, &response), FailsWith("INVALID_FIELD"));
  request.set_share("file:///nowhere");
  EXPECT_THAT(CALL(pools_, AcceptShare, request, &response), FailsWith("SHARE_NOT_FOUND"));
  request.set_share("file://" + dir_.File("a"));
  // What lies there is another directory, which only this makes the share.
  std::filesystem::rename(dir_.File("a"), dir_.File("away"));
  std::filesystem::create_directory(dir_.File("a"));
  v1::CreateVolumeRequest create;
  create.set_size_bytes(kMiBytes);
  create.set_share(request.share());
  v1::CreateVolumeResponse created;
  EXPECT_THAT(CALL(volumes_, CreateVolume, create, &created), FailsWith("SHARE_UNAVAILABLE"));
  EXPECT_TRUE(std::filesystem::is_empty(dir_.File("a")));
  ASSERT_THAT(CALL(pools_, AcceptShare, request, &response), Succeeds());
  const v1::Share& share = response.pool().shares(0);
  EXPECT_EQ(share.state(), v1::SHARE_STATE_ONLINE);
  EXPECT_NE(share.identity(), "");
  EXPECT_THAT(share.same_file_system(),
              ::testing::ElementsAre(response.pool().shares(1).address()));
  EXPECT_THAT(CALL(volumes_, CreateVolume, create, &created), Succeeds());
}

TEST_F(PoolServiceTest, ListsAndRescans) {
  v1::ListPoolsResponse list;
  ASSERT_THAT(CALL(pools_, ListPools, v1::ListPoolsRequest(), &list), Succeeds());
  ASSERT_THAT(list.pools(), SizeIs(1));
  EXPECT_EQ(list.next_page_token(), "");
  WriteFile(dir_.File("shares"), "file://" + dir_.File("a") + "\n");
  v1::RescanPoolResponse response;
  ASSERT_THAT(CALL(pools_, RescanPool, v1::RescanPoolRequest(), &response), Succeeds());
  int draining = 0;
  for (const v1::Share& share : response.pool().shares()) {
    draining += share.state() == v1::SHARE_STATE_DRAINING;
  }
  EXPECT_EQ(draining, response.pool().shares_size() - 1);
  v1::RescanPoolRequest unknown;
  unknown.set_pool("nowhere");
  EXPECT_THAT(CALL(pools_, RescanPool, unknown, &response), FailsWith("POOL_NOT_FOUND"));
}

TEST_F(OperationServiceTest, GetListWaitWatch) {
  v1::CreateVolumeRequest create;
  create.set_size_bytes(kMiBytes);
  v1::CreateVolumeResponse created;
  ASSERT_THAT(CALL(volumes_, CreateVolume, create, &created), Succeeds());
  std::string id = created.operation().id();
  v1::GetOperationRequest get;
  get.set_operation_id(id);
  v1::GetOperationResponse got;
  ASSERT_THAT(CALL(operations_, GetOperation, get, &got), Succeeds());
  EXPECT_EQ(got.operation().volume().size_bytes(), kMiBytes);
  v1::ListOperationsRequest list;
  list.set_filter("kind = CREATE_VOLUME");
  v1::ListOperationsResponse listed;
  ASSERT_THAT(CALL(operations_, ListOperations, list, &listed), Succeeds());
  ASSERT_THAT(listed.operations(), SizeIs(1));
  EXPECT_EQ(listed.operations(0).id(), id);
  v1::WatchOperationRequest watch;
  watch.set_operation_id(id);
  grpc::ClientContext context;
  auto reader = operations_->WatchOperation(&context, watch);
  v1::WatchOperationResponse last;
  int messages = 0;
  while (reader->Read(&last)) ++messages;
  EXPECT_THAT(reader->Finish(), Succeeds());
  EXPECT_EQ(messages, 1);
  EXPECT_EQ(last.operation().state(), v1::OPERATION_STATE_SUCCEEDED);
}

TEST_F(OperationServiceTest, CancelOfAnEndedOperationGivesIt) {
  v1::CreateVolumeRequest create;
  create.set_size_bytes(kMiBytes);
  v1::CreateVolumeResponse created;
  ASSERT_THAT(CALL(volumes_, CreateVolume, create, &created), Succeeds());
  v1::CancelOperationRequest request;
  request.set_operation_id(created.operation().id());
  v1::CancelOperationResponse response;
  ASSERT_THAT(CALL(operations_, CancelOperation, request, &response), Succeeds());
  EXPECT_EQ(response.operation().state(), v1::OPERATION_STATE_SUCCEEDED);
}

TEST_F(OperationServiceTest, OnlyWhatIsParkedIsAbandoned) {
  v1::CreateVolumeRequest create;
  create.set_size_bytes(kMiBytes);
  v1::CreateVolumeResponse created;
  ASSERT_THAT(CALL(volumes_, CreateVolume, create, &created), Succeeds());
  v1::AbandonOperationRequest request;
  request.set_operation_id(created.operation().id());
  v1::AbandonOperationResponse response;
  EXPECT_THAT(CALL(operations_, AbandonOperation, request, &response), FailsOnField("reason"));
  request.set_reason("the disk is lost");
  EXPECT_THAT(CALL(operations_, AbandonOperation, request, &response),
              FailsWith("OPERATION_NOT_PARKED"));
  request.set_operation_id("7");
  EXPECT_THAT(CALL(operations_, AbandonOperation, request, &response),
              FailsOnField("operation_id"));
}

TEST_F(OperationServiceTest, UnknownOperationsAreNotFound) {
  std::string id = NewId();
  auto check = [](const grpc::Status& status) {
    EXPECT_THAT(status, FailsWith("OPERATION_NOT_FOUND"));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  };
  v1::GetOperationRequest get;
  get.set_operation_id(id);
  v1::GetOperationResponse got;
  check(CALL(operations_, GetOperation, get, &got));
  v1::WaitOperationRequest wait;
  wait.set_operation_id(id);
  v1::WaitOperationResponse waited;
  check(CALL(operations_, WaitOperation, wait, &waited));
  v1::CancelOperationRequest cancel;
  cancel.set_operation_id(id);
  v1::CancelOperationResponse cancelled;
  check(CALL(operations_, CancelOperation, cancel, &cancelled));
  v1::AbandonOperationRequest abandon;
  abandon.set_operation_id(id);
  abandon.set_reason("why");
  v1::AbandonOperationResponse abandoned;
  check(CALL(operations_, AbandonOperation, abandon, &abandoned));
  v1::ReportHypervisorStepRequest report;
  report.set_operation_id(id);
  report.set_step_number(1);
  report.mutable_done();
  v1::ReportHypervisorStepResponse reported;
  check(CALL(operations_, ReportHypervisorStep, report, &reported));
  v1::WatchOperationRequest watch;
  watch.set_operation_id(id);
  grpc::ClientContext context;
  auto reader = operations_->WatchOperation(&context, watch);
  v1::WatchOperationResponse message;
  EXPECT_FALSE(reader->Read(&message));
  check(reader->Finish());
}

TEST_F(OperationServiceTest, ReportsThatAreNotAskedForAreRefused) {
  v1::CreateVolumeRequest create;
  create.set_size_bytes(kMiBytes);
  v1::CreateVolumeResponse created;
  ASSERT_THAT(CALL(volumes_, CreateVolume, create, &created), Succeeds());
  v1::ReportHypervisorStepRequest report;
  report.set_operation_id(created.operation().id());
  v1::ReportHypervisorStepResponse response;
  EXPECT_THAT(CALL(operations_, ReportHypervisorStep, report, &response),
              FailsOnField("step_number"));
  report.set_step_number(1);
  EXPECT_THAT(CALL(operations_, ReportHypervisorStep, report, &response), FailsOnField("outcome"));
  report.mutable_done();
  EXPECT_THAT(CALL(operations_, ReportHypervisorStep, report, &response),
              FailsWith("OPERATION_NOT_WAITING"));
}

}  // namespace
}  // namespace cairn::testing
