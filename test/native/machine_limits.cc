#include "machine_limits.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

void keep(uint64_t value) {
  [[maybe_unused]] static volatile uint64_t sink;
  sink = value;
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) uint64_t read_all(const uint8_t* data, size_t bytes) {
  __m256i sums[4] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    for (int j = 0; j < 4; ++j) _mm_prefetch(data + i + 4096 + 64 * j, _MM_HINT_T0);
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

namespace {

constexpr int kChains = 8;
constexpr int kSteps = 1 << 14;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The compiler must neither fold nor hoist: operands pass through empty assembly.
__attribute__((target("avx2"))) uint64_t madd_each_product() {
  __m256i sums[kChains] = {};
  __m256i w = _mm256_set1_epi8(3), a = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int i = 0; i < kSteps; ++i) {
    for (int j = 0; j < 8; ++j) {
      __asm__ volatile("" : "+x"(w), "+x"(a));
      sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), ones));
    }
  }
  __m256i all = sums[0];
  for (int j = 1; j < kChains; ++j) all = _mm256_add_epi32(all, sums[j]);
  return static_cast<uint64_t>(_mm256_extract_epi64(all, 0));
}

__attribute__((target("avx2"))) uint64_t madd_each_eighth() {
  __m256i sums[4] = {};
  __m256i w = _mm256_set1_epi8(3), a = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int i = 0; i < kSteps / 4; ++i) {
    __m256i products[4];
    for (int k = 0; k < 8; ++k) {
      for (int j = 0; j < 4; ++j) {
        __asm__ volatile("" : "+x"(w), "+x"(a));
        const __m256i product = _mm256_maddubs_epi16(w, a);
        products[j] = k == 0 ? product : _mm256_add_epi16(products[j], product);
      }
    }
    for (int j = 0; j < 4; ++j) {
      sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(products[j], ones));
    }
  }
  const __m256i all =
      _mm256_add_epi32(_mm256_add_epi32(sums[0], sums[1]), _mm256_add_epi32(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm256_extract_epi64(all, 0));
}

double rate(uint64_t (*loop)()) {
  const double start = seconds();
  int times = 0;
  do {
    keep(loop());
    ++times;
  } while (seconds() - start < 0.01);
  return 64.0 * 8 * kSteps * times / (seconds() - start);
}

}  // namespace

double int8_peak() { return std::max(rate(madd_each_product), rate(madd_each_eighth)); }

#endif
