// What a guest sees of an image, and writes into it, without a child process and without lib/: a test of
// thousands of small cases has no time for the first and needs a judge other than the second.
//
// Understands what the tests make: qcow2 version 3 with 64 KiB clusters, 16-bit refcounts, one refcount
// block, at most 512 MiB, neither compressed nor encrypted. Content is counted in clusters.
#ifndef CAIRN_TESTS_UNIT_ENGINE_FAULTS_GUEST_CONTENT_H_
#define CAIRN_TESTS_UNIT_ENGINE_FAULTS_GUEST_CONTENT_H_

#include <cstdint>
#include <string>

#include "lib/base/format.h"

namespace cairn::testing {

inline constexpr int64_t kGuestCluster = 64 * 1024;

// The clusters of an image with all that lies below it, in words: "01 01 . 3f" for clusters that hold
// one byte throughout ("." is zeros), without the zeros at the end, and the size. What cannot be read
// is said in its place.
std::string GuestContent(const std::string& directory, const std::string& file, FileFormat format);

// Fills one cluster of an image with a byte, as a guest's write does. False when it could not.
bool GuestWrite(const std::string& path, FileFormat format, int64_t cluster, uint8_t byte);

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_ENGINE_FAULTS_GUEST_CONTENT_H_
