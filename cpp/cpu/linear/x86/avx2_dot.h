// Products of quantized weights and int8 activations.
#pragma once

#include "cpu/linear/linear.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

constexpr int kLanes = 8;

constexpr int kNoZero = 0, kOwnZeros = -1;

// What the dot products need to know of a format at compile time.
template <int kSubgroup_, int kBits_, bool kInner_, int kZero_, bool kOffset_>
struct Shape {
  using ShapeType = Shape;
  static constexpr int kSubgroup = kSubgroup_;  // Inputs that share a scale: 16 or 32.
  static constexpr int kBits = kBits_;          // Of unsigned integers; 8: signed.
  static constexpr bool kInner = kInner_;       // There are integer scales inside a block.
  static constexpr int kZero = kZero_;          // The zero point of all outputs; kOwnZeros: theirs.
  static constexpr bool kOffset = kOffset_;     // There is a float offset.
  static constexpr int kSubgroups = 32 / kSubgroup;
};

// 32 inputs of 8 outputs. Weight i of a lane is scale * inner[i / 16] * (w[i] - zero) + offset.
struct UnpackedGroup {
  __m256i w[8];      // Vector j: inputs 4j to 4j + 3 (or by rows: see avx2_unpack.h).
  __m256i inner[2];  // Pairs of equal int16, one vector a subgroup.
  __m256i zero;      // kOwnZeros: int16 that meet the two sums of 16 activations, inner * zero.
  __m256 scale;
  __m256 offset[2];  // One vector a subgroup.
};

// A sum that is pinned is taken here and now. Without it compilers take all products of a tile
// before any sum, which needs more registers than there are.
template <class Vector>
TRAMONTANE_INLINE void pin_vector([[maybe_unused]] Vector& value) {
#if defined(__GNUC__)
  __asm__("" : "+x"(value));
#endif
}

// A pointer that is hidden is computed here and now. Compilers would else keep one register for
// each row of a tile, and all totals of a tile across its loop.
template <class T>
TRAMONTANE_INLINE void hide([[maybe_unused]] T*& pointer) {
#if defined(__GNUC__)
  __asm__("" : "+r"(pointer));
#endif
}

// Loads and prefetches before it come before those after it.
TRAMONTANE_INLINE void stay_in_order() {
#if defined(__GNUC__)
  __asm__ volatile("" : : : "memory");
#endif
}

TRAMONTANE_INLINE __m256i constant(int byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }

TRAMONTANE_INLINE __m128i load16(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

TRAMONTANE_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

TRAMONTANE_INLINE __m256i broadcast_word(const void* p) {
  int value;
  std::memcpy(&value, p, sizeof value);
  return _mm256_set1_epi32(value);
}

TRAMONTANE_INLINE __m256i broadcast16(const int8_t* p) {
  return _mm256_broadcastsi128_si256(load16(reinterpret_cast<const uint8_t*>(p)));
}

// How many products of maddubs fit the sum of an int16: 2 * 15 * 127 * 8 = 30480.
template <class S>
constexpr int kProductsPerSum = S::kBits == 8   ? 1
                                : S::kBits == 6 ? 2
                                : S::kBits == 5 ? 4
                                                : 8;

// Pairs of products of 4 inputs, int16. Signed weights: |w| times the activations with w's sign.
template <class S>
TRAMONTANE_INLINE __m256i byte_products(__m256i w, __m256i a) {
  if constexpr (S::kBits == 8) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
  } else {
    return _mm256_maddubs_epi16(w, a);
  }
}

// What zero points and offsets need of a row's group, in words of 32 bits:
//   one zero point       int32, its share of the sum
//   the outputs' own     the two sums of 16 activations, which they meet
//   offsets              a float for each subgroup, scale * sum
template <class S>
constexpr int kWordsOf = S::kOffset ? S::kSubgroups : 1;

template <class S>
void write_words(const float* scales, const int16_t* sums, int32_t groups, int32_t* words) {
  static_assert(S::kZero == kNoZero || !S::kOffset);
  if constexpr (S::kZero == kOwnZeros) {
    std::memcpy(words, sums, static_cast<size_t>(groups) * sizeof *words);
  } else if constexpr (S::kZero != kNoZero) {
    for (int32_t g = 0; g < groups; ++g) words[g] = (sums[2 * g] + sums[2 * g + 1]) * S::kZero;
  } else if constexpr (S::kOffset) {
    constexpr int kSums = S::kSubgroup / 16;  // In a subgroup.
    for (int32_t i = 0; i < groups * S::kSubgroups; ++i) {
      const int sum = kSums == 1 ? sums[i] : sums[2 * i] + sums[2 * i + 1];
      const float word = static_cast<float>(sum) * scales[i / S::kSubgroups];
      std::memcpy(words + i, &word, sizeof word);
    }
  } else {
    std::fill_n(words, groups, 0);  // Nobody reads them, but they are copied with the rest.
  }
}

// One row of activations from some group on.
struct RowOfActivations {
  const int8_t* q;       // 32 a group
  const float* scales;   // 1 a group
  const int32_t* words;  // kWordsOf<S> a group

  template <class S>
  TRAMONTANE_INLINE void next() {
    q += 32;
    scales += 1;
    words += kWordsOf<S>;
  }
};

template <class S>
TRAMONTANE_INLINE __m256i without_zeros(const UnpackedGroup& x, const int32_t* words, __m256i sum) {
  if constexpr (S::kZero == kNoZero) return sum;
  const __m256i word = broadcast_word(words);
  return _mm256_sub_epi32(sum, S::kZero == kOwnZeros ? _mm256_madd_epi16(x.zero, word) : word);
}

// The exact sum of a group for one row: sum of inner * (w - zero) * q.
template <class S>
TRAMONTANE_INLINE __m256i integer_sum(const UnpackedGroup& x, const RowOfActivations& row) {
  constexpr int kRun = std::min(kProductsPerSum<S>, S::kSubgroup / 4);
  __m256i total = _mm256_setzero_si256();
  for (int run = 0; run < 8 / kRun; ++run) {
    __m256i sum = byte_products<S>(x.w[run * kRun], broadcast_word(row.q + 4 * run * kRun));
    for (int j = run * kRun + 1; j < (run + 1) * kRun; ++j) {
      sum = _mm256_add_epi16(sum, byte_products<S>(x.w[j], broadcast_word(row.q + 4 * j)));
    }
    const __m256i inner = S::kInner ? x.inner[run * kRun * 4 / S::kSubgroup] : _mm256_set1_epi16(1);
    sum = _mm256_madd_epi16(sum, inner);
    total = run == 0 ? sum : _mm256_add_epi32(total, sum);
  }
  return without_zeros<S>(x, row.words, total);
}

// Four sums of each of 8 rows, a vector of rows i and i + 4: what is left after one addition, in
// the order of the rows.
//   a0 a1 a2 a3, b0 b1 b2 b3 -> a0 b0 a1 b1 + a2 b2 a3 b3 -> ab ab, with cd cd -> abcd and abcd
struct Collapsed {
  __m256i even, odd;
};

template <__m256i (*add)(__m256i, __m256i)>
TRAMONTANE_INLINE Collapsed collapse(const __m256i* sums) {
  const auto two = [&](int i) {
    return add(_mm256_unpacklo_epi32(sums[i], sums[i + 1]),
               _mm256_unpackhi_epi32(sums[i], sums[i + 1]));
  };
  const __m256i first = two(0), second = two(2);
  return {_mm256_unpacklo_epi64(first, second), _mm256_unpackhi_epi64(first, second)};
}

TRAMONTANE_INLINE __m256i add16(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
TRAMONTANE_INLINE __m256i add32(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }

// integer_sum() of weights by rows.
template <class S>
TRAMONTANE_INLINE __m256i integer_sum_by_rows(const UnpackedGroup& x, const RowOfActivations& row) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i products[8];
  for (int h = 0; h < 2; ++h) {
    const __m256i a = broadcast16(row.q + 16 * h);
    for (int i = 0; i < 4; ++i) products[4 * h + i] = byte_products<S>(x.w[4 * h + i], a);
  }
  __m256i total;
  if constexpr (S::kBits == 8) {
    for (__m256i& product : products) product = _mm256_madd_epi16(product, ones);
    for (int i = 0; i < 4; ++i) products[i] = _mm256_add_epi32(products[i], products[4 + i]);
    const Collapsed sums = collapse<add32>(products);
    total = _mm256_add_epi32(sums.even, sums.odd);
    if constexpr (S::kInner) {
      total = _mm256_mullo_epi32(total, _mm256_srai_epi32(x.inner[0], 16));
    }
  } else {
    if constexpr (S::kSubgroups == 1) {
      for (int i = 0; i < 4; ++i) products[i] = _mm256_add_epi16(products[i], products[4 + i]);
    }
    for (int h = 0; h < S::kSubgroups; ++h) {
      const __m256i inner = S::kInner ? x.inner[h] : ones;
      const Collapsed sums = collapse<add16>(products + 4 * h);
      __m256i sum;
      if constexpr (kProductsPerSum<S> * S::kSubgroups >= 8) {
        sum = _mm256_madd_epi16(_mm256_add_epi16(sums.even, sums.odd), inner);
      } else {
        sum = _mm256_add_epi32(_mm256_madd_epi16(sums.even, inner),
                               _mm256_madd_epi16(sums.odd, inner));
      }
      total = h == 0 ? sum : _mm256_add_epi32(total, sum);
    }
  }
  return without_zeros<S>(x, row.words, total);
}

// Adds a group to the float sum of 8 outputs.
template <class S>
TRAMONTANE_INLINE __m256 add_group(const UnpackedGroup& x, __m256i sum, float scale,
                                   const int32_t* words, __m256 total) {
  const __m256 factor = _mm256_mul_ps(x.scale, _mm256_set1_ps(scale));
  total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, total);
  if constexpr (S::kOffset) {
    for (int h = 0; h < S::kSubgroups; ++h) {
      total = _mm256_fmadd_ps(x.offset[h], _mm256_castsi256_ps(broadcast_word(words + h)), total);
    }
  }
  return total;
}

// Eight outputs from `output` on, of which lanes [skip, skip + count) are wanted.
struct Stripe {
  int32_t output, skip, count;
};

TRAMONTANE_INLINE void store(const LinearTask& task, int32_t row, const Stripe& stripe,
                             const float* values) {
  float* out = task.out + row * task.stride + stripe.output;
  for (int32_t lane = stripe.skip; lane < stripe.skip + stripe.count; ++lane) {
    out[lane] = task.add ? out[lane] + values[lane] : values[lane];
  }
}

// A whole row. `words`, of word_bytes(), is for what write_words() writes.
inline size_t word_bytes(int32_t columns) {
  return static_cast<size_t>(columns / 16) * sizeof(int32_t);
}

template <class S>
RowOfActivations activations_of(const Activations& in, int32_t row, uint8_t* scratch) {
  const int32_t groups = in.columns / 32;
  const float* scales = in.scales + int64_t{row} * groups;
  int32_t* words = reinterpret_cast<int32_t*>(scratch);
  write_words<S>(scales, in.sums + int64_t{row} * groups * 2, groups, words);
  return {in.q + row * quantized_stride(in.columns), scales, words};
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
