// Products of quantized weights and int8 activations, by the arithmetic of linear.h. Integer scales
// of 32 inputs multiply the integer sum, those of 16 have joined the float scale.
#pragma once

#include "base/prefetch.h"
#include "cpu/linear/stripe.h"

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
  static constexpr bool kInner = kInner_;       // There is an integer scale of the 32 inputs.
  static constexpr int kZero = kZero_;          // The zero point of all outputs; kOwnZeros: theirs.
  static constexpr bool kOffset = kOffset_;     // There is a float offset.
  static constexpr int kSubgroups = 32 / kSubgroup;
  static constexpr bool kScaleAlone = kSubgroups == 1 && !kInner && !kOffset;
  static constexpr bool kLargeBlocks = kInner || kSubgroups == 2;  // Of 256 inputs.
};

// 32 inputs of 8 outputs. Weight i of a lane is scale * inner * (w[i] - zero) + offset.
struct UnpackedGroup {
  __m256i w[8];   // Vector j: inputs 4j to 4j + 3 (or by rows: see avx2_unpack.h).
  __m256i inner;  // Pairs of equal int16.
  __m256i zero;   // kOwnZeros: pairs of equal int16, which meet the two sums of 16 activations.
  __m256 scale[2], offset[2];  // One vector a subgroup.
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

// What zero points and offsets need of a row, a word of 32 bits for each of `count` subgroups.
// `sums` are those of 16 activations each.
//   one zero point       int32 -zero * sum; 0 where there is none
//   the outputs' own     the two sums of 16 activations, which they meet
//   offsets              the sum as a float
template <class S, int kZero>
void write_words(const int16_t* sums, int32_t count, int32_t* words) {
  constexpr int kFactor = S::kOffset ? 1 : -kZero;
  constexpr int kSums = S::kSubgroup / 16;  // In a subgroup.
  static_assert(S::kZero != kOwnZeros || kSums == 2);
  int32_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i word;
    if constexpr (kSums == 2) {
      word = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + 2 * i));
      if constexpr (S::kZero != kOwnZeros) {
        word = _mm256_madd_epi16(word, _mm256_set1_epi16(static_cast<int16_t>(kFactor)));
      }
    } else {
      word = _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(sums + i)));
      word = _mm256_mullo_epi32(word, _mm256_set1_epi32(kFactor));
    }
    if constexpr (S::kOffset) word = _mm256_castps_si256(_mm256_cvtepi32_ps(word));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + i), word);
  }
  for (; i < count; ++i) {
    if constexpr (S::kZero == kOwnZeros) {
      std::memcpy(words + i, sums + 2 * i, sizeof *words);
      continue;
    }
    const int32_t word = (kSums == 2 ? sums[2 * i] + sums[2 * i + 1] : sums[i]) * kFactor;
    if constexpr (S::kOffset) {
      const float value = static_cast<float>(word);
      std::memcpy(words + i, &value, sizeof value);
    } else {
      words[i] = word;
    }
  }
}

// One row of activations from some group on.
struct RowOfActivations {
  const int8_t* q;       // 32 a group
  const float* scales;   // 1 a group
  const int32_t* words;  // 1 a subgroup

  template <class S>
  TRAMONTANE_INLINE void next() {
    q += 32;
    scales += 1;
    words += S::kSubgroups;
  }
};

template <class S>
TRAMONTANE_INLINE __m256i without_zeros(const UnpackedGroup& x, const int32_t* word, __m256i sum) {
  if constexpr (S::kZero == kNoZero) return sum;
  if constexpr (S::kZero == kOwnZeros) {
    return _mm256_sub_epi32(sum, _mm256_madd_epi16(x.zero, broadcast_word(word)));
  }
  return _mm256_add_epi32(sum, broadcast_word(word));
}

// What a sum of products of int16 is multiplied by, as its pairs are added.
template <class S>
TRAMONTANE_INLINE __m256i inner_of(const UnpackedGroup& x) {
  if constexpr (S::kInner) return x.inner;
  return _mm256_set1_epi16(1);
}

// The exact sum of a subgroup for one row: sum of inner * (w - zero) * q.
template <class S>
TRAMONTANE_INLINE __m256i integer_sum(const UnpackedGroup& x, int subgroup,
                                      const RowOfActivations& row) {
  constexpr int kWords = S::kSubgroup / 4, kRun = std::min(kProductsPerSum<S>, kWords);
  __m256i total = _mm256_setzero_si256();
  for (int run = 0; run < kWords; run += kRun) {
    const int first = subgroup * kWords + run;
    __m256i sum = byte_products<S>(x.w[first], broadcast_word(row.q + 4 * first));
    for (int j = first + 1; j < first + kRun; ++j) {
      sum = _mm256_add_epi16(sum, byte_products<S>(x.w[j], broadcast_word(row.q + 4 * j)));
    }
    sum = _mm256_madd_epi16(sum, inner_of<S>(x));
    total = run == 0 ? sum : _mm256_add_epi32(total, sum);
  }
  return without_zeros<S>(x, row.words + subgroup, total);
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

// integer_sum() of each subgroup of weights by rows.
template <class S>
TRAMONTANE_INLINE void integer_sums_by_rows(const UnpackedGroup& x, const RowOfActivations& row,
                                            __m256i* sums) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i products[8];
  for (int h = 0; h < 2; ++h) {
    const __m256i a = broadcast16(row.q + 16 * h);
    for (int i = 0; i < 4; ++i) products[4 * h + i] = byte_products<S>(x.w[4 * h + i], a);
  }
  if constexpr (S::kBits == 8) {
    for (__m256i& product : products) product = _mm256_madd_epi16(product, ones);
    for (int i = 0; i < 4; ++i) products[i] = _mm256_add_epi32(products[i], products[4 + i]);
    const Collapsed both = collapse<add32>(products);
    sums[0] = _mm256_add_epi32(both.even, both.odd);
    if constexpr (S::kInner) {
      sums[0] = _mm256_mullo_epi32(sums[0], _mm256_srai_epi32(x.inner, 16));
    }
  } else {
    if constexpr (S::kSubgroups == 1) {
      for (int i = 0; i < 4; ++i) products[i] = _mm256_add_epi16(products[i], products[4 + i]);
    }
    const __m256i inner = inner_of<S>(x);
    for (int h = 0; h < S::kSubgroups; ++h) {
      const Collapsed both = collapse<add16>(products + 4 * h);
      if constexpr (kProductsPerSum<S> * S::kSubgroups >= 8) {
        sums[h] = _mm256_madd_epi16(_mm256_add_epi16(both.even, both.odd), inner);
      } else {
        sums[h] = _mm256_add_epi32(_mm256_madd_epi16(both.even, inner),
                                   _mm256_madd_epi16(both.odd, inner));
      }
    }
  }
  for (int h = 0; h < S::kSubgroups; ++h) sums[h] = without_zeros<S>(x, row.words + h, sums[h]);
}

// The term of a group from that of the subgroups before, which the first does not read.
TRAMONTANE_INLINE __m256 add_subgroup(int subgroup, __m256i sum, __m256 scale, __m256 term) {
  const __m256 value = _mm256_cvtepi32_ps(sum);
  return subgroup == 0 ? _mm256_mul_ps(value, scale) : _mm256_fmadd_ps(value, scale, term);
}

TRAMONTANE_INLINE __m256 add_offset(__m256 offset, const int32_t* word, __m256 term) {
  return _mm256_fmadd_ps(offset, _mm256_castsi256_ps(broadcast_word(word)), term);
}

// Adds a group to the float sum of 8 outputs. `sums` are its subgroups'.
template <class S>
TRAMONTANE_INLINE __m256 add_group(const UnpackedGroup& x, const __m256i* sums,
                                   const RowOfActivations& row, __m256 total) {
  const __m256 row_scale = _mm256_set1_ps(*row.scales);
  if constexpr (S::kScaleAlone) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[0]), _mm256_mul_ps(x.scale[0], row_scale),
                           total);
  }
  __m256 term = _mm256_setzero_ps();
  for (int h = 0; h < S::kSubgroups; ++h) term = add_subgroup(h, sums[h], x.scale[h], term);
  if constexpr (S::kOffset) {
    for (int h = 0; h < S::kSubgroups; ++h) term = add_offset(x.offset[h], row.words + h, term);
  }
  return _mm256_fmadd_ps(term, row_scale, total);
}

// A whole row. `scratch`, of word_bytes(), is for what write_words() writes.
inline size_t word_bytes(int32_t columns) {
  return static_cast<size_t>(columns / 16) * sizeof(int32_t);
}

template <class S>
RowOfActivations activations_of(const Activations& in, int32_t row, uint8_t* scratch) {
  const int32_t groups = in.columns / 32;
  const float* scales = in.scales + int64_t{row} * groups;
  int32_t* words = reinterpret_cast<int32_t*>(scratch);
  write_words<S, S::kZero>(in.sums + int64_t{row} * groups * 2, groups * S::kSubgroups, words);
  return {in.q + row * quantized_stride(in.columns), scales, words};
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
