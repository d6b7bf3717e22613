// Several lambdas as one function object, for std::visit:
//
//   std::visit(Overloaded{[](const A& a) { ... }, [](const B& b) { ... }}, variant);
#ifndef CAIRN_LIB_BASE_OVERLOADED_H_
#define CAIRN_LIB_BASE_OVERLOADED_H_

namespace cairn {

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
// Deduced by itself in C++20, but not yet by clang 14.
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_OVERLOADED_H_
