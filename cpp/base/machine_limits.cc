#include "base/machine_limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/cpu_features.h"
#include "base/inline.h"
#include "base/prefetch.h"

// The loops hide their operands in inline assembly, which MSVC does not have.
#if defined(__x86_64__) && !defined(_MSC_VER)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace tramontane {

void keep(uint64_t value) {
  [[maybe_unused]] static volatile uint64_t sink;
  sink = value;
}

namespace {

constexpr int kSteps = 1 << 14;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// `operations` are those of one step of the loop.
[[maybe_unused]] double rate(uint64_t (*loop)(), int operations) {
  const double start = seconds();
  int times = 0;
  do {
    keep(loop());
    ++times;
  } while (seconds() - start < 0.01);
  return static_cast<double>(operations) * kSteps * times / (seconds() - start);
}

[[maybe_unused]] uint64_t read_words(const uint8_t* data, size_t bytes) {
  uint64_t sums[4] = {};
  for (size_t i = 0; i + 32 <= bytes; i += 32) {
    uint64_t words[4];
    std::memcpy(words, data + i, sizeof words);
    for (int j = 0; j < 4; ++j) sums[j] ^= words[j];
  }
  return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
}

}  // namespace

#if defined(__x86_64__) && !defined(_MSC_VER)

namespace {

__attribute__((target("avx2"))) uint64_t read_vectors(const uint8_t* data, size_t bytes) {
  __m256i sums[4] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    for (int j = 0; j < 4; ++j) prefetch(data + i + 4096 + 64 * j);
    for (int j = 0; j < 8; ++j) {
      const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + 32 * j));
      sums[j % 4] = _mm256_xor_si256(sums[j % 4], x);
    }
  }
  const __m256i all =
      _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm256_extract_epi64(all, 0) ^ _mm256_extract_epi64(all, 1) ^
                               _mm256_extract_epi64(all, 2) ^ _mm256_extract_epi64(all, 3));
}

constexpr int kChains = 8;

// Instructions by name: compilers put copies around intrinsics in such loops, which then run at
// half the speed.
__attribute__((target("avx2"))) uint64_t madd_each_product() {
  __m256i sums[kChains];
  TRAMONTANE_UNROLL
  for (int j = 0; j < kChains; ++j) sums[j] = _mm256_setzero_si256();
  const __m256i w = _mm256_set1_epi8(3), a = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
  for (int i = 0; i < kSteps; ++i) {
    TRAMONTANE_UNROLL
    for (int j = 0; j < kChains; ++j) {
      __m256i product;
      __asm__ volatile("vpmaddubsw %2, %1, %0" : "=x"(product) : "x"(w), "x"(a));
      __asm__ volatile("vpmaddwd %1, %0, %0" : "+x"(product) : "x"(ones));
      __asm__ volatile("vpaddd %1, %0, %0" : "+x"(sums[j]) : "x"(product));
    }
  }
  TRAMONTANE_UNROLL
  for (int j = 1; j < kChains; ++j) sums[0] = _mm256_add_epi32(sums[0], sums[j]);
  return static_cast<uint64_t>(_mm256_extract_epi64(sums[0], 0));
}

__attribute__((target("avx2"))) uint64_t madd_each_eighth() {
  __m256i sums[4];
  TRAMONTANE_UNROLL
  for (int j = 0; j < 4; ++j) sums[j] = _mm256_setzero_si256();
  const __m256i w = _mm256_set1_epi8(3), a = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
  for (int i = 0; i < kSteps / 4; ++i) {
    __m256i products[4];
    TRAMONTANE_UNROLL
    for (int j = 0; j < 4; ++j) {
      __asm__ volatile("vpmaddubsw %2, %1, %0" : "=x"(products[j]) : "x"(w), "x"(a));
    }
    TRAMONTANE_UNROLL
    for (int k = 1; k < 8; ++k) {
      TRAMONTANE_UNROLL
      for (int j = 0; j < 4; ++j) {
        __m256i product;
        __asm__ volatile("vpmaddubsw %2, %1, %0" : "=x"(product) : "x"(w), "x"(a));
        __asm__ volatile("vpaddw %1, %0, %0" : "+x"(products[j]) : "x"(product));
      }
    }
    TRAMONTANE_UNROLL
    for (int j = 0; j < 4; ++j) {
      __asm__ volatile("vpmaddwd %1, %0, %0" : "+x"(products[j]) : "x"(ones));
      __asm__ volatile("vpaddd %1, %0, %0" : "+x"(sums[j]) : "x"(products[j]));
    }
  }
  const __m256i all =
      _mm256_add_epi32(_mm256_add_epi32(sums[0], sums[1]), _mm256_add_epi32(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm256_extract_epi64(all, 0));
}

// More chains than dpbusd's latency (4 to 5) by its rate (2 a cycle).
constexpr int kDotChains = 12;

__attribute__((target("avx512f,avx512vnni"))) uint64_t dot_sixteen() {
  __m512i sums[kDotChains];
  TRAMONTANE_UNROLL
  for (int j = 0; j < kDotChains; ++j) sums[j] = _mm512_setzero_si512();
  const __m512i w = _mm512_set1_epi32(0x03030303), a = _mm512_set1_epi32(0x05050505);
  for (int i = 0; i < kSteps; ++i) {
    TRAMONTANE_UNROLL
    for (int j = 0; j < kDotChains; ++j) {
      __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sums[j]) : "v"(w), "v"(a));
    }
  }
  TRAMONTANE_UNROLL
  for (int j = 1; j < kDotChains; ++j) sums[0] = _mm512_add_epi32(sums[0], sums[j]);
  uint64_t all[8];
  _mm512_storeu_si512(all, sums[0]);
  return all[0];
}

#if __has_include(<avxvnniintrin.h>)
__attribute__((target("avx2,avxvnni"))) uint64_t dot_eight() {
  __m256i sums[kDotChains];
  TRAMONTANE_UNROLL
  for (int j = 0; j < kDotChains; ++j) sums[j] = _mm256_setzero_si256();
  const __m256i w = _mm256_set1_epi8(3), a = _mm256_set1_epi8(5);
  for (int i = 0; i < kSteps; ++i) {
    TRAMONTANE_UNROLL
    for (int j = 0; j < kDotChains; ++j) {
      __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums[j]) : "x"(w), "x"(a));
    }
  }
  TRAMONTANE_UNROLL
  for (int j = 1; j < kDotChains; ++j) sums[0] = _mm256_add_epi32(sums[0], sums[j]);
  return static_cast<uint64_t>(_mm256_extract_epi64(sums[0], 0));
}
#endif

}  // namespace

uint64_t read_all(const uint8_t* data, size_t bytes) {
  return cpu_features().avx2 ? read_vectors(data, bytes) : read_words(data, bytes);
}

double int8_peak() {
  const CpuFeatures& features = cpu_features();
  if (!features.avx2) return 0;
  double best = 0;
  if (features.avx512_vnni) best = rate(dot_sixteen, 128 * kDotChains);
#if __has_include(<avxvnniintrin.h>)
  if (features.avx_vnni) best = std::max(best, rate(dot_eight, 64 * kDotChains));
#endif
  if (best > 0) return best;
  return std::max(rate(madd_each_product, 64 * kChains), rate(madd_each_eighth, 64 * 8));
}

#elif defined(__aarch64__)

uint64_t read_all(const uint8_t* data, size_t bytes) {
  uint8x16_t sums[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    for (int j = 0; j < 4; ++j) prefetch(data + i + 4096 + 64 * j);
    for (int j = 0; j < 16; ++j) sums[j % 4] = veorq_u8(sums[j % 4], vld1q_u8(data + i + 16 * j));
  }
  const uint64x2_t all =
      vreinterpretq_u64_u8(veorq_u8(veorq_u8(sums[0], sums[1]), veorq_u8(sums[2], sums[3])));
  return vgetq_lane_u64(all, 0) ^ vgetq_lane_u64(all, 1);
}

namespace {

// More chains than the latency (3 to 4) of sdot and smmla by their rate (2 to 4 a cycle).
constexpr int kDotChains = 16;

// One function for both instructions, which is compiled for the later one.
#if defined(__clang__)
#define TRAMONTANE_I8MM __attribute__((target("dotprod,i8mm")))
#else
#define TRAMONTANE_I8MM __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))
#endif

template <bool kMatrices>
TRAMONTANE_I8MM uint64_t dot_vectors() {
  int32x4_t sums[kDotChains];
  TRAMONTANE_UNROLL
  for (int j = 0; j < kDotChains; ++j) sums[j] = vdupq_n_s32(0);
  const int8x16_t w = vdupq_n_s8(3), a = vdupq_n_s8(5);
  for (int i = 0; i < kSteps; ++i) {
    TRAMONTANE_UNROLL
    for (int j = 0; j < kDotChains; ++j) {
      if constexpr (kMatrices) {
        __asm__ volatile("smmla %0.4s, %1.16b, %2.16b" : "+w"(sums[j]) : "w"(w), "w"(a));
      } else {
        __asm__ volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(sums[j]) : "w"(w), "w"(a));
      }
    }
  }
  TRAMONTANE_UNROLL
  for (int j = 1; j < kDotChains; ++j) sums[0] = vaddq_s32(sums[0], sums[j]);
  return static_cast<uint64_t>(vaddvq_s32(sums[0]));
}

}  // namespace

double int8_peak() {
  if (cpu_features().neon_i8mm) return rate(dot_vectors<true>, 64 * kDotChains);
  return cpu_features().neon_dot ? rate(dot_vectors<false>, 32 * kDotChains) : 0;
}

#else

uint64_t read_all(const uint8_t* data, size_t bytes) { return read_words(data, bytes); }

double int8_peak() { return 0; }

#endif

}  // namespace tramontane
