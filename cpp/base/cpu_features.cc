#include "base/cpu_features.h"

#include <cstdint>

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(_M_ARM64)
#include <windows.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace tramontane {
namespace {

#if defined(__x86_64__) || defined(_M_X64)

struct Registers {
  uint32_t eax, ebx, ecx, edx;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
#if defined(_MSC_VER) && defined(_M_X64)
  int values[4];
  __cpuidex(values, static_cast<int>(leaf), static_cast<int>(subleaf));
  return {static_cast<uint32_t>(values[0]), static_cast<uint32_t>(values[1]),
          static_cast<uint32_t>(values[2]), static_cast<uint32_t>(values[3])};
#else
  Registers registers{};
  __cpuid_count(leaf, subleaf, registers.eax, registers.ebx, registers.ecx, registers.edx);
  return registers;
#endif
}

// The register sets the operating system saves.
uint64_t saved_state() {
#if defined(_MSC_VER) && defined(_M_X64)
  return _xgetbv(0);
#else
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

bool bit(uint32_t word, int index) { return (word >> index) & 1; }

// Linux gives tiles to processes that ask for them: their threads' saved state grows by 8 KiB.
bool may_use_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

CpuFeatures detect() {
  CpuFeatures features;
  if (cpuid(0).eax < 7) return features;
  const uint32_t ecx1 = cpuid(1).ecx;
  const Registers leaf7 = cpuid(7);
  const bool fma = bit(ecx1, 12), osxsave = bit(ecx1, 27), f16c = bit(ecx1, 29);
  const uint64_t saved = osxsave ? saved_state() : 0;
  const bool ymm = (saved & 0x06) == 0x06;
  const bool zmm = (saved & 0xe6) == 0xe6;  // And masks, and registers 16 to 31.
  features.avx2 = ymm && fma && f16c && bit(leaf7.ebx, 5);
  features.avx_vnni = features.avx2 && leaf7.eax >= 1 && bit(cpuid(7, 1).eax, 4);
  const bool f = bit(leaf7.ebx, 16), dq = bit(leaf7.ebx, 17);
  const bool bw = bit(leaf7.ebx, 30), vl = bit(leaf7.ebx, 31);
  features.avx512_vnni = features.avx2 && zmm && f && dq && bw && vl && bit(leaf7.ecx, 11);
  const bool tiles = (saved & 0x60000) == 0x60000;
  features.amx_int8 =
      features.avx512_vnni && tiles && bit(leaf7.edx, 24) && bit(leaf7.edx, 25) && may_use_tiles();
  return features;
}

#elif defined(_M_ARM64)

CpuFeatures detect() {
  CpuFeatures features;
  features.neon_dot = IsProcessorFeaturePresent(PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE);
  return features;
}

#elif defined(__aarch64__) && defined(__APPLE__)

bool has(const char* feature) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value != 0;
}

CpuFeatures detect() {
  CpuFeatures features;
  features.neon_dot = has("hw.optional.arm.FEAT_DotProd");
  features.neon_i8mm = features.neon_dot && has("hw.optional.arm.FEAT_I8MM");
  return features;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures detect() {
  CpuFeatures features;
  features.neon_dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  features.neon_i8mm = features.neon_dot && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
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
