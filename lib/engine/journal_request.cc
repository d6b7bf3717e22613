#include "lib/engine/journal_request.h"

#include <openssl/evp.h>

#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"

namespace cairn {
namespace {

constexpr char kAsked[] = "asked";
constexpr char kDigest[] = "asked_sha256";

// Empty when OpenSSL cannot; the request is then kept in full.
std::string DigestOf(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    return "";
  }
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
}

nlohmann::json AskedToJson(std::string_view asked) {
  if (asked.empty()) return nlohmann::json::object();
  std::string digest = DigestOf(asked);
  if (digest.empty()) return {{kAsked, std::string(asked)}};
  return {{kDigest, std::move(digest)}};
}

}  // namespace

std::string ToJournal(std::string_view asked, const Request& filled,
                      const std::vector<LockKey>& locks) {
  nlohmann::json json = AskedToJson(asked);
  json["request"] = RequestToJson(filled);
  for (const LockKey& lock : locks) json["locks"].push_back({lock.key, lock.exclusive});
  return DumpJson(json);
}

absl::StatusOr<JournalledRequest> FromJournal(OperationKind kind, std::string_view journalled) {
  ASSIGN_OR_RETURN(auto json, ParseJson("journalled request", journalled));
  JournalledRequest out;
  ASSIGN_OR_RETURN(out.request, RequestFromJson(kind, JsonValue<std::string>(json, "request", "")));
  if (!json.contains("locks")) return out;
  for (const auto& lock : json["locks"]) {
    if (lock.is_array() && lock.size() == 2 && lock[0].is_string() && lock[1].is_boolean()) {
      out.locks.push_back({lock[0].get<std::string>(), lock[1].get<bool>()});
    }
  }
  return out;
}

std::string JournalAtEnd(std::string_view journalled) {
  auto json = ParseJson("journalled request", journalled);
  if (!json.ok()) return std::string(journalled);
  nlohmann::json left = AskedToJson(JsonValue<std::string>(*json, kAsked, ""));
  if (std::string digest = JsonValue<std::string>(*json, kDigest, ""); !digest.empty()) {
    left[kDigest] = std::move(digest);
  }
  return left.empty() ? "" : DumpJson(left);
}

bool WasAsked(std::string_view journalled, std::string_view asked) {
  auto json = ParseJson("journalled request", journalled);
  if (!json.ok()) return false;
  std::string digest = JsonValue<std::string>(*json, kDigest, "");
  if (!digest.empty()) return digest == DigestOf(asked);
  return JsonValue<std::string>(*json, kAsked, "") == asked;
}

}  // namespace cairn
