// Chains for tests of plans, and plans as words.
#ifndef CAIRN_TESTS_UNIT_CHAIN_CHAINS_OF_TESTS_H_
#define CAIRN_TESTS_UNIT_CHAIN_CHAINS_OF_TESTS_H_

#include <string>
#include <vector>

#include "lib/chain/layer_plans.h"

namespace cairn::testing {

// A raw base and a layer for each name, lowest first. Names that begin with "S" are snapshots.
inline ChainView MakeView(const std::vector<std::string>& layers) {
  ChainView view{"share", "v", 4096, {}, std::nullopt};
  InfoMap map;
  std::string below;
  std::vector<std::string> files{"volume-v"};
  for (const std::string& layer : layers) files.push_back("volume-v." + layer);
  for (const std::string& file : files) {
    ImageInfo image;
    image.format = below.empty() ? FileFormat::kRaw : FileFormat::kQcow2;
    image.virtual_size = 4096;
    image.physical_bytes = 1000;
    image.backing_file = below;
    view.chain.push_back({file, image});
    if (file.find(".S") != std::string::npos) map.layers[file.substr(9)] = file;
    map.active = below = file;
  }
  view.map = map;
  return view;
}

inline std::vector<std::string> Words(const std::vector<Step>& steps) {
  std::vector<std::string> words;
  for (const Step& step : steps) {
    std::string text = DescribeStep(step);
    const auto add = [&text](const InfoMap& map) {
      text += " active=" + map.active;
      for (const auto& [id, layer] : map.layers) text += " " + id;
    };
    if (const auto* write = std::get_if<WriteMapStep>(&step)) add(write->map);
    if (const auto* prepare = std::get_if<PrepareMapStep>(&step)) add(prepare->map);
    words.push_back(text);
  }
  return words;
}

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_CHAIN_CHAINS_OF_TESTS_H_
