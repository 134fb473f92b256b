// How the AVX-512 kernels read 16 rows of a quantized format.
//
// As ByOutputs of avx2_unpack.h, with four rows in a vector: what unpacks pairs there makes
// words of 16 outputs here. Formats that have no reader of their own are read 8 rows at a time.
#pragma once

#include "cpu/linear/x86/vnni.h"

#if defined(__GNUC__) && !defined(__clang__)
// gcc 12 warns of what its own intrinsics leave undefined.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

template <Format kFormat, class V>
struct BlockOfSixteen;

// Sixteen lanes, how weights get there, and what the kernels do with them.
struct Sixteen {
  static constexpr int kLanes = 16;
  using Ints = __m512i;
  using Floats = __m512;
  using Group = Operands<Sixteen>;
  static constexpr bool kAsksInBetween = true;  // Its blocks take Ask::kInBetween.
  template <Format kFormat>
  using Block = BlockOfSixteen<kFormat, Sixteen>;

  TRAMONTANE_INLINE static Ints join(__m256i low, __m256i high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  TRAMONTANE_INLINE static Floats join(__m256 low, __m256 high) {
    return _mm512_castsi512_ps(join(_mm256_castps_si256(low), _mm256_castps_si256(high)));
  }
  template <class S>
  TRAMONTANE_INLINE static void join(const Operands<Eight>& low, const Operands<Eight>& high,
                                     Group& out) {
    for (int j = 0; j < 8; ++j) out.w[j] = join(low.w[j], high.w[j]);
    if constexpr (KindOf<S>::kCorrection == Correction::kOwnZeros) {
      out.zero = join(low.zero, high.zero);
    }
    for (int h = 0; h < S::kSubgroups; ++h) {
      out.scales[h] = join(low.scales[h], high.scales[h]);
      if constexpr (S::kOffset) out.offsets[h] = join(low.offsets[h], high.offsets[h]);
    }
  }

  // As split_nibbles() of avx2_gptq.h, and what normalize() does.
  template <class Source>
  TRAMONTANE_INLINE static void load_nibble_words(const Source& source, int32_t output, int32_t g,
                                                  Group& out) {
    const uint8_t* words = source.words_at(output, g);
    const Ints fifteen = _mm512_set1_epi8(15);
    for (int i = 0; i < 4; ++i) {
      const Ints x = load(words + 4 * i * source.row_words());
      const Ints even = _mm512_and_si512(x, fifteen);
      const Ints odd = _mm512_and_si512(_mm512_srli_epi32(x, 4), fifteen);
      const Floats low = _mm512_castsi512_ps(_mm512_unpacklo_epi8(even, odd));
      const Floats high = _mm512_castsi512_ps(_mm512_unpackhi_epi8(even, odd));
      out.w[2 * i] = as_ints(_mm512_shuffle_ps(low, high, 0x88));
      out.w[2 * i + 1] = as_ints(_mm512_shuffle_ps(low, high, 0xdd));
    }
    const int32_t group = source.group_of(g);
    uint64_t packed;
    std::memcpy(&packed, source.zeros_at(output, group), sizeof packed);
    const Ints shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    Ints zeros = join(_mm256_set1_epi32(static_cast<int>(packed)),
                      _mm256_set1_epi32(static_cast<int>(packed >> 32)));
    zeros =
        _mm512_add_epi32(_mm512_srlv_epi32(zeros, shifts), _mm512_set1_epi32(source.zero_bias()));
    zeros = _mm512_and_si512(zeros, _mm512_set1_epi32(15));
    zeros = _mm512_or_si512(zeros, _mm512_slli_epi32(zeros, 16));
    out.zero = _mm512_sub_epi16(_mm512_setzero_si512(), zeros);
    out.scales[0] =
        join(source.load_scales(group, output), source.load_scales(group, output + Eight::kLanes));
  }

  // A GPTQ group. Where there are no 16 outputs any more, the high half is the low one again.
  template <class Source>
  TRAMONTANE_INLINE static void load_group(const Source& source, const Stripe& stripe, int32_t g,
                                           Group& out) {
    const bool more = stripe.output + Eight::kLanes < source.outputs();
    if constexpr (Source::ShapeType::kBits == 4) {
      if (more) return load_nibble_words(source, stripe.output, g, out);
    }
    Operands<Eight> low, high;
    Eight::load_group(source, stripe, g, low);
    Eight::load_group(source, {stripe.output + (more ? Eight::kLanes : 0), 0, 0}, g, high);
    join<typename Source::ShapeType>(low, high, out);
  }

  TRAMONTANE_INLINE static Ints load(const void* p) { return _mm512_loadu_si512(p); }
  TRAMONTANE_INLINE static Floats load_floats(const void* p) { return _mm512_loadu_ps(p); }
  TRAMONTANE_INLINE static void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }
  TRAMONTANE_INLINE static Ints zero() { return _mm512_setzero_si512(); }
  TRAMONTANE_INLINE static Floats zero_floats() { return _mm512_setzero_ps(); }
  TRAMONTANE_INLINE static Ints broadcast(const void* p) {
    int value;
    std::memcpy(&value, p, sizeof value);
    return _mm512_set1_epi32(value);
  }
  TRAMONTANE_INLINE static Floats broadcast_float(const void* p) {
    return _mm512_castsi512_ps(broadcast(p));
  }
  // Words of 4 of 32 inputs, each in all lanes. Loads are what there is least of.
  TRAMONTANE_INLINE static void broadcast_words(const int8_t* q, Ints* words) {
    for (int half = 0; half < 2; ++half) {
      const Ints a =
          _mm512_broadcast_i32x4(load16(reinterpret_cast<const uint8_t*>(q) + 16 * half));
      words[4 * half] = _mm512_shuffle_epi32(a, static_cast<_MM_PERM_ENUM>(0x00));
      words[4 * half + 1] = _mm512_shuffle_epi32(a, static_cast<_MM_PERM_ENUM>(0x55));
      words[4 * half + 2] = _mm512_shuffle_epi32(a, static_cast<_MM_PERM_ENUM>(0xaa));
      words[4 * half + 3] = _mm512_shuffle_epi32(a, static_cast<_MM_PERM_ENUM>(0xff));
    }
  }
  TRAMONTANE_INLINE static Ints multiply_pairs(Ints a, Ints b) { return _mm512_madd_epi16(a, b); }
  TRAMONTANE_INLINE static Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
  // With a mask of all lanes: gcc 12 warns of what the plain one leaves undefined.
  TRAMONTANE_INLINE static Floats to_floats(Ints x) { return _mm512_maskz_cvtepi32_ps(0xffff, x); }
  TRAMONTANE_INLINE static Ints as_ints(Floats x) { return _mm512_castps_si512(x); }
  TRAMONTANE_INLINE static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  TRAMONTANE_INLINE static Floats multiply_add(Floats a, Floats b, Floats sum) {
    return _mm512_fmadd_ps(a, b, sum);
  }
};

template <Format kFormat, class V>
struct BlockOfSixteen {
  using Half = BlockOfEight<kFormat, Eight>;
  using S = typename Half::Unpacked::ShapeType;
  static constexpr int kBytes = sizeof(typename Half::Unpacked::Block);
  static constexpr int kLines = (kBytes >= 64 ? 2 * kBytes : 16 * kBytes + 63) / 64;  // A group's.

  template <class Ahead>
  TRAMONTANE_INLINE BlockOfSixteen(const Rows& rows, const Ahead& ahead)
      : low(rows, ahead), high(rows + 8 * rows.stride, ahead) {}

  template <int kGroup, class Ahead>
  TRAMONTANE_INLINE void group(Operands<V>& out, Ahead& ahead) {
    for (int i = 0; i < kLines / 2; ++i) ahead.next_line();
    Operands<Eight> halves[2];
    low.template group<kGroup>(halves[0], ahead);
    for (int i = kLines / 2; i < kLines; ++i) ahead.next_line();
    high.template group<kGroup>(halves[1], ahead);
    V::template join<S>(halves[0], halves[1], out);
  }
  Half low, high;
};

TRAMONTANE_INLINE __m512i constant16(int byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }

// 16 bytes of rows 0, 4, 8 and 12 from p on.
TRAMONTANE_INLINE __m512i load_four(const uint8_t* p, int64_t stride) {
  __m512i x = _mm512_castsi128_si512(load16(p));
  x = _mm512_inserti32x4(x, load16(p + 4 * stride), 1);
  x = _mm512_inserti32x4(x, load16(p + 8 * stride), 2);
  return _mm512_inserti32x4(x, load16(p + 8 * stride + 4 * stride), 3);
}

// Of 16 bytes of each row, the words in lanes of their own. As many bytes ahead are asked for, a
// line between any four loads.
template <class Ahead>
TRAMONTANE_INLINE void load_words(const Rows& rows, int64_t offset, __m512i* words, Ahead& ahead) {
  const uint8_t* p = rows.base + offset;
  ahead.next_line();
  const __m512i row0 = load_four(p, rows.stride);
  ahead.next_line();
  const __m512i row1 = load_four(p + rows.stride, rows.stride);
  ahead.next_line();
  const __m512i row2 = load_four(p + 2 * rows.stride, rows.stride);
  ahead.next_line();
  const __m512i row3 = load_four(p + 3 * rows.stride, rows.stride);
  const __m512i a = _mm512_unpacklo_epi32(row0, row1), b = _mm512_unpackhi_epi32(row0, row1);
  const __m512i c = _mm512_unpacklo_epi32(row2, row3), d = _mm512_unpackhi_epi32(row2, row3);
  words[0] = _mm512_unpacklo_epi64(a, c);
  words[1] = _mm512_unpackhi_epi64(a, c);
  words[2] = _mm512_unpacklo_epi64(b, d);
  words[3] = _mm512_unpackhi_epi64(b, d);
}

// An f16 of each of 8 rows.
TRAMONTANE_INLINE __m128i load_shorts(const uint8_t* p, int64_t s) {
  const uint8_t* p4 = p + 4 * s;
  __m128i x = _mm_cvtsi32_si128(load_short(p));
  x = _mm_insert_epi16(x, load_short(p + s), 1);
  x = _mm_insert_epi16(x, load_short(p + 2 * s), 2);
  x = _mm_insert_epi16(x, load_short(p + 3 * s), 3);
  x = _mm_insert_epi16(x, load_short(p4), 4);
  x = _mm_insert_epi16(x, load_short(p4 + s), 5);
  x = _mm_insert_epi16(x, load_short(p4 + 2 * s), 6);
  return _mm_insert_epi16(x, load_short(p4 + 3 * s), 7);
}

TRAMONTANE_INLINE __m512 load_halves(const Rows& rows, int64_t offset) {
  const uint8_t* p = rows.base + offset;
  const __m256i low = _mm256_castsi128_si256(load_shorts(p, rows.stride));
  return _mm512_cvtph_ps(
      _mm256_inserti128_si256(low, load_shorts(p + 8 * rows.stride, rows.stride), 1));
}

// The f16 in the low or high half of each lane.
template <int kIndex>
TRAMONTANE_INLINE __m512 halves16(__m512i words) {
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(kIndex == 0 ? words : _mm512_srli_epi32(words, 16)));
}

// The low or high nibbles of each byte.
template <int kShift>
TRAMONTANE_INLINE __m512i nibbles16(__m512i words) {
  return _mm512_and_si512(kShift == 0 ? words : _mm512_srli_epi16(words, kShift), constant16(15));
}

// The nibbles of 4 vectors, as in Q4_0: 32 inputs.
template <class V>
TRAMONTANE_INLINE void split_nibbles16(const __m512i* packed, Operands<V>& out) {
  for (int j = 0; j < 4; ++j) {
    out.w[j] = nibbles16<0>(packed[j]);
    out.w[4 + j] = nibbles16<4>(packed[j]);
  }
}

template <class V>
struct BlockOfSixteen<Format::kQ4_0, V> {
  template <class Ahead>
  TRAMONTANE_INLINE BlockOfSixteen(const Rows& rows, const Ahead&) : rows(rows) {}

  template <int, class Ahead>
  TRAMONTANE_INLINE void group(Operands<V>& out, Ahead& ahead) const {
    __m512i packed[4];
    load_words(rows, offsetof(quant::Q4_0, nibbles), packed, ahead);
    ahead.next_line();
    split_nibbles16(packed, out);
    out.scales[0] = load_halves(rows, 0);
  }
  Rows rows;
};

template <class V>
struct BlockOfSixteen<Format::kQ8_0, V> {
  template <class Ahead>
  TRAMONTANE_INLINE BlockOfSixteen(const Rows& rows, const Ahead&) : rows(rows) {}

  template <int, class Ahead>
  TRAMONTANE_INLINE void group(Operands<V>& out, Ahead& ahead) const {
    load_words(rows, offsetof(quant::Q8_0, q), out.w, ahead);
    load_words(rows, offsetof(quant::Q8_0, q) + 16, out.w + 4, ahead);
    ahead.next_line();
    for (int j = 0; j < 8; ++j) out.w[j] = _mm512_xor_si512(out.w[j], constant16(128));
    out.scales[0] = load_halves(rows, 0);
  }
  Rows rows;
};

// Byte `index` of each lane.
template <int kIndex>
TRAMONTANE_INLINE __m512 byte_floats16(__m512i words) {
  const __m512i shifted = kIndex == 0 ? words : _mm512_srli_epi32(words, 8 * kIndex);
  return Sixteen::to_floats(_mm512_and_si512(shifted, _mm512_set1_epi32(0xff)));
}

template <int kIndex>
TRAMONTANE_INLINE __m512 signed_byte_floats16(__m512i words) {
  const __m512i shifted = kIndex == 3 ? words : _mm512_slli_epi32(words, 24 - 8 * kIndex);
  return Sixteen::to_floats(_mm512_srai_epi32(shifted, 24));
}

// Bits of `words`, moved by kShift to the left, or to the right where that is below 0, and `with`.
template <int kShift>
TRAMONTANE_INLINE __m512i add_bits16(__m512i words, int mask, __m512i with) {
  if constexpr (kShift > 0) words = _mm512_slli_epi16(words, kShift);
  if constexpr (kShift < 0) words = _mm512_srli_epi16(words, -kShift);
  return _mm512_ternarylogic_epi32(words, constant16(mask), with, 0xea);
}

// As ScalesAndMinimums of avx2_unpack_k.h.
template <class V>
struct BlockOfSixteen<Format::kQ4_K, V> {
  using Block = quant::Q4_K;
  template <class Ahead>
  TRAMONTANE_INLINE BlockOfSixteen(const Rows& rows, Ahead& ahead) : rows(rows) {
    __m512i first[4];
    load_words(rows, 0, first, ahead);
    d = halves16<0>(first[0]);
    dmin = _mm512_xor_ps(halves16<1>(first[0]), _mm512_set1_ps(-0.0f));
    scales[0] = _mm512_and_si512(first[1], constant16(63));
    scales[1] = add_bits16<-2>(first[1], 48, _mm512_and_si512(first[3], constant16(15)));
    minimums[0] = _mm512_and_si512(first[2], constant16(63));
    minimums[1] = add_bits16<-2>(first[2], 48, nibbles16<4>(first[3]));
  }

  template <int kGroup, class Ahead>
  TRAMONTANE_INLINE void group(Operands<V>& out, Ahead& ahead) {
    if constexpr (kGroup % 2 == 0) {
      load_words(rows, offsetof(Block, nibbles) + 16 * kGroup, words, ahead);
      load_words(rows, offsetof(Block, nibbles) + 16 * kGroup + 16, words + 4, ahead);
    }
    for (int j = 0; j < 8; ++j) out.w[j] = nibbles16<kGroup % 2 * 4>(words[j]);
    out.scales[0] = _mm512_mul_ps(d, byte_floats16<kGroup % 4>(scales[kGroup / 4]));
    out.offsets[0] = _mm512_mul_ps(dmin, byte_floats16<kGroup % 4>(minimums[kGroup / 4]));
  }
  Rows rows;
  __m512 d, dmin;
  __m512i scales[2], minimums[2], words[8];
};

template <class V>
struct BlockOfSixteen<Format::kQ6_K, V> {
  using Block = quant::Q6_K;
  template <class Ahead>
  TRAMONTANE_INLINE BlockOfSixteen(const Rows& rows, Ahead& ahead) : rows(rows) {
    load_words(rows, offsetof(Block, scales), scales, ahead);
    ahead.next_line();
    d = load_halves(rows, offsetof(Block, d));
  }

  template <int kGroup, class Ahead>
  TRAMONTANE_INLINE void group(Operands<V>& out, Ahead& ahead) {
    constexpr int kQuarter = kGroup % 4;
    if constexpr (kQuarter == 0) {
      for (int i = 0; i < 4; ++i) {
        load_words(rows, offsetof(Block, nibbles) + 16 * kGroup + 16 * i, words + 4 * i, ahead);
      }
      load_words(rows, offsetof(Block, pairs) + 8 * kGroup, pairs, ahead);
      load_words(rows, offsetof(Block, pairs) + 8 * kGroup + 16, pairs + 4, ahead);
    }
    for (int j = 0; j < 8; ++j) {
      const __m512i low = nibbles16<kQuarter / 2 * 4>(words[kQuarter % 2 * 8 + j]);
      out.w[j] = add_bits16<4 - 2 * kQuarter>(pairs[j], 48, low);
    }
    out.scales[0] = _mm512_mul_ps(d, signed_byte_floats16<kGroup % 2 * 2>(scales[kGroup / 2]));
    out.scales[1] = _mm512_mul_ps(d, signed_byte_floats16<kGroup % 2 * 2 + 1>(scales[kGroup / 2]));
  }
  Rows rows;
  __m512 d;
  __m512i scales[4], words[16], pairs[8];
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
