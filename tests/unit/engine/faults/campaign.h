// One kind of change, with a fault at one call on a share: builds the same state anew, makes the change
// meet the fault, and holds the outcome against what is promised:
//
//   FAILED or refused   nothing has changed: records, maps, files, contents; and again it succeeds
//   SUCCEEDED           everything is as after a change that met no fault
//   still running       it ends in one of the two by itself once the fault is gone
//
// and in each case the volumes can be used on, and leave nothing when they are deleted.
//
//   Campaign campaign(kind);
//   for (int64_t call = 1; call <= campaign.calls(); ++call) campaign.Run({.call = call});
//   EXPECT_TRUE(campaign.violations().empty());
#ifndef CAIRN_TESTS_UNIT_ENGINE_FAULTS_CAMPAIGN_H_
#define CAIRN_TESTS_UNIT_ENGINE_FAULTS_CAMPAIGN_H_

#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/os/faulty_file_system.h"
#include "tests/support/engine_fixture.h"
#include "tests/unit/engine/faults/faulty_processes.h"
#include "tests/unit/engine/faults/import_sender.h"
#include "tests/unit/engine/faults/kinds.h"
#include "tests/unit/engine/faults/stage.h"

namespace cairn::testing {

enum class FaultMode {
  kOnce,          // this call fails
  kTwice,         // and one that is so many calls later, as in what is done about the first
  kAnswerLost,    // it is carried out, but told as failed
  kForAWhile,     // this and all that follow, until the operation has ended or waits
  kUntilRestart,  // and the engine is stopped before they end
  kAtRestart,     // and one more fails after the start
  // Instead of a call, a child:
  kToolKilled,      // is killed before it has done anything
  kToolKilledLate,  // or when it has done all
  kToolLocked,      // finds its image locked, as do all that follow, for a while
};
inline constexpr FaultMode kFaultModes[] = {FaultMode::kOnce,         FaultMode::kTwice,
                                            FaultMode::kAnswerLost,   FaultMode::kForAWhile,
                                            FaultMode::kUntilRestart, FaultMode::kAtRestart};
inline constexpr FaultMode kToolFaultModes[] = {FaultMode::kToolKilled, FaultMode::kToolKilledLate,
                                                FaultMode::kToolLocked};

inline constexpr int kFaultErrors[] = {EIO, ENOSPC, EDQUOT, ESTALE, EINTR, ENOENT};

struct CampaignCase {
  int64_t call = 1;  // on a share, or the child, counted from the request on
  int error_number = EIO;
  FaultMode mode = FaultMode::kOnce;
  int64_t again = 0;  // of kTwice: so many calls later; of kAtRestart: the call from the start on

  // "17/EIO/once", "17/EIO/twice/3": what CAIRN_CAMPAIGN_CASE takes.
  std::string Name() const;
  static std::optional<CampaignCase> FromName(const std::string& name);
};

class Campaign {
 public:
  explicit Campaign(const CampaignKind& kind);
  ~Campaign();

  // How many calls on a share the change makes when it meets no fault.
  int64_t calls() const { return calls_; }
  // And how many children it runs to their end.
  int64_t children() const { return children_; }
  void Run(const CampaignCase& fault);

  const std::vector<std::string>& violations() const { return violations_; }
  // How many cases ended how: "FAILED", "SUCCEEDED", "refused", "waited" besides.
  const std::map<std::string, int>& ends() const { return ends_; }

 private:
  struct Begun {
    std::string operation_id;              // empty: refused
    std::unique_ptr<ImportSender> sender;  // of an import
  };

  void MakeEngine();
  void Inject(const CampaignCase& fault);
  void Clear();
  void RunUnfaulted();
  Begun Begin(const Request& request);
  // Until it has ended, or waits for the fault to go.
  void AwaitEndOrWait(const Begun& begun);
  // What became of it: a state's name. Empty when it does not end.
  std::string AwaitEnd(Begun& begun);
  bool IsTidy();
  void AwaitMerges();
  void AwaitMergesOrWait();
  bool SharesAreUsable();
  void Probe();
  void AwaitShares();
  void Compare(const std::string& found, const std::string& expected, const std::string& what);
  void CheckImages();
  void UseOn(Stage& stage);
  void ExpectNothingLeft(Stage& stage);
  void Violation(std::string what);

  const CampaignKind& kind_;
  FaultyFileSystem files_;
  FaultyProcesses processes_;
  std::unique_ptr<TestEngine> engine_;
  int64_t calls_ = 0;
  int64_t children_ = 0;
  std::string expected_;  // what is there after the change
  CampaignCase fault_;
  int checks_ = 0;
  bool violated_ = false;  // by this case
  std::string last_error_;
  std::string last_operation_;  // of an import
  std::string last_merge_;
  std::vector<std::string> violations_;
  std::map<std::string, int> ends_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_FAULTS_CAMPAIGN_H_
