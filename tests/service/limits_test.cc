// What callers may take of the server, and what becomes of those who take it and do not move.
#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <thread>
#include <vector>

#include "server/paging.h"
#include "server/unread_answers.h"
#include "tests/service/fake_server.h"
#include "tests/service/wire_error.h"

namespace cairn::testing {
namespace {

bool Soon(const std::function<bool()>& condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return false;
}

class OpenCall : public Call {
 public:
  explicit OpenCall(CallKind kind, const std::string& peer = "unix:")
      : Call({"Service.Method", kind}, peer, MonotonicTime::InfiniteFuture()) {}
  bool Answer() { return Claim(absl::OkStatus()); }
  absl::Status sent;

 private:
  void SendError(const absl::Status& status) override { sent = status; }
};

TEST(CallLimitsTest, AQuarterOfThePlacesIsForShortCalls) {
  CallTable table({.calls_max = 8, .transfers_max = 100});
  std::vector<std::shared_ptr<OpenCall>> lasting;
  for (CallKind kind : {CallKind::kWatch, CallKind::kWait, CallKind::kStream, CallKind::kWatch,
                        CallKind::kDownload, CallKind::kUpload}) {
    ASSERT_OK(table.Add(lasting.emplace_back(std::make_shared<OpenCall>(kind))));
  }
  EXPECT_THAT(table.Add(std::make_shared<OpenCall>(CallKind::kWait)),
              HasReasonOf(Reason::kTooManyCalls));
  auto read = std::make_shared<OpenCall>(CallKind::kRead);
  auto change = std::make_shared<OpenCall>(CallKind::kChange);
  ASSERT_OK(table.Add(read));
  ASSERT_OK(table.Add(change));
  // Its reply would be held, which lasts.
  EXPECT_FALSE(change->AllowHold(absl::Seconds(1)));
  EXPECT_THAT(table.Add(std::make_shared<OpenCall>(CallKind::kRead)),
              HasReasonOf(Reason::kTooManyCalls));
  lasting[0]->Answer();
  EXPECT_TRUE(change->AllowHold(absl::Seconds(1)));
  read->Answer();
  EXPECT_THAT(table.Add(std::make_shared<OpenCall>(CallKind::kWatch)),
              HasReasonOf(Reason::kTooManyCalls));
  change->Answer();
  EXPECT_OK(table.Add(std::make_shared<OpenCall>(CallKind::kWatch)));
}

TEST(CallLimitsTest, DownloadsAndUploadsHaveALimitOfTheirOwn) {
  CallTable table({.calls_max = 100, .transfers_max = 2});
  auto down = std::make_shared<OpenCall>(CallKind::kDownload);
  auto up = std::make_shared<OpenCall>(CallKind::kUpload);
  ASSERT_OK(table.Add(down));
  ASSERT_OK(table.Add(up));
  auto more = std::make_shared<OpenCall>(CallKind::kDownload);
  EXPECT_THAT(table.Add(more), HasReasonOf(Reason::kTooManyCalls));
  EXPECT_OK(table.Add(std::make_shared<OpenCall>(CallKind::kWatch)));
  up->Answer();
  EXPECT_OK(table.Add(more));
}

TEST(CallLimitsTest, OneConnectionHasAQuarterOfTheDownloadsAndUploads) {
  CallTable table({.calls_max = 100, .transfers_max = 8});
  std::vector<std::shared_ptr<OpenCall>> calls;
  const auto begin = [&](const std::string& peer) {
    return table.Add(calls.emplace_back(std::make_shared<OpenCall>(CallKind::kDownload, peer)));
  };
  EXPECT_OK(begin("ipv4:10.0.0.1:1"));
  EXPECT_OK(begin("ipv4:10.0.0.1:1"));
  EXPECT_THAT(begin("ipv4:10.0.0.1:1"), HasReasonOf(Reason::kTooManyCalls));
  EXPECT_OK(begin("ipv4:10.0.0.1:2"));
  for (int i = 0; i < 5; ++i) EXPECT_OK(begin("unix:"));
  EXPECT_THAT(begin("unix:"), HasReasonOf(Reason::kTooManyCalls));
  calls[0]->Answer();
  EXPECT_OK(begin("ipv4:10.0.0.1:1"));
}

TEST(CallLimitsTest, WhoDoesNotMoveIsEndedAndNobodyElse) {
  CallTable table({});
  auto stuck = std::make_shared<OpenCall>(CallKind::kDownload);
  auto reader = std::make_shared<OpenCall>(CallKind::kWatch);
  auto moved = std::make_shared<OpenCall>(CallKind::kDownload);
  auto waits = std::make_shared<OpenCall>(CallKind::kWait);
  for (const auto& call : {stuck, reader, moved, waits}) ASSERT_OK(table.Add(call));
  for (const auto& call : {stuck, reader, moved}) call->AwaitCaller();
  moved->CallerMoved();
  table.AbortStalled(absl::Hours(1));
  EXPECT_EQ(table.size(), 4);
  table.AbortStalled(absl::ZeroDuration());
  EXPECT_THAT(stuck->sent, HasReasonOf(Reason::kDeadline));
  EXPECT_THAT(reader->sent, HasReasonOf(Reason::kWatchTooSlow));
  EXPECT_TRUE(moved->open());
  EXPECT_TRUE(waits->open());
}

struct NumberPage {
  std::vector<std::shared_ptr<const int>> items;
  std::string next_page_token;
  std::function<std::string(const std::shared_ptr<const int>&)> token_after;
};

TEST(PageTest, EachRecordIsConvertedOnceAndOneTooMany) {
  NumberPage page;
  for (int i = 0; i < 10; ++i) page.items.push_back(std::make_shared<int>(i));
  page.next_page_token = "next";
  page.token_after = [](const auto& item) { return "after " + std::to_string(*item); };
  int converted = 0;
  auto convert = [&](size_t bytes) {
    return [&converted, bytes](int) {
      ++converted;
      v1::Volume volume;
      volume.set_name(std::string(bytes, 'x'));
      return volume;
    };
  };
  v1::ListVolumesResponse response;
  int64_t bytes = 0;
  EXPECT_EQ(FillMessage(page, convert(1 << 20), response.mutable_volumes(), &bytes), "after 1");
  EXPECT_EQ(response.volumes_size(), 2);
  EXPECT_EQ(converted, 3);
  EXPECT_GT(bytes, 2 << 20);
  EXPECT_LT(bytes, 3 << 20);
  converted = 0;
  response.Clear();
  EXPECT_EQ(FillMessage(page, convert(10), response.mutable_volumes(), &bytes), "next");
  EXPECT_EQ(response.volumes_size(), 10);
  EXPECT_EQ(converted, 10);
  response.Clear();
  // One that is too large by itself is sent by itself.
  EXPECT_EQ(FillMessage(page, convert(4 << 20), response.mutable_volumes(), &bytes), "after 0");
  EXPECT_EQ(response.volumes_size(), 1);
}

// A caller that asks and does not read: what HTTP/2 lets through is far less than an answer.
class Unread {
 public:
  Unread(const std::shared_ptr<grpc::Channel>& channel, const v1::ListVolumesRequest& request)
      : stub_(channel) {
    call_ = stub_.PrepareCall(&context_, "/cairn.v1.VolumeService/ListVolumes", &queue_);
    call_->StartCall(Tag(1));
    Next();
    const grpc::Slice slice(request.SerializeAsString());
    grpc::ByteBuffer bytes(&slice, 1);
    call_->WriteLast(bytes, {}, Tag(2));
    Next();
  }
  ~Unread() {
    context_.TryCancel();
    grpc::Status status;
    call_->Finish(&status, Tag(3));
    Next();
  }

 private:
  static void* Tag(intptr_t number) { return reinterpret_cast<void*>(number); }
  void Next() {
    void* tag = nullptr;
    bool ok = false;
    queue_.Next(&tag, &ok);
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

class LimitsTest : public FakeServerTest {
 protected:
  // Volumes of 4 KiB each.
  void AddVolumes(int count) {
    Transaction change;
    for (int i = 0; i < count; ++i) {
      VolumeRecord volume;
      volume.id = NewId();
      volume.state = VolumeState::kAvailable;
      for (int k = 0; k < 16; ++k) {
        volume.labels["label" + std::to_string(k)] = std::string(240, 'x');
      }
      change.put_volumes.push_back(std::move(volume));
    }
    ASSERT_OK(engine_->catalog().CommitAndWait(std::move(change)));
  }
  // With a window that does not grow, so that little is taken before it is read.
  std::shared_ptr<grpc::Channel> NarrowChannel() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 10);
    return grpc::CreateCustomChannel(server_->server().addresses().at(0),
                                     grpc::InsecureChannelCredentials(), arguments);
  }
  static grpc::Status List(const std::shared_ptr<grpc::Channel>& channel) {
    auto volumes = v1::VolumeService::NewStub(channel);
    v1::ListVolumesRequest request;
    request.set_page_size(1000);
    v1::ListVolumesResponse response;
    return CALL(volumes, ListVolumes, request, &response);
  }
};

TEST_F(LimitsTest, WhoDoesNotReadListsGetsNoMoreOfThemAndOthersDo) {
  AddVolumes(1000);
  Start();
  const auto greedy = NarrowChannel();
  v1::ListVolumesRequest request;
  request.set_page_size(1000);
  std::list<Unread> unread;
  // More than 32 MiB of pages of 3 MiB.
  for (int i = 0; i < 24; ++i) unread.emplace_back(greedy, request);
  EXPECT_TRUE(Soon([&] { return WireError::Of(List(greedy)).reason == "TOO_MANY_CALLS"; }));
  EXPECT_THAT(List(server_->NewChannel()), Succeeds());
  v1::GetVolumeRequest get;
  get.set_volume_id(NewId());
  v1::GetVolumeResponse answer;
  auto volumes = v1::VolumeService::NewStub(greedy);
  EXPECT_THAT(CALL(volumes, GetVolume, get, &answer), FailsWith("VOLUME_NOT_FOUND"));
  // What is given up is given back.
  unread.clear();
  EXPECT_TRUE(Soon([&] { return List(greedy).ok(); }));
}

TEST_F(LimitsTest, TheOldestUnreadAnswersAreDropped) {
  AddVolumes(100);
  Start();
  const auto channel = NarrowChannel();
  v1::ListVolumesRequest request;
  request.set_page_size(100);
  Unread first(channel, request);
  UnreadAnswers& unread = server_->server().unread_answers();
  ASSERT_TRUE(Soon([&] { return unread.totals().bytes > 0; }));
  unread.DropOlderThan(absl::Hours(1));
  EXPECT_GT(unread.totals().bytes, 0);
  unread.DropOlderThan(absl::ZeroDuration());
  EXPECT_EQ(unread.totals().bytes, 0);
  EXPECT_THAT(List(channel), Succeeds());
}

TEST_F(LimitsTest, WatchesAndWaitsDoNotShutOthersOut) {
  config_.max_active_calls = 8;
  Start();
  std::list<grpc::ClientContext> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchVolumesResponse>>> watches;
  v1::WatchVolumesResponse event;
  for (int i = 0; i < 6; ++i) {
    watches.push_back(volumes_->WatchVolumes(&contexts.emplace_back(), {}));
    ASSERT_TRUE(watches.back()->Read(&event));
  }
  grpc::ClientContext context;
  auto refused = volumes_->WatchVolumes(&context, {});
  EXPECT_FALSE(refused->Read(&event));
  EXPECT_THAT(refused->Finish(), FailsWith("TOO_MANY_CALLS"));
  EXPECT_THAT(List(server_->channel()), Succeeds());
  // A change is answered as it is instead of being held.
  engine_->submit = [&](Request, Caller, OperationCallback done) { done(RunningOperation()); };
  engine_->wait = [](const std::string&, MonotonicTime, const OperationCallback&) {
    ADD_FAILURE() << "held";
    return Engine::Subscription{1};
  };
  EXPECT_THAT(Extend(absl::Seconds(30), absl::Seconds(60)), Succeeds());
  for (grpc::ClientContext& watching : contexts) watching.TryCancel();
  for (auto& watch : watches) watch->Finish();
}

TEST_F(LimitsTest, ACompressedMessageIsRefusedUnread) {
  Start();
  v1::GetVolumeRequest request;
  request.set_volume_id(std::string(1 << 20, 'a'));
  for (grpc_compression_algorithm algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    grpc::ClientContext context;
    context.set_compression_algorithm(algorithm);
    v1::GetVolumeResponse response;
    EXPECT_EQ(volumes_->GetVolume(&context, request, &response).error_code(),
              grpc::StatusCode::UNIMPLEMENTED);
  }
}

}  // namespace
}  // namespace cairn::testing
