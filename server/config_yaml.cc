#include "server/config_yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <string_view>
#include <utility>

namespace cairn {
namespace {

constexpr size_t kDepthMax = 16;
constexpr int kNodesMax = 10'000;

YamlPlace PlaceOf(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

// Builds the tree from the parser's events. `Stop` ends the parse at what is not accepted.
class TreeBuilder : public YAML::EventHandler {
 public:
  struct Stop {
    YamlError error;
  };

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(mark, anchor, YamlNode::Kind::kNull);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Refuse(mark, "aliases (*name) are not supported here");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // yaml-cpp gives the tag "?" to plain scalars and "!" to quoted ones.
    bool quoted = tag == "!";
    Level* parent = levels_.empty() ? nullptr : &levels_.back();
    if (parent != nullptr && parent->node.kind == YamlNode::Kind::kMap && !parent->key_set) {
      CheckAnchor(mark, anchor);
      parent->key = value;
      parent->key_place = PlaceOf(mark);
      parent->key_set = true;
      return;
    }
    bool null = !quoted && (value == "~" || value == "null" || value.empty());
    YamlNode node = Make(mark, anchor, null ? YamlNode::Kind::kNull : YamlNode::Kind::kScalar);
    node.text = value;
    node.quoted = quoted;
    Place(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, anchor, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, anchor, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { Close(); }

  YamlNode TakeRoot() { return std::move(root_); }

 private:
  struct Level {
    YamlNode node;
    std::string key;
    YamlPlace key_place;
    bool key_set = false;
  };

  [[noreturn]] static void Refuse(const YAML::Mark& mark, std::string_view text) {
    throw Stop{{PlaceOf(mark), std::string(text)}};
  }
  static void CheckAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) Refuse(mark, "anchors (&name) are not supported here");
  }
  YamlNode Make(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode::Kind kind) {
    CheckAnchor(mark, anchor);
    if (++nodes_ > kNodesMax) Refuse(mark, "the file holds more than a configuration can");
    YamlNode node;
    node.kind = kind;
    node.place = PlaceOf(mark);
    return node;
  }
  void Add(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode::Kind kind) {
    RefuseAsKey(mark);
    Place(Make(mark, anchor, kind));
  }
  void Open(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode::Kind kind) {
    RefuseAsKey(mark);
    if (levels_.size() >= kDepthMax) Refuse(mark, "nested too deeply");
    levels_.push_back({Make(mark, anchor, kind), "", {}, false});
  }
  void Close() {
    YamlNode node = std::move(levels_.back().node);
    levels_.pop_back();
    Place(std::move(node));
  }
  void RefuseAsKey(const YAML::Mark& mark) {
    if (levels_.empty() || levels_.back().node.kind != YamlNode::Kind::kMap) return;
    if (!levels_.back().key_set) Refuse(mark, "a key must be a word");
  }
  void Place(YamlNode node) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& parent = levels_.back();
    if (parent.node.kind == YamlNode::Kind::kList) {
      parent.node.items.push_back(std::move(node));
      return;
    }
    parent.key_set = false;
    parent.node.entries.push_back({std::move(parent.key), parent.key_place, std::move(node)});
  }

  YamlNode root_;
  std::vector<Level> levels_;
  int nodes_ = 0;
};

}  // namespace

std::optional<YamlError> ParseYaml(const std::string& text, YamlNode* root) {
  try {
    std::istringstream in(text);
    YAML::Parser parser(in);
    TreeBuilder builder;
    parser.HandleNextDocument(builder);
    *root = builder.TakeRoot();
    return std::nullopt;
  } catch (const TreeBuilder::Stop& stop) {
    return stop.error;
  } catch (const YAML::Exception& exception) {
    return YamlError{PlaceOf(exception.mark), "not valid YAML: " + exception.msg};
  }
}

std::string YamlScalar(const std::string& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./$-";
  bool plain = !text.empty() && text[0] != '-' && text != "null" &&
               text.find_first_not_of(kPlain) == std::string::npos;
  if (plain) return text;
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\x{:02x}", c);
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

}  // namespace cairn
