// A minimal harness for native tests: TEST registers a case, the CHECK macros report and go on.
// main() is in main.cc; `native-tests FILTER` runs the cases whose name contains FILTER.
#pragma once

#include <cmath>
#include <iostream>
#include <string>
#include <vector>

namespace tramontane::test {

struct Case {
  const char* file;
  const char* name;
  void (*run)();
};

std::vector<Case>& cases();
void fail(const char* file, int line, const std::string& message);

struct Registration {
  Registration(const char* file, const char* name, void (*run)()) {
    cases().push_back({file, name, run});
  }
};

}  // namespace tramontane::test

#define TEST_CONCAT_(a, b) a##b
#define TEST_CONCAT(a, b) TEST_CONCAT_(a, b)
#define TEST(name) TEST_AT(name, __LINE__)
#define TEST_AT(name, line)                                                            \
  static void TEST_CONCAT(test_case_, line)();                                         \
  static const ::tramontane::test::Registration TEST_CONCAT(test_registration_, line)( \
      __FILE__, name, TEST_CONCAT(test_case_, line));                                  \
  static void TEST_CONCAT(test_case_, line)()

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) ::tramontane::test::fail(__FILE__, __LINE__, #condition); \
  } while (false)
#define CHECK_EQ(a, b)                                                                            \
  do {                                                                                            \
    const auto left_ = (a);                                                                       \
    const auto right_ = (b);                                                                      \
    if (!(left_ == right_))                                                                       \
      ::tramontane::test::fail(__FILE__, __LINE__,                                                \
                               std::string(#a " == " #b ": ") + std::to_string(left_) + " and " + \
                                   std::to_string(right_));                                       \
  } while (false)
#define CHECK_NEAR(a, b, tolerance)                                                       \
  do {                                                                                    \
    const double left_ = (a), right_ = (b);                                               \
    if (!(std::fabs(left_ - right_) <= (tolerance)))                                      \
      ::tramontane::test::fail(__FILE__, __LINE__,                                        \
                               std::string(#a " near " #b ": ") + std::to_string(left_) + \
                                   " and " + std::to_string(right_));                     \
  } while (false)
