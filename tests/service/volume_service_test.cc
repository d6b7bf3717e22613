// VolumeService over a real socket, with the real engine on a directory pool: what each method
// does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "lib/base/id.h"
#include "tests/service/test_server.h"
#include "tests/service/wire_error.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class VolumeServiceTest : public ServiceTest {};

TEST_F(VolumeServiceTest, CreateGivesTheVolumeInTheAnswer) {
  v1::CreateVolumeRequest request;
  request.set_volume_id("AAAAAAAA-0000-4000-8000-000000000001");
  request.set_name("web-1");
  request.set_size_bytes(4 * kMiBytes);
  request.set_format(v1::VOLUME_FORMAT_QCOW2);
  (*request.mutable_labels())["tier"] = "gold";
  request.set_request_id("once");
  v1::CreateVolumeResponse response;
  ASSERT_THAT(CALL(volumes_, CreateVolume, request, &response), Succeeds());
  const v1::Operation& operation = response.operation();
  EXPECT_EQ(operation.state(), v1::OPERATION_STATE_SUCCEEDED);
  EXPECT_EQ(operation.kind(), v1::OPERATION_KIND_CREATE_VOLUME);
  EXPECT_EQ(operation.request_id(), "once");
  EXPECT_THAT(operation.requested_by(), ::testing::HasSubstr("127.0.0.1"));
  EXPECT_TRUE(operation.has_start_time());
  EXPECT_TRUE(operation.has_end_time());
  EXPECT_FALSE(operation.has_error());
  const v1::Volume& volume = operation.volume();
  EXPECT_EQ(volume.id(), "aaaaaaaa-0000-4000-8000-000000000001");
  EXPECT_EQ(operation.volume_id(), volume.id());
  EXPECT_EQ(operation.target(), volume.id());
  EXPECT_EQ(volume.name(), "web-1");
  EXPECT_EQ(volume.pool(), "default");
  EXPECT_EQ(volume.size_bytes(), 4 * kMiBytes);
  EXPECT_EQ(volume.format(), v1::VOLUME_FORMAT_QCOW2);
  EXPECT_EQ(volume.state(), v1::VOLUME_STATE_AVAILABLE);
  EXPECT_EQ(volume.labels().at("tier"), "gold");
  EXPECT_EQ(volume.active_file(), "volume-" + volume.id());
  EXPECT_FALSE(volume.has_source());
  EXPECT_GT(volume.revision(), 0);
  EXPECT_GT(volume.create_time().seconds(), 1'600'000'000);
  EXPECT_TRUE(std::filesystem::exists(volume.share().substr(7) + "/" + volume.active_file()));

  // The same again is the same operation.
  v1::CreateVolumeResponse again;
  ASSERT_THAT(CALL(volumes_, CreateVolume, request, &again), Succeeds());
  EXPECT_EQ(again.operation().id(), operation.id());
}

TEST_F(VolumeServiceTest, CreateOfEachFormat) {
  for (v1::VolumeFormat format :
       {v1::VOLUME_FORMAT_QCOW2, v1::VOLUME_FORMAT_RAW_SPARSE, v1::VOLUME_FORMAT_RAW_THICK}) {
    v1::CreateVolumeRequest request;
    request.set_size_bytes(kMiBytes);
    request.set_format(format);
    EXPECT_EQ(CreateVolume(request).format(), format);
  }
}

TEST_F(VolumeServiceTest, WaitZeroAnswersAtOnceAndWaitOperationTellsTheEnd) {
  v1::CreateVolumeRequest request;
  request.set_size_bytes(kMiBytes);
  request.mutable_wait();
  v1::CreateVolumeResponse response;
  grpc::Status status = CALL(volumes_, CreateVolume, request, &response);
  EXPECT_EQ(Succeeded(status, response.operation()).volume().size_bytes(), kMiBytes);
}

TEST_F(VolumeServiceTest, ValidateOnlyDoesNothing) {
  v1::CreateVolumeRequest request;
  request.set_size_bytes(kMiBytes);
  request.set_validate_only(true);
  v1::CreateVolumeResponse response;
  ASSERT_THAT(CALL(volumes_, CreateVolume, request, &response), Succeeds());
  EXPECT_FALSE(response.has_operation());
  request.set_size_bytes(-512);
  EXPECT_THAT(CALL(volumes_, CreateVolume, request, &response), FailsOnField("size_bytes"));
  v1::ListVolumesResponse list;
  ASSERT_THAT(CALL(volumes_, ListVolumes, v1::ListVolumesRequest(), &list), Succeeds());
  EXPECT_THAT(list.volumes(), IsEmpty());
}

TEST_F(VolumeServiceTest, CreateFromASnapshotAVolumeAndAnImage) {
  v1::Volume source = CreateVolume(2 * kMiBytes);
  v1::Snapshot snapshot = CreateSnapshot(source.id());
  v1::CreateVolumeRequest request;
  request.set_source_snapshot_id(snapshot.id());
  v1::Volume volume = CreateVolume(request);
  EXPECT_EQ(volume.source().snapshot_id(), snapshot.id());
  EXPECT_EQ(volume.size_bytes(), 2 * kMiBytes);
  request.set_source_volume_id(source.id());
  EXPECT_EQ(CreateVolume(request).source().volume_id(), source.id());
  std::string image = dir_.File("images/disk.raw");
  WriteFile(image, std::string(kMiBytes, 'x'));
  request.mutable_source_image()->set_path(image);
  request.mutable_source_image()->set_format(v1::FILE_FORMAT_RAW);
  v1::Volume of_image = CreateVolume(request);
  EXPECT_EQ(of_image.source().image_path(), image);
  EXPECT_EQ(of_image.size_bytes(), kMiBytes);
}

TEST_F(VolumeServiceTest, GetShowsTheChainInTheFullView) {
  v1::Volume volume = CreateVolume();
  v1::Snapshot snapshot = CreateSnapshot(volume.id());
  EXPECT_THAT(GetVolume(volume.id()).chain(), IsEmpty());
  v1::Volume full = GetVolume(volume.id(), v1::VOLUME_VIEW_FULL);
  ASSERT_THAT(full.chain(), SizeIs(2));
  EXPECT_EQ(full.chain(0).file(), "volume-" + volume.id());
  EXPECT_EQ(full.chain(0).format(), v1::FILE_FORMAT_RAW);
  EXPECT_EQ(full.chain(0).snapshot_id(), snapshot.id());
  EXPECT_EQ(full.chain(0).virtual_size_bytes(), kMiBytes);
  EXPECT_EQ(full.chain(1).file(), "volume-" + volume.id() + "." + snapshot.id());
  EXPECT_EQ(full.chain(1).format(), v1::FILE_FORMAT_QCOW2);
  EXPECT_EQ(full.chain(1).snapshot_id(), "");
  EXPECT_EQ(full.active_file(), full.chain(1).file());
}

TEST_F(VolumeServiceTest, ListPagesFiltersAndOrders) {
  for (int i = 0; i < 5; ++i) CreateVolume((i + 1) * kMiBytes, "n" + std::to_string(i));
  v1::ListVolumesRequest request;
  request.set_order_by("size_bytes desc");
  request.set_page_size(2);
  std::vector<std::string> names;
  int pages = 0;
  do {
    v1::ListVolumesResponse response;
    ASSERT_THAT(CALL(volumes_, ListVolumes, request, &response), Succeeds());
    for (const v1::Volume& volume : response.volumes()) names.push_back(volume.name());
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_THAT(names, ElementsAre("n4", "n3", "n2", "n1", "n0"));
  EXPECT_EQ(pages, 3);
  v1::ListVolumesRequest filtered;
  filtered.set_filter("name = n2 AND state = AVAILABLE");
  v1::ListVolumesResponse response;
  ASSERT_THAT(CALL(volumes_, ListVolumes, filtered, &response), Succeeds());
  ASSERT_THAT(response.volumes(), SizeIs(1));
  EXPECT_EQ(response.volumes(0).name(), "n2");
}

TEST_F(VolumeServiceTest, APageOfLargeRecordsIsCutToWhatAClientTakes) {
  v1::CreateVolumeRequest request;
  request.set_size_bytes(kMiBytes);
  for (int i = 0; i < 64; ++i) {
    (*request.mutable_labels())[std::string(200, 'a') + ".example/k" + std::to_string(i)] =
        std::string(255, 'v');
  }
  constexpr int kVolumes = 120;  // 30 KiB each: 3.6 MiB
  for (int i = 0; i < kVolumes; ++i) CreateVolume(request);
  v1::ListVolumesRequest list;
  list.set_page_size(1000);
  std::set<std::string> ids;
  int pages = 0;
  do {
    v1::ListVolumesResponse response;
    ASSERT_THAT(CALL(volumes_, ListVolumes, list, &response), Succeeds());
    EXPECT_LT(response.ByteSizeLong(), 4u << 20);
    for (const v1::Volume& volume : response.volumes()) {
      EXPECT_TRUE(ids.insert(volume.id()).second);
    }
    list.set_page_token(response.next_page_token());
    ++pages;
  } while (!list.page_token().empty());
  EXPECT_EQ(ids.size(), size_t{kVolumes});
  EXPECT_EQ(pages, 2);
}

TEST_F(VolumeServiceTest, UpdateChangesWhatTheMaskNames) {
  v1::Volume volume = CreateVolume();
  v1::UpdateVolumeRequest request;
  request.set_volume_id(volume.id());
  request.set_name("new");
  (*request.mutable_labels())["k"] = "v";
  request.mutable_update_mask()->add_paths("labels");
  request.set_expected_revision(volume.revision());
  v1::UpdateVolumeResponse response;
  grpc::Status status = CALL(volumes_, UpdateVolume, request, &response);
  v1::Volume updated = Succeeded(status, response.operation()).volume();
  EXPECT_EQ(updated.name(), "v");
  EXPECT_EQ(updated.labels().at("k"), "v");
  EXPECT_GT(updated.revision(), volume.revision());
  // The revision has passed.
  EXPECT_THAT(CALL(volumes_, UpdateVolume, request, &response), FailsWith("REVISION_MISMATCH"));
  // A mask may name a field that the request leaves at its default.
  request.set_expected_revision(0);
  request.clear_name();
  request.mutable_update_mask()->set_paths(0, "name");
  status = CALL(volumes_, UpdateVolume, request, &response);
  EXPECT_EQ(Succeeded(status, response.operation()).volume().name(), "");
}

TEST_F(VolumeServiceTest, ExtendMigrateDelete) {
  v1::Volume volume = CreateVolume();
  v1::ExtendVolumeRequest extend;
  extend.set_volume_id(volume.id());
  extend.set_size_bytes(3 * kMiBytes);
  v1::ExtendVolumeResponse extended;
  grpc::Status status = CALL(volumes_, ExtendVolume, extend, &extended);
  EXPECT_EQ(Succeeded(status, extended.operation()).volume().size_bytes(), 3 * kMiBytes);

  v1::MigrateVolumeRequest migrate;
  migrate.set_volume_id(volume.id());
  v1::MigrateVolumeResponse migrated;
  status = CALL(volumes_, MigrateVolume, migrate, &migrated);
  EXPECT_NE(Succeeded(status, migrated.operation()).volume().share(), volume.share());

  v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.id());
  v1::DeleteVolumeResponse removed;
  status = CALL(volumes_, DeleteVolume, remove, &removed);
  v1::Operation operation = Succeeded(status, removed.operation());
  EXPECT_EQ(operation.result_case(), v1::Operation::RESULT_NOT_SET);
  EXPECT_THAT(CALL(volumes_, DeleteVolume, remove, &removed), FailsWith("VOLUME_NOT_FOUND"));
  remove.set_allow_missing(true);
  status = CALL(volumes_, DeleteVolume, remove, &removed);
  Succeeded(status, removed.operation());
}

TEST_F(VolumeServiceTest, DeleteSaysWhatIsInTheWay) {
  v1::Volume volume = CreateVolume();
  v1::Snapshot snapshot = CreateSnapshot(volume.id());
  v1::DeleteVolumeRequest request;
  request.set_volume_id(volume.id());
  v1::DeleteVolumeResponse response;
  grpc::Status status = CALL(volumes_, DeleteVolume, request, &response);
  EXPECT_THAT(status, FailsWith("VOLUME_HAS_SNAPSHOTS"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(WireError::Of(status).metadata["snapshots"], ::testing::HasSubstr(snapshot.id()));
  request.set_cascade(true);
  status = CALL(volumes_, DeleteVolume, request, &response);
  Succeeded(status, response.operation());
}

TEST_F(VolumeServiceTest, AttachGivesTheConnectionAndDetachEndsIt) {
  v1::Volume volume = CreateVolume();
  v1::AttachVolumeRequest attach;
  attach.set_volume_id(volume.id());
  attach.set_instance_id("vm-1");
  attach.set_host("host-1");
  attach.mutable_hypervisor()->mutable_libvirt()->set_uri(
      "qemu+unix:///system?socket=/no-such-libvirtd");
  attach.mutable_hypervisor()->mutable_libvirt()->set_domain("d");
  attach.mutable_hypervisor()->mutable_libvirt()->set_target("vdb");
  v1::AttachVolumeResponse attached;
  grpc::Status status = CALL(volumes_, AttachVolume, attach, &attached);
  v1::Attachment attachment = Succeeded(status, attached.operation()).attachment();
  EXPECT_EQ(attachment.volume_id(), volume.id());
  EXPECT_EQ(attachment.instance_id(), "vm-1");
  EXPECT_EQ(attachment.access(), v1::ACCESS_MODE_READ_WRITE);
  EXPECT_EQ(attachment.hypervisor().libvirt().target(), "vdb");
  const v1::ConnectionInfo& connection = attachment.connection();
  EXPECT_EQ(connection.export_address(), volume.share());
  EXPECT_EQ(connection.file_name(), volume.active_file());
  EXPECT_EQ(connection.file_format(), v1::FILE_FORMAT_RAW);
  EXPECT_EQ(connection.size_bytes(), kMiBytes);
  EXPECT_NE(connection.qemu_blockdev_json(), "");
  EXPECT_NE(connection.libvirt_disk_xml(), "");
  v1::Volume in_use = GetVolume(volume.id(), v1::VOLUME_VIEW_FULL);
  EXPECT_EQ(in_use.state(), v1::VOLUME_STATE_IN_USE);
  ASSERT_THAT(in_use.attachments(), SizeIs(1));
  EXPECT_EQ(in_use.attachments(0).connection().file_name(), volume.active_file());
  EXPECT_FALSE(GetVolume(volume.id()).attachments(0).has_connection());

  attach.set_instance_id("vm-2");
  status = CALL(volumes_, AttachVolume, attach, &attached);
  EXPECT_THAT(status, FailsWith("VOLUME_IN_USE"));
  EXPECT_EQ(WireError::Of(status).metadata["instance"], "vm-1");

  v1::DetachVolumeRequest detach;
  detach.set_volume_id(volume.id());
  v1::DetachVolumeResponse detached;
  ASSERT_THAT(CALL(volumes_, DetachVolume, detach, &detached), Succeeds());
  v1::WaitOperationRequest wait;
  wait.set_operation_id(detached.operation().id());
  v1::WaitOperationResponse refused;
  ASSERT_THAT(CALL(operations_, WaitOperation, wait, &refused), Succeeds());
  EXPECT_THAT(refused.operation().error(), FailsWith("HYPERVISOR_UNAVAILABLE"));
  EXPECT_EQ(GetVolume(volume.id()).state(), v1::VOLUME_STATE_IN_USE);
  detach.set_force(true);
  EXPECT_THAT(CALL(volumes_, DetachVolume, detach, &detached), FailsOnField("reason"));
  detach.set_reason("the host has burnt down");
  status = CALL(volumes_, DetachVolume, detach, &detached);
  EXPECT_EQ(Succeeded(status, detached.operation()).volume().state(), v1::VOLUME_STATE_AVAILABLE);
  EXPECT_THAT(CALL(volumes_, DetachVolume, detach, &detached), FailsWith("ATTACHMENT_NOT_FOUND"));
}

TEST_F(VolumeServiceTest, AdoptTakesAFileThatLiesThere) {
  std::string id = NewId();
  WriteFile(dir_.File("a/volume-" + id), std::string(kMiBytes, 'y'));
  v1::AdoptVolumeRequest request;
  request.set_share("file://" + dir_.File("a"));
  request.set_file_name("volume-" + id);
  request.set_format(v1::VOLUME_FORMAT_RAW_SPARSE);
  v1::AdoptVolumeResponse response;
  grpc::Status status = CALL(volumes_, AdoptVolume, request, &response);
  v1::Volume volume = Succeeded(status, response.operation()).volume();
  EXPECT_EQ(volume.id(), id);
  EXPECT_EQ(volume.source().adopted_file(), "volume-" + id);
  EXPECT_EQ(volume.size_bytes(), kMiBytes);
}

}  // namespace
}  // namespace cairn::testing
