#include "lib/catalog/record_json.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "lib/base/disk_change_json.h"
#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "lib/catalog/text_json.h"

namespace cairn {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<HypervisorAddress::Kind, std::string_view>, 4> kHypervisorKinds = {{
    {HypervisorAddress::Kind::kNone, "NONE"},
    {HypervisorAddress::Kind::kQmp, "QMP"},
    {HypervisorAddress::Kind::kLibvirt, "LIBVIRT"},
    {HypervisorAddress::Kind::kAssisted, "ASSISTED"},
}};

constexpr std::array<std::pair<VolumeSource::Kind, std::string_view>, 6> kSourceKinds = {{
    {VolumeSource::Kind::kNone, "NONE"},
    {VolumeSource::Kind::kSnapshot, "SNAPSHOT"},
    {VolumeSource::Kind::kVolume, "VOLUME"},
    {VolumeSource::Kind::kImage, "IMAGE"},
    {VolumeSource::Kind::kImport, "IMPORT"},
    {VolumeSource::Kind::kAdopted, "ADOPTED"},
}};

constexpr std::array<std::pair<AccessMode, std::string_view>, 2> kAccessModes = {{
    {AccessMode::kReadWrite, "READ_WRITE"},
    {AccessMode::kReadOnly, "READ_ONLY"},
}};

template <typename Names, typename Enum>
std::string_view NameIn(const Names& names, Enum value) {
  for (const auto& [each, name] : names) {
    if (each == value) return name;
  }
  return "";
}

template <typename Enum, typename Names>
auto FinderIn(const Names& names) {
  return [&names](std::string_view name) -> std::optional<Enum> {
    for (const auto& [value, each] : names) {
      if (each == name) return value;
    }
    return std::nullopt;
  };
}

// RFC 3339 in UTC with every digit that the time has; also "infinite-past", "infinite-future".
std::string TimeText(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_full, time, absl::UTCTimeZone());
}

json LabelsToJson(const Labels& labels) {
  bool plain = true;
  for (const auto& [key, value] : labels) plain = plain && IsUtf8(key);
  json object = json::object();
  json pairs = json::array();  // only for keys that cannot be keys of JSON
  for (const auto& [key, value] : labels) {
    if (plain) {
      object[key] = TextToJson(value);
    } else {
      pairs.push_back(json::array({TextToJson(key), TextToJson(value)}));
    }
  }
  return plain ? object : pairs;
}

json ErrorToJson(const absl::Status& error) {
  if (error.ok()) return nullptr;
  json out = {{"code", static_cast<int>(error.code())},
              {"message", TextToJson(ToStd(error.message()))}};
  if (auto details = GetErrorDetails(error)) {
    out["reason"] = ReasonName(details->reason);
    out["metadata"] = LabelsToJson(details->metadata);
  }
  return out;
}

json AttachmentToJson(const Attachment& attachment) {
  const HypervisorAddress& hypervisor = attachment.hypervisor;
  return {
      {"id", TextToJson(attachment.id)},
      {"volume_id", TextToJson(attachment.volume_id)},
      {"instance_id", TextToJson(attachment.instance_id)},
      {"host", TextToJson(attachment.host)},
      {"access", NameIn(kAccessModes, attachment.access)},
      {"hypervisor",
       {{"kind", NameIn(kHypervisorKinds, hypervisor.kind)},
        {"address", TextToJson(hypervisor.address)},
        {"domain", TextToJson(hypervisor.domain)},
        {"disk", TextToJson(hypervisor.disk)}}},
      {"create_time", TimeText(attachment.create_time)},
  };
}

json SourceToJson(const VolumeSource& source) {
  return {{"kind", NameIn(kSourceKinds, source.kind)},
          {"id_or_path", TextToJson(source.id_or_path)}};
}

// Takes fields out of an object. The first that cannot be read is kept as the error, the rest are
// then left alone, so that a decoder can be written as a plain list of fields.
class Reader {
 public:
  Reader(const json& object, std::string_view where) : object_(object), where_(where) {
    if (!object.is_object()) Fail("", "an object");
  }

  const absl::Status& status() const { return status_; }

  void Text(const char* key, std::string* out) {
    if (const json* value = Find(key)) SetText(key, *value, out);
  }
  void Integer(const char* key, int64_t* out) {
    const json* value = Find(key);
    if (value == nullptr) return;
    bool fits = value->is_number_integer() &&
                (!value->is_number_unsigned() || value->get<uint64_t>() <= uint64_t{INT64_MAX});
    if (!fits) return Fail(key, "an integer");
    *out = value->get<int64_t>();
  }
  void Bool(const char* key, bool* out) {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Fail(key, "true or false");
    *out = value->get<bool>();
  }
  void Time(const char* key, absl::Time* out) {
    std::string text, problem;
    Text(key, &text);
    if (!status_.ok()) return;
    if (!absl::ParseTime(absl::RFC3339_full, text, out, &problem)) Fail(key, "a time");
  }
  template <typename Enum, typename FromName>
  void Name(const char* key, FromName from_name, Enum* out) {
    std::string text;
    Text(key, &text);
    if (!status_.ok()) return;
    std::optional<Enum> value = from_name(text);
    if (!value.has_value()) return Fail(key, "a name that this version knows");
    *out = *value;
  }
  void Texts(const char* key, std::vector<std::string>* out) {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_array()) return Fail(key, "a list");
    for (const json& item : *value) SetText(key, item, &out->emplace_back());
  }
  void Labels(const char* key, cairn::Labels* out) {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (value->is_object()) {
      for (const auto& [name, text] : value->items()) SetText(key, text, &(*out)[name]);
      return;
    }
    if (!value->is_array()) return Fail(key, "an object of texts");
    for (const json& pair : *value) {
      if (!pair.is_array() || pair.size() != 2) return Fail(key, "a list of pairs");
      std::string name;
      SetText(key, pair[0], &name);
      SetText(key, pair[1], &(*out)[name]);
    }
  }
  // The value under `key` for a decoder of its own; null after a failure.
  const json* Find(const char* key) {
    if (!status_.ok()) return nullptr;
    auto it = object_.find(key);
    if (it != object_.end()) return &*it;
    Fail(key, "there");
    return nullptr;
  }
  void Take(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  void Fail(std::string_view key, std::string_view wanted) {
    if (!status_.ok()) return;
    std::string name = key.empty() ? where_ : fmt::format("{}.{}", where_, key);
    status_ = Error(Reason::kIoError, fmt::format("{} is not {}", name, wanted), {{"field", name}});
  }

 private:
  void SetText(const char* key, const json& value, std::string* out) {
    std::optional<std::string> text = TextFromJson(value);
    if (!text.has_value()) return Fail(key, "a text");
    *out = *std::move(text);
  }

  const json& object_;
  const std::string where_;
  absl::Status status_;
};

absl::Status ReadAttachment(const json& value, Attachment* attachment) {
  Reader in(value, "attachment");
  in.Text("id", &attachment->id);
  in.Text("volume_id", &attachment->volume_id);
  in.Text("instance_id", &attachment->instance_id);
  in.Text("host", &attachment->host);
  in.Name("access", FinderIn<AccessMode>(kAccessModes), &attachment->access);
  in.Time("create_time", &attachment->create_time);
  if (const json* address = in.Find("hypervisor")) {
    Reader inner(*address, "attachment.hypervisor");
    HypervisorAddress& hypervisor = attachment->hypervisor;
    inner.Name("kind", FinderIn<HypervisorAddress::Kind>(kHypervisorKinds), &hypervisor.kind);
    inner.Text("address", &hypervisor.address);
    inner.Text("domain", &hypervisor.domain);
    inner.Text("disk", &hypervisor.disk);
    in.Take(inner.status());
  }
  return in.status();
}

absl::Status ReadSource(const json& value, VolumeSource* source) {
  Reader in(value, "source");
  in.Name("kind", FinderIn<VolumeSource::Kind>(kSourceKinds), &source->kind);
  in.Text("id_or_path", &source->id_or_path);
  return in.status();
}

absl::Status ReadError(const json& value, absl::Status* error) {
  if (value.is_null()) return absl::OkStatus();
  Reader in(value, "error");
  int64_t code = 0;
  std::string message;
  in.Integer("code", &code);
  in.Text("message", &message);
  constexpr int64_t kCodeMax = static_cast<int64_t>(absl::StatusCode::kUnauthenticated);
  if (code <= 0 || code > kCodeMax) in.Fail("code", "a code of an error");
  *error = absl::Status(static_cast<absl::StatusCode>(code), message);
  if (!in.status().ok() || !value.contains("reason")) return in.status();
  Reason reason = Reason::kInternal;
  ErrorMetadata metadata;
  in.Name("reason", ReasonFromName, &reason);
  in.Labels("metadata", &metadata);
  // The code may differ from the reason's own (an error that was annotated on its way): only the
  // details are taken from Error().
  Error(reason, message, std::move(metadata))
      .ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
        error->SetPayload(url, payload);
      });
  return in.status();
}

}  // namespace

// Field by field: an object written as a list of lists is made twice, and a record is written with
// each commit.
std::string RecordToJson(const VolumeRecord& record) {
  json chain = json::array();
  for (const std::string& file : record.chain) chain.push_back(TextToJson(file));
  json attachments = json::array();
  for (const Attachment& each : record.attachments) attachments.push_back(AttachmentToJson(each));
  json out = json::object();
  out.emplace("id", TextToJson(record.id));
  out.emplace("name", TextToJson(record.name));
  out.emplace("pool", TextToJson(record.pool));
  out.emplace("share", TextToJson(record.share));
  out.emplace("size_bytes", record.size_bytes);
  out.emplace("format", VolumeFormatName(record.format));
  out.emplace("state", VolumeStateName(record.state));
  out.emplace("state_reason", TextToJson(record.state_reason));
  out.emplace("labels", LabelsToJson(record.labels));
  out.emplace("active_file", TextToJson(record.active_file));
  out.emplace("chain", std::move(chain));
  if (!record.surplus_layers.empty()) {
    json& surplus = out["surplus_layers"] = json::array();
    for (const std::string& file : record.surplus_layers) surplus.push_back(TextToJson(file));
  }
  out.emplace("base_format", FileFormatName(record.base_format));
  out.emplace("physical_bytes", record.physical_bytes);
  out.emplace("file_bytes", record.file_bytes);
  out.emplace("attachments", std::move(attachments));
  out.emplace("source", SourceToJson(record.source));
  out.emplace("create_time", TimeText(record.create_time));
  out.emplace("update_time", TimeText(record.update_time));
  out.emplace("current_operation", TextToJson(record.current_operation));
  out.emplace("created_by", TextToJson(record.created_by));
  return DumpJson(out);
}

std::string RecordToJson(const SnapshotRecord& record) {
  json out = json::object();
  out.emplace("id", TextToJson(record.id));
  out.emplace("volume_id", TextToJson(record.volume_id));
  out.emplace("name", TextToJson(record.name));
  out.emplace("labels", LabelsToJson(record.labels));
  out.emplace("state", SnapshotStateName(record.state));
  out.emplace("state_reason", TextToJson(record.state_reason));
  out.emplace("size_bytes", record.size_bytes);
  out.emplace("file", TextToJson(record.file));
  out.emplace("layer", TextToJson(record.layer));
  out.emplace("created_in_use", record.created_in_use);
  out.emplace("quiesced", record.quiesced);
  out.emplace("group_id", TextToJson(record.group_id));
  out.emplace("temporary", record.temporary);
  out.emplace("created_by", TextToJson(record.created_by));
  out.emplace("create_time", TimeText(record.create_time));
  out.emplace("update_time", TimeText(record.update_time));
  return DumpJson(out);
}

std::string RecordToJson(const OperationRecord& record) {
  json out = json::object();
  out.emplace("id", TextToJson(record.id));
  out.emplace("kind", OperationKindName(record.kind));
  out.emplace("volume_id", TextToJson(record.volume_id));
  out.emplace("target", TextToJson(record.target));
  out.emplace("state", OperationStateName(record.state));
  out.emplace("request", TextToJson(record.request));
  out.emplace("request_id", TextToJson(record.request_id));
  out.emplace("requested_by", TextToJson(record.requested_by));
  out.emplace("plan", TextToJson(record.plan));
  out.emplace("no_return", record.no_return);
  out.emplace("next_step", record.next_step);
  out.emplace("instructions", ToJsonValue(record.instructions));
  out.emplace("consumer_step", record.consumer_step);
  out.emplace("step", TextToJson(record.step));
  out.emplace("done_bytes", record.done_bytes);
  out.emplace("total_bytes", record.total_bytes);
  out.emplace("cancellable", record.cancellable);
  out.emplace("error", ErrorToJson(record.error));
  out.emplace("create_time", TimeText(record.create_time));
  out.emplace("start_time", TimeText(record.start_time));
  out.emplace("end_time", TimeText(record.end_time));
  return DumpJson(out);
}

std::string RecordToJson(const ShareRecord& record) {
  json out = json::object();
  out.emplace("address", TextToJson(record.address));
  out.emplace("identity", TextToJson(record.identity));
  out.emplace("create_time", TimeText(record.create_time));
  out.emplace("update_time", TimeText(record.update_time));
  return DumpJson(out);
}

absl::StatusOr<VolumeRecord> VolumeFromJson(std::string_view text) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  Reader in(value, "volume");
  VolumeRecord record;
  in.Text("id", &record.id);
  in.Text("name", &record.name);
  in.Text("pool", &record.pool);
  in.Text("share", &record.share);
  in.Integer("size_bytes", &record.size_bytes);
  in.Name("format", VolumeFormatFromName, &record.format);
  in.Name("state", VolumeStateFromName, &record.state);
  in.Text("state_reason", &record.state_reason);
  in.Labels("labels", &record.labels);
  in.Text("active_file", &record.active_file);
  in.Texts("chain", &record.chain);
  in.Name("base_format", FileFormatFromName, &record.base_format);
  in.Integer("physical_bytes", &record.physical_bytes);
  in.Integer("file_bytes", &record.file_bytes);
  if (const json* attachments = in.Find("attachments")) {
    if (!attachments->is_array()) in.Fail("attachments", "a list");
    for (const json& each : *attachments) {
      in.Take(ReadAttachment(each, &record.attachments.emplace_back()));
    }
  }
  if (const json* source = in.Find("source")) in.Take(ReadSource(*source, &record.source));
  in.Time("create_time", &record.create_time);
  in.Time("update_time", &record.update_time);
  in.Text("current_operation", &record.current_operation);
  in.Text("created_by", &record.created_by);
  RETURN_IF_ERROR(in.status());
  // Only where there are some; records of earlier versions never have it.
  if (value.contains("surplus_layers")) in.Texts("surplus_layers", &record.surplus_layers);
  RETURN_IF_ERROR(in.status());
  return record;
}

absl::StatusOr<SnapshotRecord> SnapshotFromJson(std::string_view text) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  Reader in(value, "snapshot");
  SnapshotRecord record;
  in.Text("id", &record.id);
  in.Text("volume_id", &record.volume_id);
  in.Text("name", &record.name);
  in.Labels("labels", &record.labels);
  in.Name("state", SnapshotStateFromName, &record.state);
  in.Text("state_reason", &record.state_reason);
  in.Integer("size_bytes", &record.size_bytes);
  in.Text("file", &record.file);
  in.Text("layer", &record.layer);
  in.Bool("created_in_use", &record.created_in_use);
  in.Bool("quiesced", &record.quiesced);
  in.Text("group_id", &record.group_id);
  in.Bool("temporary", &record.temporary);
  in.Text("created_by", &record.created_by);
  in.Time("create_time", &record.create_time);
  in.Time("update_time", &record.update_time);
  RETURN_IF_ERROR(in.status());
  return record;
}

absl::StatusOr<OperationRecord> OperationFromJson(std::string_view text) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  Reader in(value, "operation");
  OperationRecord record;
  in.Text("id", &record.id);
  in.Name("kind", OperationKindFromName, &record.kind);
  in.Text("volume_id", &record.volume_id);
  in.Text("target", &record.target);
  in.Name("state", OperationStateFromName, &record.state);
  in.Text("request", &record.request);
  in.Text("request_id", &record.request_id);
  in.Text("requested_by", &record.requested_by);
  in.Text("plan", &record.plan);
  in.Bool("no_return", &record.no_return);
  in.Integer("next_step", &record.next_step);
  in.Integer("consumer_step", &record.consumer_step);
  if (const json* instructions = in.Find("instructions");
      instructions != nullptr && !FromJsonValue(*instructions, record.instructions)) {
    in.Fail("instructions", "a list of instructions");
  }
  in.Text("step", &record.step);
  in.Integer("done_bytes", &record.done_bytes);
  in.Integer("total_bytes", &record.total_bytes);
  in.Bool("cancellable", &record.cancellable);
  if (const json* error = in.Find("error")) in.Take(ReadError(*error, &record.error));
  in.Time("create_time", &record.create_time);
  in.Time("start_time", &record.start_time);
  in.Time("end_time", &record.end_time);
  RETURN_IF_ERROR(in.status());
  return record;
}

absl::StatusOr<ShareRecord> ShareFromJson(std::string_view text) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  Reader in(value, "share");
  ShareRecord record;
  in.Text("address", &record.address);
  in.Text("identity", &record.identity);
  in.Time("create_time", &record.create_time);
  in.Time("update_time", &record.update_time);
  RETURN_IF_ERROR(in.status());
  return record;
}

}  // namespace cairn
