#include "cairnctl/render.h"

#include <gtest/gtest.h>

#include "cairn/v1/volume_service.pb.h"
#include "google/rpc/error_details.pb.h"

namespace cairn::cairnctl {
namespace {

v1::Snapshot Sample() {
  v1::Snapshot snapshot;
  snapshot.set_id("s1");
  snapshot.set_name("true");
  snapshot.set_size_bytes(1024);
  snapshot.set_state(v1::SNAPSHOT_STATE_AVAILABLE);
  for (const char* key : {"zone", "app", "tier", "kubernetes.io/name"})
    (*snapshot.mutable_labels())[key] = "v:1";
  return snapshot;
}

TEST(Render, JsonHasTheFieldsOwnNamesInTheirOrder) {
  EXPECT_EQ(
      ToJsonLine(Sample()),
      R"({"id":"s1","volume_id":"","name":"true","labels":{"app":"v:1","kubernetes.io/name":"v:1",)"
      R"("tier":"v:1","zone":"v:1"},"state":"SNAPSHOT_STATE_AVAILABLE","state_reason":"",)"
      R"("size_bytes":"1024","file":"","created_while":"SNAPSHOT_CONDITION_UNSPECIFIED",)"
      R"("quiesced":false,"group_id":"","revision":"0"})"
      "\n");
}

TEST(Render, YamlSaysTheSame) {
  EXPECT_EQ(ToYaml(Sample()),
            "id: s1\n"
            "volume_id: \"\"\n"
            "name: \"true\"\n"
            "labels:\n"
            "  app: \"v:1\"\n"
            "  kubernetes.io/name: \"v:1\"\n"
            "  tier: \"v:1\"\n"
            "  zone: \"v:1\"\n"
            "state: SNAPSHOT_STATE_AVAILABLE\n"
            "state_reason: \"\"\n"
            "size_bytes: \"1024\"\n"
            "file: \"\"\n"
            "created_while: SNAPSHOT_CONDITION_UNSPECIFIED\n"
            "quiesced: false\n"
            "group_id: \"\"\n"
            "revision: \"0\"\n");
}

TEST(Render, YamlListsHoldMaps) {
  v1::ListVolumesResponse list;
  for (const char* id : {"a", "b"}) {
    v1::Volume* volume = list.add_volumes();
    volume->set_id(id);
    volume->mutable_source()->set_snapshot_id("s");
  }
  const std::string yaml = ToYaml(list);
  EXPECT_EQ(yaml.substr(0, 25), "volumes:\n- id: a\n  name: ");
  EXPECT_NE(yaml.find("\n- id: b\n"), std::string::npos);
  EXPECT_NE(yaml.find("  source:\n    snapshot_id: s\n"), std::string::npos);
  EXPECT_NE(yaml.find("  chain: []\n"), std::string::npos);
}

TEST(Render, WhatCouldSteerATerminalIsEscaped) {
  v1::Snapshot snapshot;
  snapshot.set_name("a\u009b31m\u202e\u2028\x7f\x1bö");
  EXPECT_NE(ToJsonLine(snapshot).find(R"("a\u009b31m\u202e\u2028\u007f\u001bö")"),
            std::string::npos)
      << ToJsonLine(snapshot);
  EXPECT_NE(ToYaml(snapshot).find(R"(name: "a\u009b31m\u202e\u2028\u007f\u001bö")"),
            std::string::npos);
}

TEST(Render, AnOperationsErrorKeepsItsDetails) {
  v1::Operation operation;
  google::rpc::ErrorInfo info;
  info.set_reason("NO_SPACE");
  operation.mutable_error()->add_details()->PackFrom(info);
  EXPECT_NE(ToJsonLine(operation).find(R"("reason":"NO_SPACE")"), std::string::npos);
}

}  // namespace
}  // namespace cairn::cairnctl
