// The completion script, as bash runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cairn/client/uuid.h"
#include "cairnctl/commands.h"
#include "cairnctl/completion_bash.h"

namespace cairn::cairnctl {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

class Completion : public ::testing::Test {
 protected:
  Completion() : session_(&interrupt_), app_(MakeApp(&session_)) {
    folder_ = std::filesystem::temp_directory_path() / client::NewUuid();
    std::filesystem::create_directory(folder_);
    std::ofstream(folder_ / "completion") << BashCompletion(*app_);
    // Stands for cairnctl when the script asks for values: it answers with how it was asked.
    std::ofstream(folder_ / "cairnctl") << "#!/bin/sh\nfor a in \"$@\"; do echo \"$a\"; done\n";
    std::filesystem::permissions(folder_ / "cairnctl", std::filesystem::perms::owner_all);
  }
  ~Completion() override { std::filesystem::remove_all(folder_); }

  // What bash offers after these words; the last one is being typed.
  std::vector<std::string> Complete(const std::vector<std::string>& words) {
    std::string script =
        "cd '" + folder_.string() + "'\nsource ./completion\nCOMP_WORDS=(./cairnctl";
    for (const std::string& word : words) script += " '" + word + "'";
    script += ")\nCOMP_CWORD=" + std::to_string(words.size()) +
              "\n_cairnctl\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    std::ofstream(folder_ / "script") << script;
    FILE* pipe = popen(("bash " + (folder_ / "script").string() + " 2>&1").c_str(), "r");
    std::string output;
    std::array<char, 4096> buffer;
    for (size_t n = 0; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      output.append(buffer.data(), n);
    EXPECT_EQ(pclose(pipe), 0) << output;
    std::vector<std::string> lines;
    std::istringstream stream(output);
    for (std::string line; std::getline(stream, line);) {
      if (!line.empty()) lines.push_back(line);
    }
    return lines;
  }

  Interrupt interrupt_;
  Session session_;
  std::unique_ptr<CLI::App> app_;
  std::filesystem::path folder_;
};

TEST_F(Completion, OffersNouns) {
  EXPECT_THAT(Complete({""}), ElementsAre("volume", "snapshot", "pool", "operation", "health",
                                          "completion", "version"));
  EXPECT_THAT(Complete({"vo"}), ElementsAre("volume"));
}

TEST_F(Completion, OffersVerbs) {
  EXPECT_THAT(
      Complete({"volume", ""}),
      AllOf(Contains("create"), Contains("list"), Contains("show"), Contains("update"),
            Contains("delete"), Contains("extend"), Contains("migrate"), Contains("attach")));
  EXPECT_THAT(Complete({"volume", ""}),
              AllOf(Contains("detach"), Contains("adopt"), Contains("import"), Contains("export"),
                    Contains("clone"), Contains("watch")));
  EXPECT_THAT(Complete({"snapshot", "re"}), ElementsAre("revert"));
  EXPECT_THAT(Complete({"completion", ""}), ElementsAre("bash"));
}

TEST_F(Completion, OffersOptionsOfTheVerbAndGlobalOnes) {
  EXPECT_THAT(Complete({"volume", "create", "--"}),
              AllOf(Contains("--size"), Contains("--format"), Contains("--output"),
                    Contains("--no-wait"), Not(Contains("--cascade"))));
  EXPECT_THAT(Complete({"volume", "delete", "--ca"}), ElementsAre("--cascade"));
}

TEST_F(Completion, OffersTheWordsOfAnOption) {
  EXPECT_THAT(Complete({"volume", "create", "--format", ""}),
              ElementsAre("qcow2", "raw-sparse", "raw-thick"));
  EXPECT_THAT(Complete({"volume", "create", "--format", "raw-t"}), ElementsAre("raw-thick"));
  EXPECT_THAT(Complete({"volume", "list", "-o", "j"}), ElementsAre("json"));
  // As bash splits "--format=q".
  EXPECT_THAT(Complete({"volume", "create", "--format", "=", "q"}), ElementsAre("qcow2"));
}

TEST_F(Completion, AsksForIdsAndNames) {
  EXPECT_THAT(Complete({"volume", "show", ""}), AllOf(Contains("values"), Contains("volume")));
  EXPECT_THAT(Complete({"snapshot", "revert", "--yes", "snap"}), ElementsAre("snapshot"));
  EXPECT_THAT(Complete({"volume", "delete", "one", "two", "vol"}), ElementsAre("volume"));
  EXPECT_THAT(Complete({"volume", "create", "--pool", "po"}), ElementsAre("pool"));
  EXPECT_THAT(Complete({"operation", "wait", "op"}), ElementsAre("operation"));
  EXPECT_THAT(Complete({"volume", "extend", "one", ""}), IsEmpty());
}

TEST_F(Completion, AsksTheServerThatWasNamed) {
  // As bash splits "unix:/x".
  EXPECT_THAT(Complete({"-s", "unix", ":", "/x", "volume", "show", ""}), Contains("unix:/x"));
  EXPECT_THAT(Complete({"--server", "=", "unix", ":", "/x", "volume", "show", ""}),
              Contains("--server=unix:/x"));
}

TEST_F(Completion, OffersFiles) {
  EXPECT_THAT(Complete({"volume", "import", "compl"}), ElementsAre("completion"));
  EXPECT_THAT(Complete({"volume", "export", "web", "compl"}), ElementsAre("completion"));
}

TEST_F(Completion, KnowsEveryCommand) {
  const std::string script = BashCompletion(*app_);
  for (const CLI::App* noun : app_->get_subcommands([](const CLI::App*) { return true; })) {
    for (const CLI::App* verb : noun->get_subcommands([](const CLI::App*) { return true; }))
      EXPECT_NE(script.find("'" + noun->get_name() + " " + verb->get_name() + "'"),
                std::string::npos);
  }
}

// Every command's help: what it does, and at least one example of it.
TEST_F(Completion, EveryCommandHasExamples) {
  for (const CLI::App* noun : app_->get_subcommands([](const CLI::App*) { return true; })) {
    for (const CLI::App* verb : noun->get_subcommands([](const CLI::App*) { return true; })) {
      if (verb->get_group().empty()) continue;
      const std::string example = noun->get_name() + " " + verb->get_name();
      EXPECT_FALSE(verb->get_description().empty()) << example;
      EXPECT_NE(verb->get_footer().find("cairnctl " + example), std::string::npos) << example;
    }
  }
}

}  // namespace
}  // namespace cairn::cairnctl
