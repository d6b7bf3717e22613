// YAML as a tree that knows where each part stands in its file. The only place that uses yaml-cpp.
//
// Anchors and aliases are refused (they can make a small file endless), and so are trees deeper or
// larger than any configuration is.
#ifndef CAIRN_SERVER_CONFIG_YAML_H_
#define CAIRN_SERVER_CONFIG_YAML_H_

#include <optional>
#include <string>
#include <vector>

namespace cairn {

struct YamlPlace {
  int line = 0;  // from 1
  int column = 0;
};

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  struct Entry;

  Kind kind = Kind::kNull;
  YamlPlace place;
  std::string text;             // of a scalar
  bool quoted = false;          // a scalar in quotes is text, whatever it looks like
  std::vector<YamlNode> items;  // of a list
  std::vector<Entry> entries;   // of a map, in order, duplicates included
};

struct YamlNode::Entry {
  std::string key;
  YamlPlace place;  // of the key
  YamlNode value;
};

struct YamlError {
  YamlPlace place;
  std::string text;
};

// The first document of `text`; kNull when there is none.
std::optional<YamlError> ParseYaml(const std::string& text, YamlNode* root);

// `text` as a YAML scalar: plain where that is read as the same text, else in double quotes.
std::string YamlScalar(const std::string& text);

}  // namespace cairn

#endif  // CAIRN_SERVER_CONFIG_YAML_H_
