#include "cairnctl/show.h"

#include <fmt/format.h>

#include "cairnctl/names.h"
#include "cairnctl/show_text.h"
#include "cairnctl/table.h"
#include "cairnctl/units.h"

namespace cairn::cairnctl {

std::string SnapshotTable(const std::vector<v1::Snapshot>& snapshots, SystemTime now) {
  Table table({{"ID"},
               {"NAME"},
               {"STATE"},
               {"SIZE", Align::kRight},
               {"VOLUME"},
               {"TAKEN"},
               {"AGE", Align::kRight}});
  for (const v1::Snapshot& snapshot : snapshots) {
    table.AddRow({snapshot.id(), snapshot.name(), Word(snapshot.state()),
                  FormatSize(snapshot.size_bytes()), snapshot.volume_id(),
                  Word(snapshot.created_while()), Age(snapshot.create_time(), now)});
  }
  return table.Render();
}

std::string SnapshotDetails(const v1::Snapshot& snapshot, SystemTime now) {
  FieldList fields;
  fields.Add("id", snapshot.id());
  fields.Add("name", snapshot.name());
  fields.Add("volume", snapshot.volume_id());
  fields.Add("state", WithReason(Word(snapshot.state()), snapshot.state_reason()));
  fields.Add("size", fmt::format("{} ({} bytes)", FormatSize(snapshot.size_bytes()),
                                 snapshot.size_bytes()));
  fields.Add("file", snapshot.file());
  fields.Add("taken", Word(snapshot.created_while()) + (snapshot.quiesced() ? ", quiesced" : ""));
  fields.Add("group", snapshot.group_id());
  fields.Add("labels", LabelText(Sorted(snapshot.labels())));
  fields.Add("created", When(snapshot.create_time(), now));
  fields.Add("revision", std::to_string(snapshot.revision()));
  return fields.Render();
}

}  // namespace cairn::cairnctl
