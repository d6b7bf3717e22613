// What the catalog knows of shares, for the shares. Thread-safe; the catalog must outlive it.
#ifndef CAIRN_LIB_ENGINE_CATALOG_SHARES_H_
#define CAIRN_LIB_ENGINE_CATALOG_SHARES_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/catalog/catalog.h"
#include "lib/share/share_registry.h"

namespace cairn {

class CatalogShares : public ShareRegistry {
 public:
  // `listed`: whether a pool has a share of that address.
  CatalogShares(Catalog* catalog, const Clock* clock,
                std::function<bool(const std::string& address)> listed)
      : catalog_(catalog), clock_(clock), listed_(std::move(listed)) {}

  std::string IdentityOf(const std::string& address) const override;
  absl::Status CheckFree(const std::string& address, const std::string& identity) const override;
  absl::Status Record(const std::string& address, const std::string& identity) override;
  void Forget(const std::string& address) override;
  std::vector<std::string> FilesOn(const std::string& address) const override;
  RevisionMark MarkOf(const std::string& address) const override;
  absl::Status CheckMark(const std::string& identity, const RevisionMark& mark) const override;
  void Leaves(const std::string& identity, const RevisionMark& mark) override;

  // A committed change of what lies on a share.
  void Changed(const std::string& address, int64_t revision);

 private:
  int64_t LastChange(const std::string& address) const;

  Catalog* const catalog_;
  const Clock* const clock_;
  const std::function<bool(const std::string& address)> listed_;
  Mutex record_mutex_;  // one at a time; taken before mutex_
  mutable Mutex mutex_;
  // Of what lies on a share, by its address; counted when first asked for.
  mutable std::map<std::string, int64_t> last_change_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int64_t> left_
      ABSL_GUARDED_BY(mutex_);  // in marks since the start, by identity
};

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_CATALOG_SHARES_H_
