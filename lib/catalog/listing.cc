#include "lib/catalog/listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/catalog/page_token.h"
#include "lib/catalog/text_json.h"

namespace cairn {
namespace {

constexpr int kPageSizeDefault = 50;
constexpr int kPageSizeMax = 1000;
// How many records are taken from the index at a time when a filter leaves some out.
constexpr size_t kChunk = 512;

using Text = std::optional<std::string>;

struct NamedField {
  std::string_view name;
  SortField field;
};
constexpr NamedField kSortFields[] = {{"create_time", SortField::kCreateTime},
                                      {"name", SortField::kName},
                                      {"size_bytes", SortField::kSizeBytes}};

Text LabelOf(const Labels& labels, std::string_view field) {
  constexpr std::string_view kPrefix = "labels.";
  if (field.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  auto it = labels.find(std::string(field.substr(kPrefix.size())));
  return it == labels.end() ? Text() : Text(it->second);
}

// What a list of one kind of record knows: its name in tokens, its fields, its states and orders.
struct VolumeList {
  static constexpr std::string_view kName = "volumes";
  static std::vector<std::string_view> Fields() {
    return {"state", "pool", "share", "name", "labels"};
  }
  static bool IsState(std::string_view name) { return VolumeStateFromName(name).has_value(); }
  static bool Sorts(SortField) { return true; }
  static Text ValueOf(const VolumeRecord& record, std::string_view field) {
    if (field == "state") return std::string(VolumeStateName(record.state));
    if (field == "pool") return record.pool;
    if (field == "share") return record.share;
    if (field == "name") return record.name;
    return LabelOf(record.labels, field);
  }
};

struct SnapshotList {
  static constexpr std::string_view kName = "snapshots";
  static std::vector<std::string_view> Fields() {
    return {"state", "volume_id", "name", "group_id", "labels"};
  }
  static bool IsState(std::string_view name) { return SnapshotStateFromName(name).has_value(); }
  static bool Sorts(SortField) { return true; }
  static Text ValueOf(const SnapshotRecord& record, std::string_view field) {
    if (field == "state") return std::string(SnapshotStateName(record.state));
    if (field == "volume_id") return record.volume_id;
    if (field == "name") return record.name;
    if (field == "group_id") return record.group_id;
    return LabelOf(record.labels, field);
  }
};

struct OperationList {
  static constexpr std::string_view kName = "operations";
  static std::vector<std::string_view> Fields() {
    return {"state", "kind", "target", "volume_id", "request_id"};
  }
  static bool IsState(std::string_view name) { return OperationStateFromName(name).has_value(); }
  static bool Sorts(SortField field) { return field == SortField::kCreateTime; }
  static Text ValueOf(const OperationRecord& record, std::string_view field) {
    if (field == "state") return std::string(OperationStateName(record.state));
    if (field == "kind") return std::string(OperationKindName(record.kind));
    if (field == "target") return record.target;
    if (field == "volume_id") return record.volume_id;
    if (field == "request_id") return record.request_id;
    return std::nullopt;
  }
};

template <typename List>
absl::StatusOr<SortOrder> ParseOrder(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; (at = text.find_first_not_of(' ', at)) != text.npos;) {
    size_t end = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  if (words.empty()) return SortOrder{};
  std::string known;
  for (const auto& [name, field] : kSortFields) {
    if (!List::Sorts(field)) continue;
    bool descending = words.size() == 2 && words[1] == "desc";
    if (name == words[0] && (words.size() == 1 || descending)) return SortOrder{field, descending};
    known += fmt::format("{}{}", known.empty() ? "" : ", ", name);
  }
  return InvalidField("order_by", fmt::format("must be one of: {}; \" desc\" may follow", known),
                      text);
}

template <typename List>
absl::StatusOr<Filter> ParseFilter(const std::string& text) {
  ASSIGN_OR_RETURN(Filter filter, Filter::Parse(text, List::Fields()));
  // A misspelt state would match nothing, which is easily taken for an answer.
  auto refuse = [](std::string_view field, const std::string& value) {
    return Error(Reason::kInvalidFilter,
                 fmt::format("filter: there is no {} \"{}\"", field, value.substr(0, 80)),
                 {{"field", "filter"}});
  };
  auto state = filter.EqualTo("state");
  if (state.has_value() && !List::IsState(*state)) return refuse("state", *state);
  auto kind = filter.EqualTo("kind");
  if (kind.has_value() && !OperationKindFromName(*kind)) return refuse("kind", *kind);
  return filter;
}

template <typename Record>
PageKey KeyOf(SortField field, const Record& record) {
  if constexpr (!std::is_same_v<Record, OperationRecord>) {
    if (field == SortField::kName) return {record.name, record.id};
    if (field == SortField::kSizeBytes) return {std::to_string(record.size_bytes), record.id};
  }
  return {absl::FormatTime(absl::RFC3339_full, record.create_time, absl::UTCTimeZone()), record.id};
}

absl::StatusOr<Position> PositionOf(SortField field, PageKey last) {
  Position position;
  position.id = std::move(last.id);
  const std::string& key = last.key;
  switch (field) {
    case SortField::kName:
      position.name = std::move(last.key);
      return position;
    case SortField::kSizeBytes: {
      auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), position.size_bytes);
      if (error != std::errc() || end != key.data() + key.size()) break;
      return position;
    }
    case SortField::kCreateTime:
      if (!absl::ParseTime(absl::RFC3339_full, key, &position.create_time, nullptr)) break;
      return position;
  }
  return InvalidPageToken("it was altered");
}

// A text that the JSON of every operation holds that the filter lets through, as it stands in the
// body: what SQLite can leave out need not be decoded. Empty when there is none.
std::string TextOfMatches(const Filter& filter) {
  for (const char* field : {"target", "state", "kind"}) {
    std::optional<std::string> value = filter.EqualTo(field);
    if (!value.has_value()) continue;
    const std::string object = DumpJson({{field, TextToJson(*value)}});
    return object.substr(1, object.size() - 2);
  }
  return "";
}

// `fetch` asks the index for records of that order, `scope` is what it restricts itself to.
template <typename List, typename Ptr, typename Fetch>
absl::StatusOr<Page<Ptr>> ListRecords(const ListQuery& query, const Filter& filter,
                                      const std::string& scope, const Fetch& fetch) {
  if (query.page_size < 0) {
    return InvalidField("page_size", "must not be negative", std::to_string(query.page_size));
  }
  size_t page_size = static_cast<size_t>(
      query.page_size == 0 ? kPageSizeDefault : std::min(query.page_size, kPageSizeMax));
  ASSIGN_OR_RETURN(SortOrder order, ParseOrder<List>(query.order_by));
  std::string binding =
      fmt::format("{}\n{}\n{}{}\n{}", List::kName, scope, static_cast<int>(order.field),
                  order.descending ? "-" : "+", query.filter);
  std::optional<Position> after;
  if (!query.page_token.empty()) {
    ASSIGN_OR_RETURN(PageKey last, ParsePageToken(binding, query.page_token));
    ASSIGN_OR_RETURN(after, PositionOf(order.field, std::move(last)));
  }
  Page<Ptr> page;
  page.token_after = [binding, field = order.field](const Ptr& item) {
    return MakePageToken(binding, KeyOf(field, *item));
  };
  // One more than the page holds is looked for, so that the last page is known to be the last.
  for (bool more = true; more;) {
    size_t count = query.filter.empty() ? page_size + 1 : kChunk;
    absl::StatusOr<std::vector<Ptr>> fetched =
        fetch(order, after.has_value() ? &*after : nullptr, count);
    RETURN_IF_ERROR(fetched.status());
    const std::vector<Ptr>& chunk = *fetched;
    more = chunk.size() == count;
    for (const Ptr& ptr : chunk) {
      if (!filter.Matches([&](std::string_view field) { return List::ValueOf(*ptr, field); })) {
        continue;
      }
      if (page.items.size() == page_size) {
        page.next_page_token = page.token_after(page.items.back());
        return page;
      }
      page.items.push_back(ptr);
    }
    if (more) {
      ASSIGN_OR_RETURN(after, PositionOf(order.field, KeyOf(order.field, *chunk.back())));
    }
  }
  return page;
}

}  // namespace

absl::StatusOr<Page<VolumePtr>> ListVolumes(const MemoryIndex& index, const ListQuery& query) {
  ASSIGN_OR_RETURN(Filter filter, ParseFilter<VolumeList>(query.filter));
  return ListRecords<VolumeList, VolumePtr>(
      query, filter, "", [&](SortOrder order, const Position* after, size_t count) {
        return index.VolumesAfter(order, after, count);
      });
}

absl::StatusOr<Page<SnapshotPtr>> ListSnapshots(const MemoryIndex& index, const ListQuery& query,
                                                const std::string& volume_id) {
  ASSIGN_OR_RETURN(Filter filter, ParseFilter<SnapshotList>(query.filter));
  // A filter that demands one volume need not walk over the snapshots of the others.
  std::string scope = volume_id.empty() ? filter.EqualTo("volume_id").value_or("") : volume_id;
  return ListRecords<SnapshotList, SnapshotPtr>(
      query, filter, volume_id, [&](SortOrder order, const Position* after, size_t count) {
        return index.SnapshotsAfter(scope, order, after, count);
      });
}

absl::StatusOr<Page<OperationPtr>> ListOperations(const Operations& operations,
                                                  const ListQuery& query) {
  ASSIGN_OR_RETURN(Filter filter, ParseFilter<OperationList>(query.filter));
  using Operation = absl::StatusOr<std::vector<OperationPtr>>;
  auto list = [&](const std::function<Operation(SortOrder, const Position*, size_t)>& fetch) {
    return ListRecords<OperationList, OperationPtr>(query, filter, "", fetch);
  };
  // What has not ended is in memory, and a request_id has one operation at most.
  auto state = OperationStateFromName(filter.EqualTo("state").value_or(""));
  if (state.has_value() && !Ended(*state)) {
    return list([&](SortOrder order, const Position* after, size_t count) -> Operation {
      return operations.UnfinishedAfter(order, after, count);
    });
  }
  if (auto request_id = filter.EqualTo("request_id"); request_id.value_or("") != "") {
    return list([&](SortOrder, const Position* after, size_t) -> Operation {
      if (after != nullptr) return std::vector<OperationPtr>();
      ASSIGN_OR_RETURN(OperationPtr found, operations.FindByRequest(*request_id));
      return found == nullptr ? std::vector<OperationPtr>() : std::vector<OperationPtr>{found};
    });
  }
  const StoredOperations::Among among{filter.EqualTo("volume_id").value_or(""),
                                      TextOfMatches(filter)};
  return list([&](SortOrder order, const Position* after, size_t count) {
    return operations.After(among, order, after, count);
  });
}

}  // namespace cairn
