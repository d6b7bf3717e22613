// Records for tests: plain ones with the fields that matter, and random ones with every field set.
#ifndef CAIRN_TESTS_UNIT_CATALOG_RECORD_MAKERS_H_
#define CAIRN_TESTS_UNIT_CATALOG_RECORD_MAKERS_H_

#include <cstdlib>
#include <random>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/catalog/catalog.h"

namespace cairn::testing {

inline absl::Time Second(int64_t n) { return absl::FromUnixSeconds(1'700'000'000 + n); }

// `n` gives the time of creation.
inline VolumeRecord MakeVolume(std::string id, int64_t n = 0) {
  VolumeRecord volume;
  volume.id = std::move(id);
  volume.name = "name-" + volume.id;
  volume.pool = "pool";
  volume.share = "nfs1:/export";
  volume.size_bytes = 1 << 20;
  volume.state = VolumeState::kAvailable;
  volume.active_file = "volume-" + volume.id;
  volume.chain = {volume.active_file};
  volume.create_time = volume.update_time = Second(n);
  return volume;
}

inline SnapshotRecord MakeSnapshot(std::string id, std::string volume_id, int64_t n = 0) {
  SnapshotRecord snapshot;
  snapshot.id = std::move(id);
  snapshot.volume_id = std::move(volume_id);
  snapshot.name = "name-" + snapshot.id;
  snapshot.state = SnapshotState::kAvailable;
  snapshot.create_time = snapshot.update_time = Second(n);
  return snapshot;
}

inline OperationRecord MakeOperation(std::string id, std::string volume_id, int64_t n = 0) {
  OperationRecord operation;
  operation.id = std::move(id);
  operation.volume_id = std::move(volume_id);
  operation.target = operation.volume_id;
  operation.create_time = Second(n);
  return operation;
}

inline Transaction Put(VolumeRecord volume) {
  Transaction transaction;
  transaction.put_volumes.push_back(std::move(volume));
  return transaction;
}
inline Transaction Put(SnapshotRecord snapshot) {
  Transaction transaction;
  transaction.put_snapshots.push_back(std::move(snapshot));
  return transaction;
}
inline Transaction Put(OperationRecord operation) {
  Transaction transaction;
  transaction.put_operations.push_back(std::move(operation));
  return transaction;
}
inline ShareRecord MakeShare(std::string address, std::string identity = "identity") {
  ShareRecord share;
  share.address = std::move(address);
  share.identity = std::move(identity);
  share.create_time = share.update_time = Second(0);
  return share;
}
inline Transaction Put(ShareRecord share) {
  Transaction transaction;
  transaction.put_shares.push_back(std::move(share));
  return transaction;
}
inline Transaction RemoveVolume(std::string id) {
  Transaction transaction;
  transaction.remove_volumes.push_back(std::move(id));
  return transaction;
}

// Another seed each run, or the one in CAIRN_SEED to repeat a run; tests print it when they fail.
inline uint64_t Seed() {
  const char* given = std::getenv("CAIRN_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
}

// Values that are hard to write down: every byte, quotes, long texts, extreme numbers.
class RandomRecords {
 public:
  explicit RandomRecords(uint64_t seed) : random_(seed) {}

  int64_t Below(int64_t limit) {
    return std::uniform_int_distribution<int64_t>(0, limit - 1)(random_);
  }

  std::string Text() {
    static constexpr const char* kPieces[] = {
        "a",    "volume-", "\"", "\\", "\n", "\u00e9", "\u65e5", "\xF0\x9F\x92\xBE",
        "\x7F", " ",       "{",  "%s", ".",  "/"};
    std::string text;
    int64_t kind = Below(10);
    for (int64_t i = kind == 0 ? 2000 : Below(12); i > 0; --i) {
      if (kind < 8) {
        text += kPieces[Below(std::size(kPieces))];
      } else {
        text += static_cast<char>(Below(256));  // mostly not UTF-8
      }
    }
    return text;
  }

  int64_t Number() {
    switch (Below(4)) {
      case 0:
        return INT64_MAX - Below(2);
      case 1:
        return INT64_MIN + Below(2);
      default:
        return Below(int64_t{1} << 51);
    }
  }

  absl::Time Time() {
    switch (Below(12)) {
      case 0:
        return absl::InfinitePast();
      case 1:
        return absl::InfiniteFuture();
      case 2:
        return absl::UnixEpoch() - absl::Nanoseconds(Below(1'000'000'000'000'000'000));
      case 3:  // finer than a nanosecond: absl counts quarters
        return absl::UnixEpoch() + absl::Nanoseconds(Below(1000)) / 4;
      default:
        return absl::FromUnixNanos(Below(INT64_MAX));
    }
  }

  cairn::Labels Labels() {
    cairn::Labels labels;
    for (int64_t i = Below(4); i > 0; --i) labels[Text()] = Text();
    return labels;
  }

  absl::Status Status() {
    switch (Below(4)) {
      case 0:
        return absl::OkStatus();
      case 1:  // from a library: no reason
        return absl::Status(static_cast<absl::StatusCode>(1 + Below(16)), Text());
      case 2:  // a reason under another code than its own
        return Annotate(absl::AbortedError(Text()), "context", {{"volume", "v"}});
      default:
        return Error(static_cast<Reason>(Below(static_cast<int64_t>(Reason::kToolFailed) + 1)),
                     Text(), {{"volume", "v1"}, {"path", "/a \"b\""}});
    }
  }

  VolumeRecord Volume(std::string id) {
    VolumeRecord volume;
    volume.id = std::move(id);
    volume.name = Text();
    volume.pool = Text();
    volume.share = Text();
    volume.size_bytes = Number();
    volume.format = static_cast<VolumeFormat>(Below(3));
    volume.state = static_cast<VolumeState>(Below(8));
    volume.state_reason = Text();
    volume.labels = Labels();
    volume.active_file = Text();
    for (int64_t i = Below(5); i > 0; --i) volume.chain.push_back(Text());
    volume.base_format = static_cast<FileFormat>(Below(2));
    volume.physical_bytes = Number();
    volume.file_bytes = Number();
    for (int64_t i = Below(3); i > 0; --i) {
      HypervisorAddress address{static_cast<HypervisorAddress::Kind>(Below(4)), Text(), Text(),
                                Text()};
      volume.attachments.push_back({Text(), volume.id, Text(), Text(),
                                    static_cast<AccessMode>(Below(2)), std::move(address), Time()});
    }
    volume.source = {static_cast<VolumeSource::Kind>(Below(6)), Text()};
    volume.create_time = Time();
    volume.update_time = Time();
    volume.current_operation = Text();
    for (int64_t i = Below(3); i > 0; --i) volume.surplus_layers.push_back(Text());
    return volume;
  }

  SnapshotRecord Snapshot(std::string id) {
    SnapshotRecord snapshot;
    snapshot.id = std::move(id);
    snapshot.volume_id = Text();
    snapshot.name = Text();
    snapshot.labels = Labels();
    snapshot.state = static_cast<SnapshotState>(Below(4));
    snapshot.state_reason = Text();
    snapshot.size_bytes = Number();
    snapshot.file = Text();
    snapshot.layer = Text();
    snapshot.created_in_use = Below(2) == 0;
    snapshot.quiesced = Below(2) == 0;
    snapshot.group_id = Text();
    snapshot.create_time = Time();
    snapshot.update_time = Time();
    return snapshot;
  }

  OperationRecord Operation(std::string id) {
    OperationRecord operation;
    operation.request_id = id + Text();
    operation.id = std::move(id);
    operation.kind = static_cast<OperationKind>(Below(14));
    operation.volume_id = Text();
    operation.target = Text();
    operation.state = static_cast<OperationState>(Below(7));
    operation.request = Text();
    operation.requested_by = Text();
    operation.plan = Text();
    operation.no_return = Below(2) == 0;
    operation.next_step = Number();
    operation.consumer_step = Number();
    if (Below(2) == 0) {
      operation.instructions = {{"v", "a", LayerSwitch{"new", "old", FileFormat::kQcow2, true}},
                                {"w", "b", LayerMerge{MergeDirection::kStream, "t", "b", "t", "u"}},
                                {"x", "c", DiskResize{"file", Number()}},
                                {"y", "d", DiskMove{"file", FileFormat::kRaw, "share", true}}};
    }
    operation.step = Text();
    operation.done_bytes = Number();
    operation.total_bytes = Number();
    operation.cancellable = Below(2) == 0;
    operation.error = Status();
    operation.create_time = Time();
    operation.start_time = Time();
    operation.end_time = Time();
    return operation;
  }

  ShareRecord Share(std::string address) {
    ShareRecord share;
    share.address = std::move(address);
    share.identity = Text();
    share.create_time = Time();
    share.update_time = Time();
    return share;
  }

 private:
  std::mt19937_64 random_;
};

// Member by member: the tests must not rely on the JSON that they examine.
inline bool SameRecord(const VolumeRecord& a, const VolumeRecord& b) {
  return a.id == b.id && a.name == b.name && a.pool == b.pool && a.share == b.share &&
         a.size_bytes == b.size_bytes && a.format == b.format && a.state == b.state &&
         a.state_reason == b.state_reason && a.labels == b.labels &&
         a.active_file == b.active_file && a.chain == b.chain && a.base_format == b.base_format &&
         a.physical_bytes == b.physical_bytes && a.file_bytes == b.file_bytes &&
         a.attachments == b.attachments && a.source == b.source && a.create_time == b.create_time &&
         a.update_time == b.update_time && a.current_operation == b.current_operation &&
         a.surplus_layers == b.surplus_layers;
}

inline bool SameRecord(const SnapshotRecord& a, const SnapshotRecord& b) {
  return a.id == b.id && a.volume_id == b.volume_id && a.name == b.name && a.labels == b.labels &&
         a.state == b.state && a.state_reason == b.state_reason && a.size_bytes == b.size_bytes &&
         a.file == b.file && a.layer == b.layer && a.created_in_use == b.created_in_use &&
         a.quiesced == b.quiesced && a.temporary == b.temporary && a.group_id == b.group_id &&
         a.create_time == b.create_time && a.update_time == b.update_time;
}

inline bool SameRecord(const ShareRecord& a, const ShareRecord& b) {
  return a.address == b.address && a.identity == b.identity && a.create_time == b.create_time &&
         a.update_time == b.update_time;
}

inline bool SameRecord(const OperationRecord& a, const OperationRecord& b) {
  auto details_a = GetErrorDetails(a.error), details_b = GetErrorDetails(b.error);
  bool same_details = details_a.has_value() == details_b.has_value() &&
                      (!details_a.has_value() || (details_a->reason == details_b->reason &&
                                                  details_a->metadata == details_b->metadata));
  return a.id == b.id && a.kind == b.kind && a.volume_id == b.volume_id && a.target == b.target &&
         a.state == b.state && a.request == b.request && a.request_id == b.request_id &&
         a.requested_by == b.requested_by && a.plan == b.plan && a.no_return == b.no_return &&
         a.next_step == b.next_step && a.consumer_step == b.consumer_step &&
         a.instructions == b.instructions && a.step == b.step && a.done_bytes == b.done_bytes &&
         a.total_bytes == b.total_bytes && a.cancellable == b.cancellable &&
         a.error.code() == b.error.code() && a.error.message() == b.error.message() &&
         same_details && a.create_time == b.create_time && a.start_time == b.start_time &&
         a.end_time == b.end_time;
}

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_CATALOG_RECORD_MAKERS_H_
