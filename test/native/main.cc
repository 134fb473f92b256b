#include <atomic>
#include <exception>
#include <mutex>

#include "test.h"

namespace tramontane::test {

// Checks may run on any thread of a case.
static std::atomic<int> failures{0};

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

void fail(const char* file, int line, const std::string& message) {
  static std::mutex output;
  const std::lock_guard lock(output);
  ++failures;
  std::cerr << file << ":" << line << ": " << message << "\n";
}

}  // namespace tramontane::test

int main(int argc, char** argv) {
  using namespace tramontane::test;
  int run = 0, failed = 0;
  for (const Case& c : cases()) {
    const std::string name = std::string(c.file) + ": " + c.name;
    if (argc > 1 && name.find(argv[1]) == std::string::npos) continue;
    const int before = failures;
    try {
      c.run();
    } catch (const std::exception& error) {
      fail(c.file, 0, std::string("threw ") + error.what());
    }
    ++run;
    if (failures != before) {
      ++failed;
      std::cerr << "FAILED " << name << "\n";
    }
  }
  std::cout << run - failed << " passed, " << failed << " failed\n";
  return failed != 0 || run == 0;
}
