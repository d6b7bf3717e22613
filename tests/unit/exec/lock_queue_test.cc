#include "lib/exec/lock_queue.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "lib/base/mutex.h"
#include "lib/exec/executor.h"
#include "tests/support/matchers.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Ticket = LockQueue::Ticket;

class LockQueueTest : public ::testing::Test {
 protected:
  Ticket Take(std::vector<LockKey> keys) {
    auto ticket = locks_.Acquire(std::move(keys), [this](Ticket t) { granted_.push_back(t); });
    EXPECT_OK(ticket);
    return ticket.value_or(0);
  }

  LockQueue locks_{10};
  std::vector<Ticket> granted_;
};

LockKey Exclusive(std::string key) { return {std::move(key), true}; }
LockKey Shared(std::string key) { return {std::move(key), false}; }

TEST_F(LockQueueTest, GrantsAFreeKeyAtOnce) {
  Ticket a = Take({Exclusive("v")});
  EXPECT_THAT(granted_, ElementsAre(a));
  Ticket b = Take({Exclusive("w")});
  EXPECT_THAT(granted_, ElementsAre(a, b));
  Ticket none = Take({});
  EXPECT_THAT(granted_, ElementsAre(a, b, none));
}

TEST_F(LockQueueTest, TriesWithoutWaiting) {
  const std::optional<Ticket> a = locks_.TryAcquire({Exclusive("v"), Shared("s")});
  ASSERT_TRUE(a.has_value());
  EXPECT_FALSE(locks_.TryAcquire({Exclusive("w"), Shared("v")}).has_value());
  EXPECT_FALSE(locks_.TryAcquire({Exclusive("s")}).has_value());
  const std::optional<Ticket> b = locks_.TryAcquire({Shared("s"), Exclusive("w")});
  ASSERT_TRUE(b.has_value());  // what was refused left nothing behind
  // One that waits is not overtaken.
  const Ticket c = Take({Exclusive("s")});
  EXPECT_THAT(granted_, IsEmpty());
  EXPECT_FALSE(locks_.TryAcquire({Shared("s")}).has_value());
  locks_.Release(*a);
  locks_.Release(*b);
  EXPECT_THAT(granted_, ElementsAre(c));
  EXPECT_TRUE(locks_.TryAcquire({Exclusive("v")}).has_value());
}

TEST_F(LockQueueTest, ExclusiveHoldersTakeTurns) {
  Ticket a = Take({Exclusive("v")});
  Ticket b = Take({Exclusive("v")});
  Ticket c = Take({Exclusive("v")});
  EXPECT_THAT(granted_, ElementsAre(a));
  EXPECT_EQ(locks_.ahead_of(a), 0);
  EXPECT_EQ(locks_.ahead_of(b), 1);
  EXPECT_EQ(locks_.ahead_of(c), 2);
  locks_.Release(a);
  EXPECT_THAT(granted_, ElementsAre(a, b));
  EXPECT_EQ(locks_.ahead_of(c), 1);
  locks_.Release(b);
  EXPECT_THAT(granted_, ElementsAre(a, b, c));
  EXPECT_EQ(locks_.ahead_of(c), 0);
}

TEST_F(LockQueueTest, TellsWhoHoldsAKeyThatItIsAwaited) {
  const Ticket a = Take({Exclusive("v"), Exclusive("w")});
  EXPECT_FALSE(locks_.is_awaited(a));
  const Ticket other = Take({Exclusive("x")});
  EXPECT_FALSE(locks_.is_awaited(a));
  const Ticket b = Take({Exclusive("w")});
  EXPECT_TRUE(locks_.is_awaited(a));
  EXPECT_FALSE(locks_.is_awaited(other));
  locks_.Release(b);
  EXPECT_FALSE(locks_.is_awaited(a));
  locks_.Release(a);
  EXPECT_FALSE(locks_.is_awaited(a));
}

TEST_F(LockQueueTest, SharedHoldersGoTogether) {
  Ticket a = Take({Shared("v")});
  Ticket b = Take({Shared("v")});
  EXPECT_THAT(granted_, ElementsAre(a, b));
  EXPECT_EQ(locks_.ahead_of(b), 0);
}

TEST_F(LockQueueTest, ASharedHolderWaitsBehindAnExclusiveOneThatCameFirst) {
  Ticket reader = Take({Shared("v")});
  Ticket writer = Take({Exclusive("v")});
  Ticket late1 = Take({Shared("v")});
  Ticket late2 = Take({Shared("v")});
  EXPECT_THAT(granted_, ElementsAre(reader)) << "readers do not overtake the writer";
  locks_.Release(reader);
  EXPECT_THAT(granted_, ElementsAre(reader, writer));
  locks_.Release(writer);
  EXPECT_THAT(granted_, ElementsAre(reader, writer, late1, late2));
}

TEST_F(LockQueueTest, AllKeysAreNeeded) {
  Ticket a = Take({Exclusive("v")});
  Ticket b = Take({Exclusive("w")});
  Ticket both = Take({Exclusive("w"), Exclusive("v")});
  Ticket behind = Take({Exclusive("w")});
  EXPECT_EQ(locks_.ahead_of(both), 2);
  locks_.Release(b);
  EXPECT_THAT(granted_, ElementsAre(a, b)) << "v is missing, and w stays taken";
  locks_.Release(a);
  EXPECT_THAT(granted_, ElementsAre(a, b, both));
  locks_.Release(both);
  EXPECT_THAT(granted_, ElementsAre(a, b, both, behind));
}

TEST_F(LockQueueTest, OppositeOrdersDoNotWaitForEachOther) {
  Ticket a = Take({Exclusive("v"), Exclusive("w")});
  Ticket b = Take({Exclusive("w"), Exclusive("v")});
  EXPECT_THAT(granted_, ElementsAre(a));
  locks_.Release(a);
  EXPECT_THAT(granted_, ElementsAre(a, b));
}

TEST_F(LockQueueTest, AKeyNamedTwiceIsOneKey) {
  Ticket a = Take({Shared("v"), Exclusive("v"), Shared("v")});
  EXPECT_THAT(granted_, ElementsAre(a));
  Take({Shared("v")});
  EXPECT_THAT(granted_, ElementsAre(a)) << "it is held exclusively";
}

TEST_F(LockQueueTest, WhoGivesUpWaitingIsNotCalled) {
  Ticket a = Take({Exclusive("v")});
  Ticket b = Take({Exclusive("v")});
  Ticket c = Take({Exclusive("v")});
  locks_.Release(b);
  EXPECT_EQ(locks_.ahead_of(c), 1);
  locks_.Release(a);
  EXPECT_THAT(granted_, ElementsAre(a, c));
  locks_.Release(b);
  locks_.Release(12345);
  EXPECT_EQ(locks_.ahead_of(12345), 0);
}

TEST_F(LockQueueTest, AWriterThatGivesUpLetsTheReadersBehindItThrough) {
  Ticket reader = Take({Shared("v")});
  Ticket writer = Take({Exclusive("v")});
  Ticket late = Take({Shared("v")});
  locks_.Release(writer);
  EXPECT_THAT(granted_, ElementsAre(reader, late));
}

TEST_F(LockQueueTest, ADeepQueueRefusesAndChangesNothing) {
  std::vector<Ticket> tickets;
  for (int i = 0; i < 10; ++i) tickets.push_back(Take({Exclusive("v")}));
  auto refused = locks_.Acquire({Exclusive("free"), Shared("v")}, [](Ticket) { FAIL(); });
  EXPECT_THAT(refused, HasReasonOf(Reason::kQueueFull));
  EXPECT_EQ(GetErrorDetails(refused.status())->metadata["key"], "v");
  Ticket free = Take({Exclusive("free")});
  EXPECT_EQ(granted_.back(), free) << "the refused one left nothing on its other key";
  locks_.Release(tickets.back());
  Take({Exclusive("v")});
}

TEST_F(LockQueueTest, ACallbackMayReleaseAndAcquire) {
  Ticket first = Take({Exclusive("v")});
  int granted = 0;
  auto once = [&](Ticket ticket) {
    ++granted;
    locks_.Release(ticket);
    Take({Exclusive("w")});
  };
  EXPECT_OK(locks_.Acquire({Exclusive("v")}, once));
  EXPECT_OK(locks_.Acquire({Exclusive("v")}, once));
  locks_.Release(first);
  EXPECT_EQ(granted, 2);
  EXPECT_EQ(granted_.size(), 2u) << "first, and the first of the two on w";
}

TEST_F(LockQueueTest, ALongRowOfCallbacksDoesNotNest) {
  constexpr int kRow = 30000;
  LockQueue locks(kRow + 1);
  auto first = locks.Acquire({Exclusive("v")}, [](Ticket) {});
  ASSERT_OK(first);
  int granted = 0;
  for (int i = 0; i < kRow; ++i) {
    ASSERT_OK(locks.Acquire({Exclusive("v")}, [&](Ticket ticket) {
      ++granted;
      locks.Release(ticket);
    }));
  }
  locks.Release(*first);
  EXPECT_EQ(granted, kRow);
}

TEST_F(LockQueueTest, ACallbackThatIsDueIsNotMadeAfterItsRelease) {
  Ticket first = Take({Exclusive("v")});
  Ticket second = 0;
  auto reader = locks_.Acquire({Shared("v")}, [&](Ticket) { locks_.Release(second); });
  ASSERT_OK(reader);
  second = Take({Shared("v")});
  locks_.Release(first);  // grants both readers; the first one releases the second
  EXPECT_THAT(granted_, ElementsAre(first));
}

uint64_t Seed() {
  const char* given = getenv("CAIRN_TEST_SEED");
  return given != nullptr ? strtoull(given, nullptr, 10) : std::random_device()();
}

std::vector<LockKey> RandomKeys(std::mt19937_64& random) {
  std::vector<LockKey> keys;
  for (char key : {'a', 'b', 'c', 'd'}) {
    if (random() % 3 == 0) keys.push_back({std::string(1, key), random() % 2 == 0});
  }
  std::shuffle(keys.begin(), keys.end(), random);
  return keys;
}

// The rule itself: a ticket has its keys when no earlier one conflicts with it on any of them.
std::set<Ticket> ExpectedHolders(const std::map<Ticket, std::vector<LockKey>>& all) {
  std::set<Ticket> holders;
  std::map<std::string, bool> earlier;  // whether one of them is exclusive
  for (const auto& [ticket, keys] : all) {
    bool free = true;
    for (const LockKey& key : keys) {
      auto before = earlier.find(key.key);
      if (before != earlier.end() && (before->second || key.exclusive)) free = false;
    }
    if (free) holders.insert(ticket);
    for (const LockKey& key : keys) earlier[key.key] |= key.exclusive;
  }
  return holders;
}

TEST(LockQueueModelTest, AgreesWithTheRuleAfterEachStep) {
  const uint64_t seed = Seed();
  SCOPED_TRACE(fmt::format("CAIRN_TEST_SEED={}", seed));
  std::mt19937_64 random(seed);
  LockQueue locks(1000);
  std::map<Ticket, std::vector<LockKey>> all;
  std::set<Ticket> granted;
  for (int step = 0; step < 5000; ++step) {
    if (all.size() < 12 && random() % 2 == 0) {
      std::vector<LockKey> keys = RandomKeys(random);
      auto ticket = locks.Acquire(keys, [&](Ticket t) { EXPECT_TRUE(granted.insert(t).second); });
      ASSERT_OK(ticket);
      all[*ticket] = keys;
    } else if (!all.empty()) {
      auto victim = std::next(all.begin(), static_cast<long>(random() % all.size()));
      Ticket ticket = victim->first;
      all.erase(victim);
      granted.erase(ticket);
      locks.Release(ticket);
      EXPECT_EQ(granted.count(ticket), 0u);
    }
    ASSERT_EQ(granted, ExpectedHolders(all)) << "step " << step;
  }
  while (!all.empty()) {
    Ticket ticket = all.begin()->first;
    all.erase(all.begin());
    granted.erase(ticket);
    locks.Release(ticket);
  }
  EXPECT_THAT(granted, IsEmpty());
}

// Watches the keys while many threads hold them.
class InvariantChecker {
 public:
  void Enter(Ticket ticket, const std::vector<LockKey>& keys) {
    MutexLock lock(&mutex_);
    for (const LockKey& key : keys) {
      Use& use = uses_[key.key];
      EXPECT_FALSE(use.writer) << "beside a writer";
      EXPECT_GT(ticket, use.last_writer) << "overtook a writer";
      if (key.exclusive) {
        EXPECT_EQ(use.readers, 0) << "a writer beside readers";
        EXPECT_GT(ticket, use.last) << "a writer overtook";
        use.writer = true;
        use.last_writer = ticket;
      } else {
        ++use.readers;
      }
      use.last = std::max(use.last, ticket);
    }
  }
  void Leave(const std::vector<LockKey>& keys) {
    MutexLock lock(&mutex_);
    for (const LockKey& key : keys) {
      Use& use = uses_[key.key];
      if (key.exclusive) {
        use.writer = false;
      } else {
        --use.readers;
      }
    }
  }

 private:
  struct Use {
    int readers = 0;
    bool writer = false;
    Ticket last_writer = 0;
    Ticket last = 0;
  };
  Mutex mutex_;
  std::map<std::string, Use> uses_ ABSL_GUARDED_BY(mutex_);
};

TEST(LockQueueStressTest, ManyThreadsKeepTheRule) {
  const uint64_t seed = Seed();
  SCOPED_TRACE(fmt::format("CAIRN_TEST_SEED={}", seed));
  constexpr int kThreads = 4;
  constexpr int kRounds = 1000;
  LockQueue locks(kThreads * kRounds);
  InvariantChecker checker;
  std::atomic<int> finished{0};
  Executor executor({.name = "work", .threads = 3, .queue_max = kThreads * kRounds});
  auto work = [&](Ticket ticket, const std::vector<LockKey>& keys) {
    checker.Enter(ticket, keys);
    EXPECT_EQ(locks.ahead_of(ticket), 0);
    std::this_thread::yield();
    checker.Leave(keys);
    locks.Release(ticket);
    ++finished;
  };
  auto acquire = [&](uint64_t thread) {
    std::mt19937_64 random(seed + thread);
    for (int i = 0; i < kRounds; ++i) {
      std::vector<LockKey> keys = RandomKeys(random);
      bool here = random() % 4 == 0;
      auto granted = [&, keys, here](Ticket ticket) {
        if (here) return work(ticket, keys);
        EXPECT_OK(executor.Submit(
            {.run = [&work, ticket, keys](const absl::Status&) { work(ticket, keys); }}));
      };
      EXPECT_OK(locks.Acquire(keys, granted));
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) threads.emplace_back(acquire, t);
  for (std::thread& thread : threads) thread.join();
  while (finished < kThreads * kRounds) std::this_thread::yield();
  EXPECT_TRUE(executor.Shutdown(absl::InfiniteDuration()));
}

}  // namespace
}  // namespace cairn
