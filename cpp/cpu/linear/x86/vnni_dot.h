// Products of quantized weights and int8 activations by dpbusd, the instruction that multiplies
// four unsigned bytes by four signed ones in each lane and adds them to an int32. The template
// parameter I is their instruction set.
//
// Weights are unpacked as the AVX2 kernels do it, and are unsigned: 8-bit ones move up by 128.
// Integer scales join the float scale of their 16 or 32 inputs, a subgroup. Every output takes the
// steps of linear.h, where an integer sum begins with what its zero point makes of it.
#pragma once

#include "cpu/linear/panels.h"
#include "cpu/linear/x86/avx2_formats.h"
#include "cpu/linear/x86/avx2_unpack.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
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
using KindOf = Kind<S::kSubgroups, S::kOffset              ? Correction::kOffset
                                   : S::kZero == kOwnZeros ? Correction::kOwnZeros
                                                           : Correction::kZeroPoint>;

// The zero point of the unsigned weights, where it is the same for all.
template <class S>
constexpr int kZeroPoint = S::kBits == 8 ? 128 : S::kZero;

// 32 inputs of V::kLanes outputs as dpbusd takes them: the weights unsigned, zeros negative, and
// all scales floats. What a shape does not have is not there.
template <class V>
struct Operands {
  typename V::Ints w[8];  // Vector j: inputs 4j to 4j + 3.
  typename V::Ints zero;
  typename V::Floats scales[2], offsets[2];
};

template <class S, class V>
TRAMONTANE_INLINE void normalize(const UnpackedGroup& x, Operands<V>& out) {
  for (int j = 0; j < 8; ++j) {
    out.w[j] = S::kBits == 8 ? _mm256_xor_si256(x.w[j], constant(128)) : x.w[j];
  }
  if constexpr (KindOf<S>::kCorrection == Correction::kOwnZeros) {
    out.zero = _mm256_sub_epi16(_mm256_set1_epi16(S::kBits == 8 ? -128 : 0), x.zero);
  }
  for (int h = 0; h < S::kSubgroups; ++h) {
    out.scales[h] = x.scale[h];
    if constexpr (S::kInner) {
      const __m256i inner = _mm256_srai_epi32(x.inner, 16);
      out.scales[h] = _mm256_mul_ps(x.scale[h], _mm256_cvtepi32_ps(inner));
    }
    if constexpr (S::kOffset) out.offsets[h] = x.offset[h];
  }
}

// Unpacks a block of 8 outputs.
template <Format kFormat, class V>
struct BlockOfEight {
  using Unpacked = Unpack<kFormat, ByOutputs>;
  template <Ask kAsk>
  TRAMONTANE_INLINE BlockOfEight(const Rows& rows, const Ahead<kAsk>&) : block(rows) {}

  template <int kGroup, Ask kAsk>
  TRAMONTANE_INLINE void group(Operands<V>& out, const Ahead<kAsk>&) {
    UnpackedGroup x;
    block.template group<kGroup>(x);
    normalize<typename Unpacked::ShapeType>(x, out);
  }

  Unpacked block;
};

// Eight lanes, how weights get there, and what the kernels do with them.
struct Eight {
  static constexpr int kLanes = 8;
  using Ints = __m256i;
  using Floats = __m256;
  using Group = Operands<Eight>;
  static constexpr bool kAsksInBetween = false;  // Its blocks take Ask::kInBetween.
  template <Format kFormat>
  using Block = BlockOfEight<kFormat, Eight>;

  template <class Source>
  TRAMONTANE_INLINE static void load_group(const Source& source, const Stripe& stripe, int32_t g,
                                           Group& out) {
    UnpackedGroup x;
    source.load_group(stripe.output, g, x);
    normalize<typename Source::ShapeType>(x, out);
  }

  TRAMONTANE_INLINE static Ints load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  TRAMONTANE_INLINE static Floats load_floats(const void* p) {
    return _mm256_loadu_ps(static_cast<const float*>(p));
  }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }
  TRAMONTANE_INLINE static Ints zero() { return _mm256_setzero_si256(); }
  TRAMONTANE_INLINE static Floats zero_floats() { return _mm256_setzero_ps(); }
  TRAMONTANE_INLINE static Ints broadcast(const void* p) { return broadcast_word(p); }
  TRAMONTANE_INLINE static Floats broadcast_float(const void* p) {
    return _mm256_castsi256_ps(broadcast_word(p));
  }
  // Words of 4 of 32 inputs, each in all lanes.
  TRAMONTANE_INLINE static void broadcast_words(const int8_t* q, Ints* words) {
    for (int j = 0; j < 8; ++j) words[j] = broadcast(q + 4 * j);
  }
  TRAMONTANE_INLINE static Ints multiply_pairs(Ints a, Ints b) { return _mm256_madd_epi16(a, b); }
  TRAMONTANE_INLINE static Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
  TRAMONTANE_INLINE static Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }
  TRAMONTANE_INLINE static Ints as_ints(Floats x) { return _mm256_castps_si256(x); }
  TRAMONTANE_INLINE static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return _mm256_fmadd_ps(a, b, sum);
  }
};

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

// The exact sums of subgroup `h` of V::kLanes outputs, for one row of activations.
template <class I, class S, bool kAlone>
TRAMONTANE_INLINE typename I::Vector::Ints vnni_sum(const Operands<typename I::Vector>& x, int h,
                                                    const int8_t* q, const int32_t* words) {
  using V = typename I::Vector;
  using K = KindOf<S>;
  typename V::Ints sum = start_of<K, V>(words + h, x.zero);
  if constexpr (kAlone) {
    typename V::Ints a[8];
    V::broadcast_words(q, a);
    if constexpr (K::kWords == 8) {
      typename V::Ints second = V::zero();
      TRAMONTANE_UNROLL
      for (int j = 0; j < 4; ++j) {
        sum = I::dot(sum, x.w[j], a[j]);
        second = I::dot(second, x.w[j + 4], a[j + 4]);
      }
      sum = V::add(sum, second);
    } else {
      TRAMONTANE_UNROLL
      for (int j = 4 * h; j < 4 * h + 4; ++j) sum = I::dot(sum, x.w[j], a[j]);
    }
  } else {
    TRAMONTANE_UNROLL
    for (int j = h * K::kWords; j < (h + 1) * K::kWords; ++j) {
      sum = I::dot(sum, x.w[j], V::broadcast(q + 4 * j));
    }
  }
  return sum;
}

// Adds a group to the totals of V::kLanes outputs, for one row of activations.
template <class I, class S, bool kAlone>
TRAMONTANE_INLINE typename I::Vector::Floats vnni_add_group(const Operands<typename I::Vector>& x,
                                                            const int8_t* q, const float* scale,
                                                            const int32_t* words,
                                                            typename I::Vector::Floats total) {
  using V = typename I::Vector;
  using K = KindOf<S>;
  const typename V::Floats row_scale = V::broadcast_float(scale);
  const auto value = [&](int h) { return V::to_floats(vnni_sum<I, S, kAlone>(x, h, q, words)); };
  if constexpr (S::kScaleAlone) {
    return V::multiply_add(value(0), V::multiply(x.scales[0], row_scale), total);
  }
  typename V::Floats term = V::multiply(value(0), x.scales[0]);
  if constexpr (K::kSubgroups == 2) term = V::multiply_add(value(1), x.scales[1], term);
  if constexpr (K::kCorrection == Correction::kOffset) {
    TRAMONTANE_UNROLL
    for (int h = 0; h < K::kSubgroups; ++h) {
      term = V::multiply_add(x.offsets[h], V::broadcast_float(words + h), term);
    }
  }
  return V::multiply_add(term, row_scale, total);
}

// Few rows of activations, laid out as a tile of many is.
template <class S, int kRows>
using FewRows = RowsOfGroup<kRows, S::kSubgroups>;

// Multiplies each group it is given by kRows rows of activations.
template <class I, class S, int kRows>
struct VnniDotRows {
  using V = typename I::Vector;

  TRAMONTANE_INLINE void operator()(const Operands<V>& x) {
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      totals[r] = vnni_add_group<I, S, kRows == 1>(x, rows->q[r], &rows->scales[r], rows->words[r],
                                                   totals[r]);
      I::pin(totals[r]);
    }
    ++rows;
  }

  const FewRows<S, kRows>* rows;  // At the group that comes next.
  typename V::Floats totals[kRows];
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
