#include "lib/hypervisor/qmp_graph.h"

#include <string>

#include "tests/support/matchers.h"
#include "tests/unit/hypervisor/machine.h"

namespace cairn::testing {
namespace {

using nlohmann::json;

// Answers as QEMU gives them, made of few words.
class GraphOfTests {
 public:
  GraphOfTests& Node(const std::string& name, const std::string& driver,
                     const std::string& filename) {
    nodes_.push_back({{"node-name", name}, {"drv", driver}, {"file", filename}});
    graph_["nodes"].push_back({{"id", Id(name)}, {"type", "block-driver"}, {"name", name}});
    return *this;
  }
  GraphOfTests& Edge(const std::string& parent, const std::string& edge, const std::string& child) {
    graph_["edges"].push_back({{"parent", Id(parent)}, {"child", Id(child)}, {"name", edge}});
    return *this;
  }
  // A format on a file.
  GraphOfTests& Layer(const std::string& name, const std::string& path) {
    return Node(name, "qcow2", "json:{}")
        .Node(name + "-file", "file", path)
        .Edge(name, "file", name + "-file");
  }
  GraphOfTests& Export(const std::string& id, const std::string& node) {
    exports_.push_back({{"id", id}, {"node-name", node}});
    return *this;
  }
  absl::StatusOr<QmpDisk> Find(const std::string& disk, const std::string& volume = kVolume) {
    return QmpGraph("unix:/x", graph_, nodes_, json::array(), exports_).Find({disk, volume});
  }

 private:
  int Id(const std::string& name) {
    return ids_.emplace(name, static_cast<int>(ids_.size()) + 1).first->second;
  }
  std::map<std::string, int> ids_;
  json graph_ = {{"nodes", json::array()}, {"edges", json::array()}};
  json nodes_ = json::array();
  json exports_ = json::array();
};

TEST(QmpGraph, FileNamesOfAVolume) {
  EXPECT_TRUE(IsFileOfVolume("volume-ab", "ab"));
  EXPECT_TRUE(IsFileOfVolume("volume-ab.12-Fe", "ab"));
  EXPECT_FALSE(IsFileOfVolume("volume-ab.", "ab"));
  EXPECT_FALSE(IsFileOfVolume("volume-ab.info", "ab"));
  EXPECT_FALSE(IsFileOfVolume("volume-abc", "ab"));
  EXPECT_FALSE(IsFileOfVolume("volume-ab-1", "ab"));
  EXPECT_FALSE(IsFileOfVolume("volume-", ""));
  EXPECT_FALSE(IsFileOfVolume("other", "ab"));
}

TEST(QmpGraph, FilesBehindPseudoFilenames) {
  for (const char* name : {R"(json:{"driver": "file", "filename": "/d/f", "locking": "on"})",
                           R"(json:{"file.filename": "/d/f"})",
                           R"(json:{"driver": "raw", "file": {"filename": "/d/f"}})", "/d/f"}) {
    ASSERT_OK_AND_ASSIGN(const QmpDisk disk, GraphOfTests().Layer("a", name).Find("a"));
    EXPECT_EQ(disk.active().directory, "/d");
    EXPECT_EQ(disk.active().file, "f");
  }
  for (const char* name : {"f", "json:{", "json:[]", "json:{\"filename\": 7}", "", "/d/"}) {
    EXPECT_THAT(GraphOfTests().Layer("a", name).Find("a"), HasReasonOf(Reason::kHypervisorMismatch))
        << name;
  }
  EXPECT_THAT(GraphOfTests().Node("a", "nbd", "nbd://host/d/f").Find("a"),
              HasReasonOf(Reason::kHypervisorMismatch));
}

TEST(QmpGraph, TheDiskIsWhereTheNameLeadsUpwards) {
  GraphOfTests graph;
  graph.Layer("base", "/d/volume").Layer("top", "/d/volume.1").Node("cor", "copy-on-read", "x");
  graph.Edge("top", "backing", "base").Edge("cor", "file", "top").Export("e", "cor");
  for (const char* name : {"base", "base-file", "top", "cor", "e"}) {
    ASSERT_OK_AND_ASSIGN(const QmpDisk disk, graph.Find(name));
    EXPECT_EQ(disk.root, "cor") << name;
    ASSERT_EQ(disk.chain.size(), 2) << name;
    EXPECT_EQ(disk.active().node, "top");
    EXPECT_EQ(disk.chain[1].file, "volume");
  }
  // What is left of a merge stands on the same base, unused.
  graph.Layer("left", "/d/volume.0").Edge("left", "backing", "base");
  ASSERT_OK_AND_ASSIGN(const QmpDisk disk, graph.Find("base"));
  EXPECT_EQ(disk.active().node, "top");
  // Two that are used are not guessed about, but for the volume's names.
  graph.Export("other", "left");
  EXPECT_THAT(graph.Find("base"), HasReasonOf(Reason::kHypervisorMismatch));
  graph.Layer("mine", "/d/" + LayerName(3)).Edge("mine", "backing", "base").Export("m", "mine");
  ASSERT_OK_AND_ASSIGN(const QmpDisk mine, graph.Find("base"));
  EXPECT_EQ(mine.active().node, "mine");
}

TEST(QmpGraph, TheVolumesFileIsFoundWhenTheNameIsGone) {
  GraphOfTests graph;
  graph.Layer("a", "/d/" + LayerName(1)).Layer("b", "/d/" + LayerName(0));
  graph.Edge("a", "backing", "b").Layer("other", "/d/volume-other").Export("o", "other");
  graph.Node("old-file", "file", "/d/" + LayerName(2));
  ASSERT_OK_AND_ASSIGN(const QmpDisk disk, graph.Find("gone"));
  EXPECT_EQ(disk.root, "a");
  EXPECT_THAT(graph.Find("gone", "no-such-volume"), HasReasonOf(Reason::kHypervisorMismatch));
  EXPECT_THAT(graph.Find("gone", ""), HasReasonOf(Reason::kHypervisorMismatch));
  graph.Layer("c", "/e/" + LayerName(1));
  EXPECT_THAT(graph.Find("gone"), HasReasonOf(Reason::kHypervisorMismatch));
}

TEST(QmpGraph, AnswersThatCannotBeAreSurvived) {
  GraphOfTests loop;
  loop.Layer("a", "/d/a").Layer("b", "/d/b").Edge("a", "backing", "b").Edge("b", "backing", "a");
  EXPECT_THAT(loop.Find("a"), HasReasonOf(Reason::kHypervisorMismatch));
  GraphOfTests below;
  below.Layer("top", "/d/t").Layer("a", "/d/a").Layer("b", "/d/b").Edge("top", "backing", "a");
  below.Edge("a", "backing", "b").Edge("b", "backing", "a");
  EXPECT_THAT(below.Find("top"), HasReasonOf(Reason::kHypervisorMismatch));
  GraphOfTests files;
  files.Node("a", "raw", "x").Node("b", "raw", "x").Edge("a", "file", "b").Edge("b", "file", "a");
  files.Node("top", "qcow2", "x").Edge("top", "file", "a").Export("e", "top");
  EXPECT_THAT(files.Find("e"), HasReasonOf(Reason::kHypervisorMismatch));
  GraphOfTests filters;
  filters.Node("a", "throttle", "x").Node("b", "throttle", "x").Node("c", "throttle", "x");
  filters.Edge("c", "file", "a").Edge("a", "file", "b").Edge("b", "file", "a");
  EXPECT_THAT(filters.Find("c"), HasReasonOf(Reason::kHypervisorMismatch));
  const json junk[] = {nullptr,
                       7,
                       "x",
                       json::array({7, nullptr, "x"}),
                       {{"nodes", 7}},
                       {{"nodes", {{{"id", "x"}, {"type", 3}}}}, {"edges", {nullptr}}}};
  for (const json& each : junk) {
    EXPECT_THAT(QmpGraph("unix:/x", each, each, each, each).Find({"a", kVolume}),
                HasReasonOf(Reason::kHypervisorMismatch));
  }
}

}  // namespace
}  // namespace cairn::testing
