// Image files, told by their first bytes: what is in them is not the disk's own content, so that
// uploaded as they are they would make a broken disk.
#ifndef CAIRN_CLIENT_CAIRNCTL_IMAGE_FORMAT_H_
#define CAIRN_CLIENT_CAIRNCTL_IMAGE_FORMAT_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "cairn/client/transfer.h"

namespace cairn::cairnctl {

// INVALID_ARGUMENT, with what to do, when `head` is the beginning of an image or of something
// compressed. `name`: what the user called it.
absl::Status CheckRawContent(std::string_view head, const std::string& name);

// A source whose beginning can be looked at before it is sent, also that of a pipe. Not owned:
// `source`.
class PeekedSource : public client::ContentSource {
 public:
  explicit PeekedSource(client::ContentSource* source) : source_(source) {}

  // The first piece's data, empty where the content begins with zeros. Before Next.
  absl::StatusOr<std::string_view> Peek();

  int64_t size_bytes() const override { return source_->size_bytes(); }
  absl::StatusOr<client::ContentPiece> Next() override;
  absl::Status Rewind() override;

 private:
  client::ContentSource* const source_;
  client::ContentPiece first_;
  bool holds_first_ = false;
};

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_IMAGE_FORMAT_H_
