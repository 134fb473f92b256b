// Linear layers for AVX2, FMA and F16C.
//
// Lanes are outputs, eight at a time. For each group of 32 inputs the integers of a lane make one
// exact int32, which joins the lane's float by one FMA, groups in ascending order. Both paths, the
// one that unpacks rows in place (few rows) and the one that packs panels (many), take these same
// steps, so they give the same bits.
#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET avx2

#include "base/half.h"
#include "cpu/linear/x86/avx2_float.h"
#include "cpu/linear/x86/avx2_formats.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::avx2 {
namespace {

// The largest lane, all of them at least 0.
inline int max_lane(__m256i x) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return _mm_cvtsi128_si32(m);
}

inline int16_t sum_bytes(__m128i q) {
  const __m256i words = _mm256_cvtepi8_epi16(q);
  const __m256i sums = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  return static_cast<int16_t>(_mm_cvtsi128_si32(s));
}

// The level of the block's largest value that leaves the least squared error: see kLevels.
inline int best_level(const __m256 v[4], float amax) {
  float least = std::numeric_limits<float>::infinity();
  int best = kLargestLevel;
  for (int level = kLargestLevel; level > kLargestLevel - kLevels; --level) {
    const __m256 scale = _mm256_set1_ps(amax / static_cast<float>(level));
    const __m256 inverse = _mm256_set1_ps(static_cast<float>(level) / amax);
    __m256 error = _mm256_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      const __m256 rounded = _mm256_round_ps(_mm256_mul_ps(v[i], inverse),
                                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
      const __m256 off = _mm256_fnmadd_ps(rounded, scale, v[i]);
      error = _mm256_fmadd_ps(off, off, error);
    }
    const float sum = sum_lanes(error);
    if (sum < least) {
      least = sum;
      best = level;
    }
  }
  return best;
}

void quantize(const float* values, int32_t columns, int8_t* q, float* scales, int16_t* sums) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  for (int32_t first = 0; first < columns; first += 32) {
    __m256 v[4];
    __m256i largest = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i) {
      v[i] = _mm256_loadu_ps(values + first + 8 * i);
      largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
    }
    const uint32_t bits = static_cast<uint32_t>(max_lane(largest));
    const float amax = float_from_bits(bits);
    const bool tiny = bits < 0x04800000u;  // 2^-118
    const bool finite = bits < 0x7f800000u;
    const int level = tiny || !finite ? kLargestLevel : best_level(v, amax);
    const __m256 inverse =
        _mm256_set1_ps(tiny || !finite ? 0.0f : static_cast<float>(level) / amax);
    const __m256 keep = _mm256_castsi256_ps(_mm256_set1_epi32(finite ? -1 : 0));
    __m256i n[4];
    __m256 product = _mm256_setzero_ps(), square = _mm256_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      const __m256 scaled = _mm256_mul_ps(_mm256_and_ps(v[i], keep), inverse);
      n[i] = _mm256_cvtps_epi32(scaled);
      const __m256 rounded = _mm256_cvtepi32_ps(n[i]);
      product = _mm256_fmadd_ps(scaled, rounded, product);
      square = _mm256_fmadd_ps(rounded, rounded, square);
    }
    const float fit = tiny || !finite ? 1.0f : sum_lanes(product) / sum_lanes(square);
    scales[first / 32] = tiny ? 0.0f : amax / static_cast<float>(level) * fit;
    const __m256i low = _mm256_packs_epi32(n[0], n[1]), high = _mm256_packs_epi32(n[2], n[3]);
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high),
                                                      _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + first), bytes);
    sums[first / 16] = sum_bytes(_mm256_castsi256_si128(bytes));
    sums[first / 16 + 1] = sum_bytes(_mm256_extracti128_si256(bytes, 1));
  }
}

void linear(const LinearTask& task) {
  switch (task.weight->format) {
    case Format::kF32:
      return linear_float<LoadF32>(task);
    case Format::kF16:
      return linear_float<LoadF16>(task);
    case Format::kBF16:
      return linear_float<LoadBF16>(task);
    default:
      with_source<kLanes>(task, [&](const auto& source) { linear_int8(task, source); });
  }
}

size_t scratch_bytes(int32_t columns, int32_t rows) {
  // The shape with the most vectors and words of all.
  using Largest = Panel<Unpack<Format::kQ2_K, ByOutputs>::ShapeType>;
  return std::max({kInPlaceRows * word_bytes(columns), PanelScratch<Largest>::bytes(rows),
                   kGptqScratchBytes + word_bytes(columns), float_scratch_bytes(columns)});
}

}  // namespace
}  // namespace tramontane::cpu::avx2

#include "cpu/target/end.h"

namespace tramontane::cpu {

extern const LinearKernels kAvx2Linear = {avx2::quantize, avx2::linear, avx2::linear_f32,
                                          avx2::scratch_bytes, avx2::kPanelOutputs};

}  // namespace tramontane::cpu

#endif
