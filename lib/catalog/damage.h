// Records that cannot be read, and what stands still for them: the volume that they belong to. It is
// shown in state ERROR with the reason, nothing of it is changed, its operations are not taken up, and
// the rows stay as they are. Nothing else is affected.
//
// Filled while the catalog is loaded, by one thread; after that it does not change any more.
#ifndef CAIRN_LIB_CATALOG_DAMAGE_H_
#define CAIRN_LIB_CATALOG_DAMAGE_H_

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lib/catalog/checksum.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/records.h"
#include "lib/catalog/stored_record.h"

namespace cairn {

struct Transaction;

class Damage {
 public:
  // A row that cannot be read, and why.
  void Add(const char* table, RecordKind kind, StoredRow row, const absl::Status& why);
  // Stops the volumes in `loaded`, once every row was read. Those of which it cannot be told are said in
  // the log.
  void Stop(Changes* loaded);

  bool empty() const { return rows_.empty(); }
  // VOLUME_STATE (FAILED_PRECONDITION) for a transaction that would change what is stopped.
  absl::Status Check(const Transaction& transaction) const;
  // Whether it is not to be taken up.
  bool Holds(const OperationRecord& operation) const;

  // What is in the store of what is not in memory as it is there.
  struct Row {
    const char* table;
    RecordKind kind;
    StoredRow row;
  };
  const std::vector<Row>& rows() const { return rows_; }

 private:
  absl::Status CheckVolume(const std::string& id) const;
  absl::Status CheckKey(RecordKind kind, const std::string& key) const;
  // Of a snapshot or an operation: as far as its text still tells.
  std::set<std::string> VolumesOf(const Row& row, const Changes& loaded) const;
  void StopVolume(const std::string& id, const std::string& why, Changes* loaded);

  std::vector<Row> rows_;
  std::map<std::pair<RecordKind, std::string>, std::string> reasons_;  // by record: why
  std::map<std::string, std::string> stopped_;                         // by volume: why
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_DAMAGE_H_
