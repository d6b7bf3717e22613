// Times, labels, enums.
#include <algorithm>

#include "lib/base/status.h"
#include "server/convert.h"

namespace cairn {
namespace {

// The wire's enums have the core's values in the core's order, after UNSPECIFIED; a test compares
// every name.
template <typename Proto, typename Core>
Proto Shifted(Core value) {
  return static_cast<Proto>(static_cast<int>(value) + 1);
}

}  // namespace

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp proto;
  int64_t seconds = absl::ToUnixSeconds(time);
  proto.set_seconds(seconds);
  proto.set_nanos(
      static_cast<int32_t>((time - absl::FromUnixSeconds(seconds)) / absl::Nanoseconds(1)));
  return proto;
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  absl::Duration rest;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(rest / absl::Nanoseconds(1)));
  return proto;
}

Labels LabelsFrom(const google::protobuf::Map<std::string, std::string>& labels) {
  return {labels.begin(), labels.end()};
}

void SetLabels(const Labels& labels, google::protobuf::Map<std::string, std::string>* map) {
  for (const auto& [key, value] : labels) (*map)[key] = value;
}

absl::StatusOr<absl::Duration> WaitFrom(bool given, const google::protobuf::Duration& wait,
                                        const WaitLimits& limits) {
  if (!given) return limits.unset;
  constexpr int32_t kNanosMax = 999'999'999;
  if (wait.seconds() < 0 || wait.nanos() < 0) {
    return InvalidField(limits.field, "must not be negative");
  }
  if (wait.nanos() > kNanosMax) return InvalidField(limits.field, "is not a valid duration");
  return std::min(absl::Seconds(wait.seconds()) + absl::Nanoseconds(wait.nanos()), limits.max);
}

v1::VolumeState ToProto(VolumeState state) { return Shifted<v1::VolumeState>(state); }
v1::SnapshotState ToProto(SnapshotState state) { return Shifted<v1::SnapshotState>(state); }
v1::OperationState ToProto(OperationState state) { return Shifted<v1::OperationState>(state); }
v1::OperationKind ToProto(OperationKind kind) { return Shifted<v1::OperationKind>(kind); }
v1::VolumeFormat ToProto(VolumeFormat format) { return Shifted<v1::VolumeFormat>(format); }
v1::FileFormat ToProto(FileFormat format) { return Shifted<v1::FileFormat>(format); }
v1::ShareState ToProto(ShareState state) { return Shifted<v1::ShareState>(state); }

}  // namespace cairn
