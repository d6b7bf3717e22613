#include "lib/catalog/catalog.h"

#include <memory>
#include <utility>

#include "lib/catalog/commit_outcome.h"

namespace cairn {

absl::Status Catalog::CommitAndWait(Transaction transaction) {
  auto outcome = std::make_shared<CommitOutcome>();
  Commit(std::move(transaction),
         [outcome](absl::Status status) { outcome->Set(std::move(status)); });
  return outcome->Wait();
}

}  // namespace cairn
