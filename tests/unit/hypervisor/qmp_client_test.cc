#include "lib/hypervisor/qmp_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "lib/os/deadline.h"
#include "lib/os/unique_fd.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kGreeting[] = R"({"QMP": {"version": {}, "capabilities": []}})"
                             "\n";

// Whoever may sit at a socket in place of QEMU: serves one client, as `serve` does it.
class FakePeer {
 public:
  explicit FakePeer(std::function<void(FakePeer&)> serve) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path().c_str(), sizeof(address.sun_path) - 1);
    listener_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, serve = std::move(serve)] {
      client_ = UniqueFd(accept(listener_.get(), nullptr, nullptr));
      serve(*this);
      client_.Reset();
    });
  }
  ~FakePeer() {
    // Wakes one that was never connected to.
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

  std::string path() const { return dir_.File("qmp"); }
  std::string address() const { return "unix:" + path(); }

  // For `serve`.
  void Say(const std::string& text) const {
    send(client_.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  // One request of the client; empty when it went away.
  std::string Hear() const {
    std::string line;
    for (char c = 0; recv(client_.get(), &c, 1, 0) == 1 && c != '\n';) line += c;
    return line;
  }
  void SayOkTo(const std::string& request) const {
    Say(fmt::format("{{\"return\": {{}}, \"id\": {}}}\n",
                    nlohmann::json::parse(request)["id"].dump()));
  }
  void Greet() const {
    Say(kGreeting);
    SayOkTo(Hear());
  }
  // Until the client is gone.
  void Hang() const {
    while (!Hear().empty()) continue;
  }
  // True while somebody is there to read it.
  bool Flood(const std::string& text) const {
    return send(client_.get(), text.data(), text.size(), MSG_NOSIGNAL) > 0;
  }

 private:
  TempDir dir_;
  UniqueFd listener_;
  UniqueFd client_;
  std::thread thread_;
};

const HypervisorOptions kImpatient = {.connect_timeout = absl::Milliseconds(150),
                                      .answer_timeout = absl::Milliseconds(150)};

void ExpectUnavailable(const absl::Status& status, const std::string& words,
                       const std::string& address) {
  EXPECT_THAT(status, HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Describe(status), HasSubstr(words));
  const auto details = GetErrorDetails(status);
  ASSERT_TRUE(details.has_value());
  EXPECT_EQ(details->metadata.at("address"), address);
}

// Connecting to it fails within the limit, with these words.
void ExpectNoConnection(const std::string& words, std::function<void(FakePeer&)> serve) {
  FakePeer peer(std::move(serve));
  const Deadline begun(absl::Seconds(5));
  ExpectUnavailable(QmpClient::Connect(peer.address(), kImpatient).status(), words, peer.address());
  EXPECT_FALSE(begun.passed());
}

TEST(QmpClient, NobodyListens) {
  TempDir dir;
  const std::string address = "unix:" + dir.File("qmp");
  const auto none = QmpClient::Connect(address, {});
  ExpectUnavailable(none.status(), "the machine is gone", address);
  EXPECT_EQ(GetErrorDetails(none.status())->metadata.at("gone"), "true");
  // A socket whose owner has died.
  {
    FakePeer peer([](FakePeer&) {});
    std::filesystem::rename(peer.path(), dir.File("qmp"));
  }
  const auto refused = QmpClient::Connect(address, {});
  ExpectUnavailable(refused.status(), "the machine is gone", address);
  EXPECT_EQ(GetErrorDetails(refused.status())->metadata.at("gone"), "true");
}

TEST(QmpClient, APeerThatIsNoQmp) {
  ExpectNoConnection("no greeting in time", [](FakePeer& peer) { peer.Hang(); });
  ExpectNoConnection("closed the connection", [](FakePeer&) {});
  ExpectNoConnection("is not QMP", [](FakePeer& peer) {
    peer.Say("SSH-2.0-OpenSSH\n");
    peer.Hang();
  });
  ExpectNoConnection("is not QMP", [](FakePeer& peer) {
    peer.Say("[1, 2]\n");
    peer.Hang();
  });
  ExpectNoConnection("no greeting of QMP", [](FakePeer& peer) {
    peer.Say("{\"return\": {}}\n");
    peer.Hang();
  });
  ExpectNoConnection("too deep", [](FakePeer& peer) {
    peer.Say(std::string(1 << 16, '[') + "\n");
    peer.Hang();
  });
  ExpectNoConnection("no answer to qmp_capabilities", [](FakePeer& peer) {
    peer.Say(kGreeting);
    peer.Hang();
  });
}

// query-block tells of a chain of 256 files like this.
TEST(QmpClient, AnAnswerAsDeepAsTheLongestChain) {
  FakePeer peer([](FakePeer& self) {
    self.Greet();
    std::string answer = "{}";
    for (int i = 0; i < 300; ++i) answer = "{\"backing-image\": " + answer + "}";
    self.Say("{\"id\": 2, \"return\": " + answer + "}\n");
    self.Hang();
  });
  ASSERT_OK_AND_ASSIGN(auto qmp, QmpClient::Connect(peer.address(), {}));
  EXPECT_OK(qmp->Execute("query-block"));
}

TEST(QmpClient, ALineWithoutEndIsNotKept) {
  FakePeer peer([](FakePeer& self) {
    while (self.Flood(std::string(1 << 16, 'x'))) continue;
  });
  ExpectUnavailable(QmpClient::Connect(peer.address(), {}).status(), "a line without end",
                    peer.address());
}

TEST(QmpClient, AByteNowAndThenIsNoAnswer) {
  FakePeer peer([](FakePeer& self) {
    self.Greet();
    while (self.Flood(" ")) absl::SleepFor(absl::Milliseconds(10));
  });
  ASSERT_OK_AND_ASSIGN(auto qmp, QmpClient::Connect(peer.address(), kImpatient));
  ExpectUnavailable(qmp->Execute("query-jobs").status(), "no answer to query-jobs in time",
                    peer.address());
}

TEST(QmpClient, EventsWithoutEndAreNoAnswer) {
  FakePeer peer([](FakePeer& self) {
    self.Greet();
    while (self.Flood("{\"event\": \"STOP\"}\n")) continue;
  });
  ASSERT_OK_AND_ASSIGN(auto qmp, QmpClient::Connect(peer.address(), kImpatient));
  ExpectUnavailable(qmp->Execute("query-jobs").status(), "no answer to query-jobs in time",
                    peer.address());
}

TEST(QmpClient, AnswersAreMatchedAndEventsKept) {
  FakePeer peer([](FakePeer& self) {
    self.Greet();
    self.Say("{\"event\": \"ONE\", \"data\": {}}\n{\"event\": \"TWO\"}\n");
    self.SayOkTo(self.Hear());
    const auto request = nlohmann::json::parse(self.Hear());
    // In two parts, and with a secret that must not be taken for structure.
    self.Say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"it \\\"[[ is");
    self.Say(fmt::format(" busy\"}}, \"id\": {}}}\r\n", request["id"].dump()));
    self.Say("{\"error\": {\"desc\": \"write: No space left on device\"}, \"id\": 4}\n");
    self.Hear();
    self.Say("{\"return\": {}, \"id\": 4}\n");
    self.Hang();
  });
  ASSERT_OK_AND_ASSIGN(auto qmp, QmpClient::Connect(peer.address(), {}));
  EXPECT_OK(qmp->Execute("one"));
  ASSERT_OK_AND_ASSIGN(const auto first, qmp->NextEvent(absl::ZeroDuration()));
  EXPECT_EQ(first["event"], "ONE");
  ASSERT_OK_AND_ASSIGN(const auto second, qmp->NextEvent(absl::ZeroDuration()));
  EXPECT_EQ(second["event"], "TWO");

  const auto refused = qmp->Execute("blockdev-add", {{"driver", "x"}});
  EXPECT_THAT(refused, HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(Describe(refused.status()), HasSubstr("blockdev-add was refused: it \"[[ is busy"));
  EXPECT_EQ(GetErrorDetails(refused.status())->metadata.at("command"), "blockdev-add");
  EXPECT_EQ(GetErrorDetails(refused.status())->metadata.at("address"), peer.address());
  EXPECT_THAT(qmp->Execute("full"), HasReasonOf(Reason::kNoSpace));

  // An answer to another question ends it, for good.
  const auto other = qmp->Execute("other");
  ExpectUnavailable(other.status(), "no answer to other", peer.address());
  EXPECT_EQ(qmp->Execute("more").status(), other.status());
  EXPECT_EQ(qmp->NextEvent(absl::ZeroDuration()).status(), other.status());
}

TEST(QmpClient, NoEventIsNoError) {
  FakePeer peer([](FakePeer& self) {
    self.Greet();
    self.SayOkTo(self.Hear());
    self.Hang();
  });
  ASSERT_OK_AND_ASSIGN(auto qmp, QmpClient::Connect(peer.address(), {}));
  ASSERT_OK_AND_ASSIGN(const auto none, qmp->NextEvent(absl::Milliseconds(20)));
  EXPECT_TRUE(none.is_null());
  EXPECT_OK(qmp->Execute("still-there"));
}

TEST(QmpClient, SpeaksTcp) {
  UniqueFd listener(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  socklen_t length = sizeof(address);
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) {
    GTEST_SKIP() << "no IPv6 here";
  }
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  const std::string text = fmt::format("tcp:[::1]:{}", ntohs(address.sin6_port));
  std::thread server([&] {
    const UniqueFd client(accept(listener.get(), nullptr, nullptr));
    const std::string words = std::string(kGreeting) + "{\"return\": {}, \"id\": 1}\n";
    send(client.get(), words.data(), words.size(), MSG_NOSIGNAL);
    char c = 0;
    while (recv(client.get(), &c, 1, 0) == 1) continue;
  });
  EXPECT_OK(QmpClient::Connect(text, {}));
  server.join();
  listener.Reset();
  ExpectUnavailable(QmpClient::Connect(text, {}).status(), "Connection refused", text);
  ExpectUnavailable(QmpClient::Connect("tcp:no-such-host.invalid:1", kImpatient).status(),
                    "the host's name", "tcp:no-such-host.invalid:1");
}

}  // namespace
}  // namespace cairn::testing
