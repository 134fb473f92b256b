#include "base/cpu_features.h"

#include <cstdint>

#if defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tramontane {
namespace {

#if defined(__x86_64__) || defined(_M_X64)

struct Registers {
  uint32_t eax, ebx, ecx, edx;
};

Registers cpuid(uint32_t leaf) {
#if defined(_M_X64)
  int values[4];
  __cpuidex(values, static_cast<int>(leaf), 0);
  return {static_cast<uint32_t>(values[0]), static_cast<uint32_t>(values[1]),
          static_cast<uint32_t>(values[2]), static_cast<uint32_t>(values[3])};
#else
  Registers registers{};
  __cpuid_count(leaf, 0, registers.eax, registers.ebx, registers.ecx, registers.edx);
  return registers;
#endif
}

// The register sets the operating system saves.
uint64_t saved_state() {
#if defined(_M_X64)
  return _xgetbv(0);
#else
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

CpuFeatures detect() {
  CpuFeatures features;
  if (cpuid(0).eax < 7) return features;
  const uint32_t ecx1 = cpuid(1).ecx;
  const uint32_t ebx7 = cpuid(7).ebx;
  const bool fma = (ecx1 >> 12) & 1, osxsave = (ecx1 >> 27) & 1, f16c = (ecx1 >> 29) & 1;
  const bool ymm = osxsave && (saved_state() & 6) == 6;
  features.avx2 = ymm && fma && f16c && ((ebx7 >> 5) & 1);
  return features;
}

#else

CpuFeatures detect() { return {}; }

#endif

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

}  // namespace tramontane
