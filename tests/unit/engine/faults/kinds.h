// Every kind of change that the engine makes on a share, as the fault campaign tries it.
#ifndef CAIRN_TESTS_UNIT_ENGINE_FAULTS_KINDS_H_
#define CAIRN_TESTS_UNIT_ENGINE_FAULTS_KINDS_H_

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "lib/engine/requests.h"
#include "tests/unit/engine/faults/stage.h"

namespace cairn::testing {

struct CampaignKind {
  std::string name;
  // Builds what the change works on, and says what is to be asked for.
  std::function<Request(Stage&)> prepare;
  bool by_children = false;  // qemu's tools do a part of it, which takes time
};

inline void PrintTo(const CampaignKind& kind, std::ostream* out) { *out << kind.name; }

const std::vector<CampaignKind>& CampaignKinds();

// What an import sends: the whole content of a volume of kStageBytes.
std::string ImportedContent();

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_FAULTS_KINDS_H_
