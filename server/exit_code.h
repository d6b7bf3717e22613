// What cairnd's exit status means.
#ifndef CAIRN_SERVER_EXIT_CODE_H_
#define CAIRN_SERVER_EXIT_CODE_H_

namespace cairn {

inline constexpr int kExitClean = 0;
inline constexpr int kExitStartFailed = 1;
inline constexpr int kExitUsage = 2;
// sysexits.h's EX_TEMPFAIL: could not stop in time; the next start takes up what was left.
inline constexpr int kExitStuck = 75;

}  // namespace cairn

#endif  // CAIRN_SERVER_EXIT_CODE_H_
