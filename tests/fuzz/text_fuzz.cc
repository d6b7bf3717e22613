// Texts of any content: the map of a volume, a shares file, a filter and a page token. The first byte
// says which.
#include <stddef.h>
#include <stdint.h>

#include <string>
#include <string_view>

#include "lib/catalog/page_token.h"
#include "lib/catalog/query.h"
#include "lib/chain/info_map.h"
#include "lib/chain/plan.h"
#include "lib/share/shares_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr std::string_view kVolume = "22eca042-8f57-48c2-a627-2b82b240f20a";
  switch (data[0] % 5) {
    case 0:
      if (auto map = cairn::ParseInfoMap(kVolume, text); map.ok()) {
        // What is accepted can be written and read again.
        if (!cairn::ParseInfoMap(kVolume, cairn::FormatInfoMap(*map)).ok()) __builtin_trap();
      }
      return 0;
    case 1:
      cairn::ParseSharesFile(text);
      return 0;
    case 2:
      if (auto filter = cairn::Filter::Parse(text, {"state", "name", "labels"}); filter.ok()) {
        filter->Matches([](std::string_view field) { return std::string(field); });
      }
      return 0;
    case 3:
      cairn::ParsePageToken("volumes", text).IgnoreError();
      return 0;
    default:
      cairn::PlanFromJson(text).IgnoreError();
      return 0;
  }
}
