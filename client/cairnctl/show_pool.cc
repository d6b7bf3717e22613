#include "cairnctl/show.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include <set>

#include "cairnctl/names.h"
#include "cairnctl/show_text.h"
#include "cairnctl/table.h"
#include "cairnctl/units.h"

namespace cairn::cairnctl {
namespace {

using google::protobuf::util::TimeUtil;

// "clone,copy,allocate,seek": what the share's server does by itself.
std::string Abilities(const v1::ShareCapabilities& capabilities) {
  const std::pair<const char*, v1::Support> all[] = {{"clone", capabilities.clone()},
                                                     {"copy", capabilities.copy()},
                                                     {"allocate", capabilities.allocate()},
                                                     {"seek", capabilities.seek()}};
  std::string words;
  for (const auto& [word, support] : all) {
    if (support != v1::SUPPORT_PRESENT) continue;
    words += (words.empty() ? "" : ",") + std::string(word);
  }
  return words;
}

// The shares whose room is one room.
std::string SameFileSystems(const v1::Pool& pool) {
  std::string text;
  std::set<std::string> told;
  for (const v1::Share& share : pool.shares()) {
    if (share.same_file_system_size() == 0 || told.count(share.address()) != 0) continue;
    told.insert(share.same_file_system().begin(), share.same_file_system().end());
    text += fmt::format("  on one file system, whose room counts once: {}", share.address());
    for (const std::string& other : share.same_file_system()) text += ", " + other;
    text += '\n';
  }
  return text;
}

std::string ShareTable(const v1::Pool& pool, SystemTime now) {
  Table table({{"SHARE"},
               {"STATE"},
               {"SINCE", Align::kRight},
               {"VOLUMES", Align::kRight},
               {"FREE", Align::kRight},
               {"TOTAL", Align::kRight},
               {"ALLOCATED", Align::kRight},
               {"NFS"},
               {"PROBE", Align::kRight},
               {"CAN"},
               {"LAST ERROR"}});
  for (const v1::Share& share : pool.shares()) {
    const std::string probe =
        share.has_probe_latency()
            ? fmt::format("{} ms", TimeUtil::DurationToMilliseconds(share.probe_latency()))
            : "";
    table.AddRow(
        {share.address(), Word(share.state()), Age(share.since(), now),
         std::to_string(share.volume_count()), FormatSize(share.capacity().available_bytes()),
         FormatSize(share.capacity().total_bytes()), FormatSize(share.capacity().allocated_bytes()),
         share.nfs_version(), probe, Abilities(share.capabilities()), share.last_error()});
  }
  return "\nshares:\n" + table.Render(2) + SameFileSystems(pool);
}

std::string VolumeCounts(const v1::Pool& pool) {
  std::string text;
  for (const v1::VolumeStateCount& count : pool.volume_counts())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count.count(), Word(count.state()));
  return text;
}

}  // namespace

std::string PoolTable(const std::vector<v1::Pool>& pools) {
  Table table({{"NAME"},
               {"USABLE"},
               {"SHARES", Align::kRight},
               {"FREE", Align::kRight},
               {"TOTAL", Align::kRight},
               {"ALLOCATED", Align::kRight},
               {"PROVISIONED", Align::kRight},
               {"FORMAT"},
               {"VOLUMES"}});
  for (const v1::Pool& pool : pools) {
    table.AddRow({pool.name(), pool.usable() ? "yes" : "no", std::to_string(pool.shares_size()),
                  FormatSize(pool.capacity().available_bytes()),
                  FormatSize(pool.capacity().total_bytes()),
                  FormatSize(pool.capacity().allocated_bytes()),
                  FormatSize(pool.capacity().provisioned_bytes()), Word(pool.default_format()),
                  VolumeCounts(pool)});
  }
  return table.Render();
}

std::string PoolDetails(const v1::Pool& pool, SystemTime now) {
  const v1::Capacity& capacity = pool.capacity();
  FieldList fields;
  fields.Add("name", pool.name());
  fields.Add("usable", pool.usable() ? "yes" : "no");
  fields.Add("total", FormatSize(capacity.total_bytes()));
  fields.Add("free", FormatSize(capacity.available_bytes()));
  fields.Add("allocated", FormatSize(capacity.allocated_bytes()));
  fields.Add("provisioned", FormatSize(capacity.provisioned_bytes()));
  fields.Add("held for operations", FormatSize(capacity.reserved_bytes()));
  fields.Add("over-subscription", fmt::format("{:g}", pool.max_over_subscription_ratio()));
  fields.Add("reserve", fmt::format("{}%", pool.reserved_percentage()));
  fields.Add("placement", Word(pool.placement_policy()));
  fields.Add("default format", Word(pool.default_format()));
  fields.Add("snapshots", pool.snapshots_enabled() ? "enabled" : "disabled");
  fields.Add("volumes", VolumeCounts(pool));
  return fields.Render() + ShareTable(pool, now);
}

}  // namespace cairn::cairnctl
