// Which known word a misspelt one was meant to be.
#ifndef CAIRN_SERVER_SIMILAR_H_
#define CAIRN_SERVER_SIMILAR_H_

#include <string_view>
#include <vector>

namespace cairn {

// The word with the fewest changed letters; empty when none is near.
std::string_view MostSimilar(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace cairn

#endif  // CAIRN_SERVER_SIMILAR_H_
