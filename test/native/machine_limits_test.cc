// What speeds are compared with. These tests also run on an emulated processor without AVX2, where
// an instruction that it lacks ends them.
#include "base/machine_limits.h"

#include <cstring>
#include <random>

#include "base/cpu_features.h"
#include "test.h"

using namespace tramontane;

TEST("memory is read whole, whatever loads the processor has") {
  constexpr size_t kBytes = 1 << 16;
  std::vector<uint8_t> bytes(kBytes + 1);
  std::mt19937 random(1);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  uint64_t expected = 0;
  for (size_t i = 0; i < kBytes; i += 8) {
    uint64_t word;
    std::memcpy(&word, &bytes[1 + i], sizeof word);
    expected ^= word;
  }
  CHECK(read_all(&bytes[1], kBytes) == expected);
}

TEST("the int8 peak is of instructions that the processor has") {
  const double peak = int8_peak();
  CHECK(peak >= 0 && std::isfinite(peak));
#if defined(__GNUC__)
  CHECK_EQ(peak > 0, cpu_features().avx2 || cpu_features().neon_dot);
#endif
}
