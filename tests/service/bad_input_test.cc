// Bad input over the wire: each with its code, its reason and its field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "lib/base/id.h"
#include "tests/service/test_server.h"
#include "tests/service/wire_error.h"

namespace cairn::testing {
namespace {

class BadInputTest : public ServiceTest {
 protected:
  grpc::Status Create(const std::function<void(v1::CreateVolumeRequest*)>& change) {
    v1::CreateVolumeRequest request;
    request.set_size_bytes(kMiBytes);
    change(&request);
    v1::CreateVolumeResponse response;
    return CALL(volumes_, CreateVolume, request, &response);
  }
  grpc::Status Get(const std::string& id) {
    v1::GetVolumeRequest request;
    request.set_volume_id(id);
    v1::GetVolumeResponse response;
    return CALL(volumes_, GetVolume, request, &response);
  }
  grpc::Status List(const std::function<void(v1::ListVolumesRequest*)>& change) {
    v1::ListVolumesRequest request;
    change(&request);
    v1::ListVolumesResponse response;
    return CALL(volumes_, ListVolumes, request, &response);
  }
  grpc::Status Extend(const std::string& id, int64_t size_bytes) {
    v1::ExtendVolumeRequest request;
    request.set_volume_id(id);
    request.set_size_bytes(size_bytes);
    v1::ExtendVolumeResponse response;
    return CALL(volumes_, ExtendVolume, request, &response);
  }
  grpc::Status Update(const std::function<void(v1::UpdateVolumeRequest*)>& change) {
    v1::UpdateVolumeRequest request;
    request.set_volume_id(NewId());
    request.mutable_update_mask()->add_paths("name");
    change(&request);
    v1::UpdateVolumeResponse response;
    return CALL(volumes_, UpdateVolume, request, &response);
  }
};

const std::string& BadId(int i) {
  static const auto* const ids =
      new std::vector<std::string>{"../x",
                                   "",
                                   std::string(1 << 20, 'a'),
                                   "aaaaaaaa-0000-4000-8000-00000000000",
                                   "aaaaaaaa-0000-4000-8000-0000000000011",
                                   "aaaaaaaa/0000-4000-8000-000000000001",
                                   "gaaaaaaa-0000-4000-8000-000000000001",
                                   "{aaaaaaaa-0000-4000-8000-00000000001",
                                   std::string("aaaaaaaa-0000-4000-8000-0000000000\0", 36)};
  return (*ids)[i];
}
constexpr int kBadIds = 9;

TEST_F(BadInputTest, IdsThatAreNoUuids) {
  for (int i = 0; i < kBadIds; ++i) {
    SCOPED_TRACE(i);
    std::string id = BadId(i);
    EXPECT_THAT(Get(id), FailsOnField("volume_id"));
    EXPECT_THAT(Extend(id, kMiBytes), FailsOnField("volume_id"));
    EXPECT_THAT(Update([&](auto* r) { r->set_volume_id(id); }), FailsOnField("volume_id"));
    v1::DeleteVolumeRequest remove;
    remove.set_volume_id(id);
    remove.set_allow_missing(true);
    v1::DeleteVolumeResponse removed;
    EXPECT_THAT(CALL(volumes_, DeleteVolume, remove, &removed), FailsOnField("volume_id"));
    v1::MigrateVolumeRequest migrate;
    migrate.set_volume_id(id);
    v1::MigrateVolumeResponse migrated;
    EXPECT_THAT(CALL(volumes_, MigrateVolume, migrate, &migrated), FailsOnField("volume_id"));
    v1::AttachVolumeRequest attach;
    attach.set_volume_id(id);
    attach.set_instance_id("i");
    v1::AttachVolumeResponse attached;
    EXPECT_THAT(CALL(volumes_, AttachVolume, attach, &attached), FailsOnField("volume_id"));
    v1::DetachVolumeRequest detach;
    detach.set_volume_id(id);
    v1::DetachVolumeResponse detached;
    EXPECT_THAT(CALL(volumes_, DetachVolume, detach, &detached), FailsOnField("volume_id"));
    v1::CreateSnapshotRequest create;
    create.set_volume_id(id);
    v1::CreateSnapshotResponse created;
    EXPECT_THAT(CALL(snapshots_, CreateSnapshot, create, &created), FailsOnField("volume_id"));
    v1::GetSnapshotRequest get;
    get.set_snapshot_id(id);
    v1::GetSnapshotResponse got;
    EXPECT_THAT(CALL(snapshots_, GetSnapshot, get, &got), FailsOnField("snapshot_id"));
    v1::DeleteSnapshotRequest drop;
    drop.set_snapshot_id(id);
    v1::DeleteSnapshotResponse dropped;
    EXPECT_THAT(CALL(snapshots_, DeleteSnapshot, drop, &dropped), FailsOnField("snapshot_id"));
    v1::RevertToSnapshotRequest revert;
    revert.set_snapshot_id(id);
    v1::RevertToSnapshotResponse reverted;
    EXPECT_THAT(CALL(snapshots_, RevertToSnapshot, revert, &reverted), FailsOnField("snapshot_id"));
    v1::GetOperationRequest operation;
    operation.set_operation_id(id);
    v1::GetOperationResponse given;
    EXPECT_THAT(CALL(operations_, GetOperation, operation, &given), FailsOnField("operation_id"));
    v1::CancelOperationRequest cancel;
    cancel.set_operation_id(id);
    v1::CancelOperationResponse cancelled;
    EXPECT_THAT(CALL(operations_, CancelOperation, cancel, &cancelled),
                FailsOnField("operation_id"));
    if (id.empty()) continue;  // an id that the server chooses
    EXPECT_THAT(Create([&](auto* r) { r->set_volume_id(id); }), FailsOnField("volume_id"));
    EXPECT_THAT(Create([&](auto* r) { r->set_source_volume_id(id); }),
                FailsOnField("source_volume_id"));
    EXPECT_THAT(Create([&](auto* r) { r->set_source_snapshot_id(id); }),
                FailsOnField("source_snapshot_id"));
  }
}

TEST_F(BadInputTest, SizesThatNoVolumeHas) {
  std::string id = CreateVolume().id();
  constexpr int64_t kMost = int64_t{1} << 51;
  for (int64_t size : {int64_t{0}, int64_t{-512}, int64_t{511}, int64_t{513}, kMost + 512,
                       std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    SCOPED_TRACE(size);
    EXPECT_THAT(Create([&](auto* r) { r->set_size_bytes(size); }), FailsOnField("size_bytes"));
    EXPECT_THAT(Extend(id, size), FailsOnField("size_bytes"));
  }
  EXPECT_THAT(Extend(id, kMiBytes / 2), FailsOnField("size_bytes"));
  v1::CreateVolumeRequest smaller;
  EXPECT_THAT(Create([&](auto* r) {
                r->set_source_volume_id(id);
                r->set_size_bytes(512);
              }),
              FailsOnField("size_bytes"));
}

TEST_F(BadInputTest, PlacesThatAreNotThere) {
  grpc::Status status = Create([](auto* r) { r->set_pool("nowhere"); });
  EXPECT_THAT(status, FailsWith("POOL_NOT_FOUND"));
  EXPECT_EQ(WireError::Of(status).metadata["pool"], "nowhere");
  status = Create([](auto* r) { r->set_share("10.0.0.1:/none"); });
  EXPECT_THAT(status, FailsWith("SHARE_NOT_FOUND"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(WireError::Of(status).metadata["share"], "10.0.0.1:/none");
  status = Create([](auto* r) {
    r->mutable_source_image()->set_path("/etc/passwd");
    r->mutable_source_image()->set_format(v1::FILE_FORMAT_RAW);
  });
  EXPECT_THAT(status, FailsWith("PATH_FORBIDDEN"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(Create([](auto* r) { r->set_source_snapshot_id(NewId()); }),
              FailsWith("SNAPSHOT_NOT_FOUND"));
  EXPECT_THAT(Create([](auto* r) { r->set_source_volume_id(NewId()); }),
              FailsWith("VOLUME_NOT_FOUND"));
}

TEST_F(BadInputTest, EnumNumbersThatNobodyKnows) {
  EXPECT_THAT(Create([](auto* r) { r->set_format(static_cast<v1::VolumeFormat>(99)); }),
              FailsOnField("format"));
  EXPECT_THAT(Create([](auto* r) { r->mutable_source_image()->set_path("/x"); }),
              FailsOnField("source_image.format"));
  v1::GetVolumeRequest get;
  get.set_volume_id(NewId());
  get.set_view(static_cast<v1::VolumeView>(-1));
  v1::GetVolumeResponse got;
  EXPECT_THAT(CALL(volumes_, GetVolume, get, &got), FailsOnField("view"));
  v1::AttachVolumeRequest attach;
  attach.set_volume_id(NewId());
  attach.set_access(static_cast<v1::AccessMode>(7));
  v1::AttachVolumeResponse attached;
  EXPECT_THAT(CALL(volumes_, AttachVolume, attach, &attached), FailsOnField("access"));
  v1::AdoptVolumeRequest adopt;
  v1::AdoptVolumeResponse adopted;
  EXPECT_THAT(CALL(volumes_, AdoptVolume, adopt, &adopted), FailsOnField("format"));
}

TEST_F(BadInputTest, NamesLabelsAndRequestIdsBeyondTheirLimits) {
  EXPECT_THAT(Create([](auto* r) { r->set_name(std::string(256, 'n')); }), FailsOnField("name"));
  EXPECT_THAT(Create([](auto* r) { r->set_name("a\nb"); }), FailsOnField("name"));
  // C1: another way to begin a command to a terminal.
  EXPECT_THAT(Create([](auto* r) { r->set_name("a\u009b31m"); }), FailsOnField("name"));
  EXPECT_THAT(Create([](auto* r) { r->set_name("a\u0080"); }), FailsOnField("name"));
  EXPECT_THAT(Create([](auto* r) { r->set_request_id(std::string(129, 'r')); }),
              FailsOnField("request_id"));
  auto label = [&](const std::string& key, const std::string& value) {
    return Create([&](auto* r) { (*r->mutable_labels())[key] = value; });
  };
  EXPECT_THAT(label("", "v"), FailsOnField("labels"));
  EXPECT_THAT(label("-k", "v"), FailsOnField("labels"));
  EXPECT_THAT(label(std::string(64, 'k'), "v"), FailsOnField("labels"));
  EXPECT_THAT(label("a/b/c", "v"), FailsOnField("labels"));
  EXPECT_THAT(label("k", std::string(256, 'v')), FailsOnField("labels[k]"));
  EXPECT_THAT(Create([](auto* r) {
                for (int i = 0; i < 65; ++i) (*r->mutable_labels())["k" + std::to_string(i)] = "v";
              }),
              FailsOnField("labels"));
}

TEST_F(BadInputTest, WaitsThatAreNoWaits) {
  EXPECT_THAT(Create([](auto* r) { r->mutable_wait()->set_seconds(-1); }), FailsOnField("wait"));
  EXPECT_THAT(Create([](auto* r) { r->mutable_wait()->set_nanos(1'000'000'000); }),
              FailsOnField("wait"));
  v1::WaitOperationRequest wait;
  wait.set_operation_id(NewId());
  wait.mutable_timeout()->set_nanos(-1);
  v1::WaitOperationResponse waited;
  EXPECT_THAT(CALL(operations_, WaitOperation, wait, &waited), FailsOnField("timeout"));
}

TEST_F(BadInputTest, ListsThatCannotBe) {
  EXPECT_THAT(List([](auto* r) { r->set_page_size(-1); }), FailsOnField("page_size"));
  EXPECT_THAT(List([](auto* r) { r->set_order_by("colour"); }), FailsOnField("order_by"));
  for (const char* filter : {"state", "state =", "state = NONSENSE", "colour = red",
                             "name = \"open", "state = AVAILABLE OR name = x", "((((", "AND"}) {
    grpc::Status status = List([&](auto* r) { r->set_filter(filter); });
    EXPECT_THAT(status, FailsWith("INVALID_FILTER")) << filter;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  EXPECT_THAT(List([](auto* r) { r->set_filter(std::string(100'000, 'x')); }),
              FailsWith("INVALID_FILTER"));
  for (const std::string& token : {std::string("nonsense"), std::string(1 << 20, 'A')}) {
    EXPECT_THAT(List([&](auto* r) { r->set_page_token(token); }), FailsWith("INVALID_PAGE_TOKEN"));
  }
  CreateVolume();
  CreateVolume();
  v1::ListVolumesRequest request;
  request.set_page_size(1);
  v1::ListVolumesResponse page;
  ASSERT_THAT(CALL(volumes_, ListVolumes, request, &page), Succeeds());
  ASSERT_NE(page.next_page_token(), "");
  // A token is of its own filter and order.
  EXPECT_THAT(List([&](auto* r) {
                r->set_page_token(page.next_page_token());
                r->set_filter("state = AVAILABLE");
              }),
              FailsWith("INVALID_PAGE_TOKEN"));
  v1::ListPoolsRequest pools;
  pools.set_page_token(page.next_page_token());
  v1::ListPoolsResponse listed;
  EXPECT_THAT(CALL(pools_, ListPools, pools, &listed), FailsWith("INVALID_PAGE_TOKEN"));
  pools.set_page_size(-1);
  EXPECT_THAT(CALL(pools_, ListPools, pools, &listed), FailsOnField("page_size"));
}

TEST_F(BadInputTest, MasksThatChangeNothingOrTheUnchangeable) {
  EXPECT_THAT(Update([](auto* r) { r->clear_update_mask(); }), FailsOnField("update_mask"));
  EXPECT_THAT(Update([](auto* r) { r->mutable_update_mask()->add_paths("size_bytes"); }),
              FailsOnField("update_mask"));
  EXPECT_THAT(Update([](auto* r) { r->mutable_update_mask()->add_paths("*"); }),
              FailsOnField("update_mask"));
  EXPECT_THAT(Update([](auto* r) { r->set_expected_revision(-1); }),
              FailsOnField("expected_revision"));
}

TEST_F(BadInputTest, TheSameIdOrRequestIdWithOtherParameters) {
  v1::Volume volume = CreateVolume();
  grpc::Status status = Create([&](auto* r) {
    r->set_volume_id(volume.id());
    r->set_size_bytes(2 * kMiBytes);
  });
  EXPECT_THAT(status, FailsWith("VOLUME_EXISTS"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_THAT(Create([](auto* r) { r->set_request_id("r"); }), Succeeds());
  status = Create([](auto* r) {
    r->set_request_id("r");
    r->set_size_bytes(2 * kMiBytes);
  });
  EXPECT_THAT(status, FailsWith("REQUEST_ID_REUSED"));
}

TEST_F(BadInputTest, AMessageThatIsTooLargeIsRefusedBeforeItIsRead) {
  EXPECT_EQ(Create([](auto* r) { r->set_name(std::string(5 << 20, 'n')); }).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  // The connection goes on.
  EXPECT_THAT(Create([](auto*) {}), Succeeds());
}

TEST_F(BadInputTest, GroupsOfSnapshots) {
  const std::string first = CreateVolume().id();
  const std::string second = CreateVolume().id();
  // `volume` and `snapshot` are those of the group's second member.
  auto create = [&](const std::string& volume, const std::string& snapshot) {
    v1::CreateSnapshotRequest request;
    request.set_volume_id(first);
    request.set_snapshot_id("11111111-1111-4111-8111-111111111111");
    request.add_additional_volumes()->set_volume_id(volume);
    request.mutable_additional_volumes(0)->set_snapshot_id(snapshot);
    v1::CreateSnapshotResponse response;
    return CALL(snapshots_, CreateSnapshot, request, &response);
  };
  EXPECT_THAT(create("../x", ""), FailsOnField("additional_volumes.volume_id"));
  EXPECT_THAT(create("", ""), FailsOnField("additional_volumes.volume_id"));
  EXPECT_THAT(create(first, ""), FailsOnField("additional_volumes.volume_id"));
  EXPECT_THAT(create(second, "../x"), FailsOnField("additional_volumes.snapshot_id"));
  EXPECT_THAT(create(second, "11111111-1111-4111-8111-111111111111"),
              FailsOnField("additional_volumes.snapshot_id"));
  EXPECT_THAT(create("22222222-2222-4222-8222-222222222222", ""), FailsWith("VOLUME_NOT_FOUND"));
  v1::ListSnapshotsResponse none;
  EXPECT_THAT(CALL(snapshots_, ListSnapshots, v1::ListSnapshotsRequest(), &none), Succeeds());
  EXPECT_EQ(none.snapshots_size(), 0);
  EXPECT_THAT(create(second, ""), Succeeds());
}

TEST_F(BadInputTest, WatchesThatCannotBegin) {
  auto watch = [&](int64_t revision, const std::string& filter) {
    v1::WatchVolumesRequest request;
    request.set_from_revision(revision);
    request.set_filter(filter);
    grpc::ClientContext context;
    auto reader = volumes_->WatchVolumes(&context, request);
    v1::WatchVolumesResponse event;
    EXPECT_FALSE(reader->Read(&event));
    return reader->Finish();
  };
  EXPECT_THAT(watch(-1, ""), FailsOnField("from_revision"));
  EXPECT_THAT(watch(1 << 30, ""), FailsOnField("from_revision"));
  EXPECT_THAT(watch(0, "state = NONSENSE"), FailsWith("INVALID_FILTER"));
}

TEST_F(BadInputTest, AttachVolumeNamesTheFieldsOfItsHypervisor) {
  const std::string id = CreateVolume().id();
  auto attach = [&](const std::function<void(v1::Hypervisor*)>& change) {
    v1::AttachVolumeRequest request;
    request.set_volume_id(id);
    request.set_instance_id("vm");
    change(request.mutable_hypervisor());
    v1::AttachVolumeResponse response;
    return CALL(volumes_, AttachVolume, request, &response);
  };
  const std::string longer(2000, 'x');
  EXPECT_THAT(attach([&](v1::Hypervisor* h) { h->mutable_qmp()->set_address("unix:/" + longer); }),
              FailsOnField("hypervisor.qmp.address"));
  EXPECT_THAT(attach([&](v1::Hypervisor* h) {
                h->mutable_qmp()->set_address("unix:/s");
                h->mutable_qmp()->set_node_or_device(longer);
              }),
              FailsOnField("hypervisor.qmp.node_or_device"));
  EXPECT_THAT(attach([&](v1::Hypervisor* h) { h->mutable_libvirt()->set_uri(longer); }),
              FailsOnField("hypervisor.libvirt.uri"));
  EXPECT_THAT(attach([&](v1::Hypervisor* h) {
                h->mutable_libvirt()->set_uri("qemu:///system");
                h->mutable_libvirt()->set_domain("a\nb");
              }),
              FailsOnField("hypervisor.libvirt.domain"));
  EXPECT_THAT(attach([&](v1::Hypervisor* h) {
                h->mutable_libvirt()->set_uri("qemu:///system");
                h->mutable_libvirt()->set_domain("vm");
                h->mutable_libvirt()->set_target(longer);
              }),
              FailsOnField("hypervisor.libvirt.target"));
}

TEST_F(BadInputTest, APageTokenOfEachListNamesItsField) {
  v1::ListPoolsRequest pools;
  pools.set_page_token("nonsense");
  v1::ListPoolsResponse no_pools;
  WireError error = WireError::Of(CALL(pools_, ListPools, pools, &no_pools));
  EXPECT_EQ(error.reason, "INVALID_PAGE_TOKEN");
  EXPECT_EQ(error.field, "page_token");
  error = WireError::Of(List([](auto* request) { request->set_page_token("nonsense"); }));
  EXPECT_EQ(error.field, "page_token");
  error = WireError::Of(List([](auto* request) { request->set_filter("nonsense"); }));
  EXPECT_EQ(error.reason, "INVALID_FILTER");
  EXPECT_EQ(error.field, "filter");
}

}  // namespace
}  // namespace cairn::testing
