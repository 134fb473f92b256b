// Products of quantized weights and int8 activations by dpbusd, the instruction that multiplies
// four unsigned bytes by four signed ones in each lane and adds them to an int32. Included by
// linear_avx512.cc and linear_avx_vnni.cc inside their target pragmas; the template parameter I is
// their instruction set.
//
// Weights are unpacked as the AVX2 kernels do it, and are unsigned: 8-bit ones move up by 128.
// Integer scales inside a block join the float scale of their 16 or 32 inputs, a subgroup (the
// product is exact: 11 bits by 8). Every output takes the same steps in either path:
//
//   term   = float(start + w0 q0 + ... + w31 q31) * weight_scale     exact but for one rounding
//   term   = fma(sum of the second subgroup, its scale, term)        where there are two
//   term   = fma(offset, sum of q, term)                             where there are offsets
//   total  = fma(term, activation_scale, total)                      groups in ascending order
#pragma once

#include "cpu/linear_avx2_formats.h"

namespace tramontane::cpu {
namespace {

// What, besides the products of weights and activations, a subgroup adds to an output. It takes one
// 32-bit word of each row of activations.
enum class Correction {
  kZeroPoint,  // The word is int32 -zero * sum of q, where the sum starts.
  kOwnZeros,   // Two int16 sums of q, which madd multiplies by the outputs' own -zeros.
  kOffset,     // The float sum of q, which the outputs' offsets are multiplied by.
};

// What is left of a format once its weights are unpacked.
template <int kSubgroups_, Correction kCorrection_>
struct Kind {
  static constexpr int kSubgroups = kSubgroups_;
  static constexpr int kWords = 8 / kSubgroups;  // Of 4 inputs, in a subgroup.
  static constexpr Correction kCorrection = kCorrection_;
};

template <class S>
using KindOf = Kind<S::kSubgroups, S::kOffset                            ? Correction::kOffset
                                   : S::kZero == kOwnZeros && !S::kInner ? Correction::kOwnZeros
                                                                         : Correction::kZeroPoint>;

// The zero point of the unsigned weights, where it is the same for all.
template <class S>
constexpr int kZeroPoint = S::kBits == 8           ? 128
                           : S::kZero == kOwnZeros ? 1 << (S::kBits - 1)
                                                   : S::kZero;

// Makes the weights unsigned, the zeros negative, and all scales floats.
template <class S>
TRAMONTANE_INLINE void normalize(Group& x, __m256* scales) {
  if constexpr (S::kBits == 8) {
    for (int j = 0; j < 8; ++j) x.w[j] = _mm256_xor_si256(x.w[j], constant(128));
  }
  if constexpr (KindOf<S>::kCorrection == Correction::kOwnZeros) {
    x.zero = _mm256_sub_epi16(_mm256_set1_epi16(S::kBits == 8 ? -128 : 0), x.zero);
  }
  for (int h = 0; h < S::kSubgroups; ++h) {
    scales[h] = x.scale;
    if constexpr (S::kInner) {
      const __m256i inner = _mm256_srai_epi32(x.inner[h], 16);
      scales[h] = _mm256_mul_ps(x.scale, _mm256_cvtepi32_ps(inner));
    }
  }
}

// Eight lanes, and what the kernels do with them.
struct Eight {
  static constexpr int kLanes = 8;
  using Ints = __m256i;
  using Floats = __m256;

  TRAMONTANE_INLINE static Ints load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  TRAMONTANE_INLINE static Floats load_floats(const void* p) {
    return _mm256_loadu_ps(static_cast<const float*>(p));
  }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
  TRAMONTANE_INLINE static Ints zero() { return _mm256_setzero_si256(); }
  TRAMONTANE_INLINE static Ints broadcast(const void* p) { return broadcast_word(p); }
  TRAMONTANE_INLINE static Floats broadcast_float(const void* p) {
    return _mm256_castsi256_ps(broadcast_word(p));
  }
  TRAMONTANE_INLINE static Ints multiply_pairs(Ints a, Ints b) { return _mm256_madd_epi16(a, b); }
  TRAMONTANE_INLINE static Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }
  TRAMONTANE_INLINE static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return _mm256_fmadd_ps(a, b, sum);
  }
};

// Writes the words of `count` subgroups. `sums` are those of 16 activations each.
template <class S>
void make_corrections(const int16_t* sums, int32_t count, int32_t* words) {
  constexpr Correction kCorrection = KindOf<S>::kCorrection;
  constexpr int kFactor = kCorrection == Correction::kZeroPoint ? -kZeroPoint<S> : 1;
  constexpr int kSums = S::kSubgroup / 16;  // In a subgroup.
  int32_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i word;
    if constexpr (kSums == 2) {
      word = Eight::load(sums + 2 * i);
      if constexpr (kCorrection != Correction::kOwnZeros) {
        word = _mm256_madd_epi16(word, _mm256_set1_epi16(static_cast<int16_t>(kFactor)));
      }
    } else {
      word = _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(sums + i)));
      word = _mm256_mullo_epi32(word, _mm256_set1_epi32(kFactor));
    }
    if constexpr (kCorrection == Correction::kOffset) {
      word = _mm256_castps_si256(_mm256_cvtepi32_ps(word));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + i), word);
  }
  for (; i < count; ++i) {
    if constexpr (kCorrection == Correction::kOwnZeros) {
      std::memcpy(words + i, sums + 2 * i, sizeof *words);
      continue;
    }
    const int32_t word = (kSums == 2 ? sums[2 * i] + sums[2 * i + 1] : sums[i]) * kFactor;
    if constexpr (kCorrection == Correction::kOffset) {
      const float value = static_cast<float>(word);
      std::memcpy(words + i, &value, sizeof value);
    } else {
      words[i] = word;
    }
  }
}

// Where a subgroup's integer sum starts. `word` is the row's, `zeros` the outputs'.
template <class K, class V>
TRAMONTANE_INLINE typename V::Ints start_of(const int32_t* word,
                                            [[maybe_unused]] typename V::Ints zeros) {
  if constexpr (K::kCorrection == Correction::kZeroPoint) return V::broadcast(word);
  if constexpr (K::kCorrection == Correction::kOwnZeros) {
    return V::multiply_pairs(zeros, V::broadcast(word));
  }
  return V::zero();
}

// One row of activations from some group on.
struct VnniRow {
  const int8_t* q;
  const float* scales;
  const int32_t* words;
};

template <class S>
VnniRow first_row(const Activations& in, int32_t* words) {
  make_corrections<S>(in.sums, in.columns / 32 * S::kSubgroups, words);
  return {in.q, in.scales, words};
}

// Adds a group to the totals of 8 outputs.
template <class I, class S>
TRAMONTANE_INLINE __m256 vnni_add_group(Group x, const VnniRow& row, __m256 total) {
  using K = KindOf<S>;
  __m256 scales[S::kSubgroups];
  normalize<S>(x, scales);
  __m256 term;
  TRAMONTANE_UNROLL
  for (int h = 0; h < K::kSubgroups; ++h) {
    __m256i sum = start_of<K, Eight>(row.words + h, x.zero);
    TRAMONTANE_UNROLL
    for (int j = h * K::kWords; j < (h + 1) * K::kWords; ++j) {
      sum = I::dot(sum, x.w[j], broadcast_word(row.q + 4 * j));
    }
    const __m256 value = _mm256_cvtepi32_ps(sum);
    term = h == 0 ? _mm256_mul_ps(value, scales[h]) : _mm256_fmadd_ps(value, scales[h], term);
  }
  if constexpr (K::kCorrection == Correction::kOffset) {
    TRAMONTANE_UNROLL
    for (int h = 0; h < K::kSubgroups; ++h) {
      term = _mm256_fmadd_ps(x.offset[h], Eight::broadcast_float(row.words + h), term);
    }
  }
  return _mm256_fmadd_ps(term, _mm256_set1_ps(*row.scales), total);
}

// Multiplies each group it is given by one row of activations.
template <class I, class S>
struct VnniDotRow {
  TRAMONTANE_INLINE void operator()(const Group& x) {
    total = vnni_add_group<I, S>(x, row, total);
    row.q += 32;
    row.scales += 1;
    row.words += S::kSubgroups;
  }

  VnniRow row;  // At the group that comes next.
  __m256 total;
};

// One row of activations: the weights are used as they are unpacked, 8 outputs at a time.
template <class I, Format kFormat>
void vnni_one_row(const LinearTask& task, const BlockSource<kFormat>& source) {
  using S = typename BlockSource<kFormat>::ShapeType;
  const VnniRow row = first_row<S>(*task.in, reinterpret_cast<int32_t*>(task.scratch));
  for (int32_t output = task.first; output < task.last;) {
    const Stripe stripe = source.stripe_at(output);
    VnniDotRow<I, S> dot = {row, _mm256_setzero_ps()};
    source.template for_each_group<true, ByOutputs>(stripe, 0, task.in->columns / 32, dot);
    float sums[kLanes];
    _mm256_storeu_ps(sums, dot.total);
    store(task, 0, stripe, sums);
    output += stripe.count;
  }
}

// GPTQ: words are read along all outputs, whose totals wait in scratch meanwhile.
template <class I, int kBits>
void vnni_one_row(const LinearTask& task, const GptqSource<kBits>& source) {
  using S = typename GptqSource<kBits>::ShapeType;
  const int32_t groups = task.in->columns / 32;
  float* totals = reinterpret_cast<float*>(task.scratch);
  int32_t* words = reinterpret_cast<int32_t*>(task.scratch + kGptqScratchBytes);
  const VnniRow whole = first_row<S>(*task.in, words);
  for (int32_t first = task.first / kLanes * kLanes; first < task.last; first += kGptqTotals) {
    const int32_t last = std::min(first + kGptqTotals, task.last);
    std::fill_n(totals, kGptqTotals, 0.0f);
    for (int32_t g = 0; g < groups; ++g) {
      const VnniRow row = {whole.q + 32 * g, whole.scales + g, whole.words + g};
      float* total = totals;
      for (int32_t output = first; output < last; output += kLanes, total += kLanes) {
        Group x;
        source.load_group({output, 0, kLanes}, g, x);
        _mm256_storeu_ps(total, vnni_add_group<I, S>(x, row, _mm256_loadu_ps(total)));
      }
    }
    const float* total = totals;
    for (int32_t output = std::max(first, task.first); output < last;) {
      const Stripe stripe = source.stripe_at(output);
      store(task, 0, stripe, total);
      output += stripe.count;
      total += kLanes;
    }
  }
}

}  // namespace
}  // namespace tramontane::cpu
