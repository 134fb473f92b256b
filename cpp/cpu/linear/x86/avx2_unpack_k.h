// Unpack<F> of the formats with blocks of 256: IQ4_XS and the K-quants. A block's vectors that
// serve several groups are made once.
#pragma once

#include "cpu/linear/x86/avx2_unpack.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

template <class Form>
struct Unpack<Format::kIQ4_XS, Form> : Shape<32, 8, true, kNoZero, false> {
  using Block = quant::IQ4_XS;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows) {
    const __m256i first = load_word(rows, 0);  // d, scales_high
    const __m256i low = load_word(rows, offsetof(Block, scales_low));
    d = halves(first, 0);
    const __m256i high = _mm256_srli_epi32(first, 16);
    // Nibble n, the high bits of groups 2 n and 2 n + 1, moves to byte n. Then groups 0 2 4 6 are
    // in the bytes of scales[0], 1 3 5 7 in those of scales[1].
    const __m256i spread = _mm256_or_si256(
        _mm256_or_si256(_mm256_and_si256(high, _mm256_set1_epi32(0x0f)),
                        _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(0xf0)), 4)),
        _mm256_or_si256(_mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(0xf00)), 8),
                        _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(0xf000)), 12)));
    const __m256i even = _mm256_or_si256(bits<0, 0, 4>(low), bits<0, 4, 2>(spread));
    const __m256i odd = _mm256_or_si256(bits<4, 0, 4>(low), bits<2, 4, 2>(spread));
    scales[0] = _mm256_sub_epi8(even, constant(32));
    scales[1] = _mm256_sub_epi8(odd, constant(32));
  }

  template <int kGroup>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) const {
    load_nibbles<Form>(rows, offsetof(Block, nibbles) + 16 * kGroup, x.w);
    look_up_iq4(x.w);
    x.inner = signed_pairs(scales[kGroup % 2], kGroup / 2);
    x.scale[0] = d;
  }
  Rows rows;
  __m256 d;
  __m256i scales[2];
};

template <class Form>
struct Unpack<Format::kQ2_K, Form> : Shape<16, 2, false, kNoZero, true> {
  using Block = quant::Q2_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows) {
    ByOutputs::load(rows, offsetof(Block, scales), scales);
    const __m256i d_dmin = load_word(rows, offsetof(Block, d));
    d = halves(d_dmin, 0);
    dmin = _mm256_xor_ps(halves(d_dmin, 1), _mm256_set1_ps(-0.0f));
  }

  template <int kGroup>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) {
    if constexpr (kGroup % 4 == 0) {
      Form::load(rows, offsetof(Block, pairs) + 8 * kGroup, pairs);
      Form::load(rows, offsetof(Block, pairs) + 8 * kGroup + 16, pairs + 4);
    }
    for (int j = 0; j < 8; ++j) x.w[j] = bits<kGroup % 4 * 2, 0, 2>(pairs[j]);
    const __m256i low = bits<0, 0, 4>(scales[kGroup / 2]);
    const __m256i high = bits<4, 0, 4>(scales[kGroup / 2]);
    for (int half = 0; half < 2; ++half) {
      const int byte = kGroup % 2 * 2 + half;
      x.scale[half] = _mm256_mul_ps(d, byte_floats(low, byte));
      x.offset[half] = _mm256_mul_ps(dmin, byte_floats(high, byte));
    }
  }
  Rows rows;
  __m256 d, dmin;
  __m256i scales[4], pairs[8];
};

// Signed scales of 16 inputs.
struct ByteScales {
  TRAMONTANE_INLINE void set_unit(__m256 d) { unit = _mm256_mul_ps(d, _mm256_set1_ps(0x1p-24f)); }

  template <int kGroup>
  TRAMONTANE_INLINE void set(UnpackedGroup& x) const {
    for (int half = 0; half < 2; ++half) {
      const int byte = kGroup % 2 * 2 + half;
      x.scale[half] = _mm256_mul_ps(unit, signed_byte_floats(bytes[kGroup / 2], byte));
    }
  }
  __m256i bytes[4];  // Scales 4 i to 4 i + 3 in the bytes of vector i.
  __m256 unit;       // d / 2^24
};

template <class Form>
struct Unpack<Format::kQ3_K, Form> : Shape<16, 3, false, 4, false> {
  using Block = quant::Q3_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows) {
    Form::load(rows, offsetof(Block, third), third);
    Form::load(rows, offsetof(Block, third) + 16, third + 4);
    // 16 bytes that end with the block: two others, the 12 of the scales, d.
    __m256i words[4];
    ByOutputs::load(rows, sizeof(Block) - 16, words);
    const auto word = [&](int i) {
      return _mm256_or_si256(_mm256_srli_epi32(words[i], 16), _mm256_slli_epi32(words[i + 1], 16));
    };
    const __m256i low03 = word(0), low47 = word(1), high = word(2);
    scales.set_unit(halves(words[3], 1));
    const __m256i joined[4] = {_mm256_or_si256(bits<0, 0, 4>(low03), bits<0, 4, 2>(high)),
                               _mm256_or_si256(bits<0, 0, 4>(low47), bits<2, 4, 2>(high)),
                               _mm256_or_si256(bits<4, 0, 4>(low03), bits<4, 4, 2>(high)),
                               _mm256_or_si256(bits<4, 0, 4>(low47), bits<6, 4, 2>(high))};
    for (int i = 0; i < 4; ++i) scales.bytes[i] = _mm256_sub_epi8(joined[i], constant(32));
  }

  template <int kGroup>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) {
    if constexpr (kGroup % 4 == 0) {
      Form::load(rows, offsetof(Block, pairs) + 8 * kGroup, pairs);
      Form::load(rows, offsetof(Block, pairs) + 8 * kGroup + 16, pairs + 4);
    }
    for (int j = 0; j < 8; ++j) {
      x.w[j] = _mm256_or_si256(bits<kGroup % 4 * 2, 0, 2>(pairs[j]), bits<kGroup, 2, 1>(third[j]));
    }
    scales.set<kGroup>(x);
  }
  Rows rows;
  ByteScales scales;
  __m256i pairs[8], third[8];
};

// The first 16 bytes of Q4_K and Q5_K.
struct ScalesAndMinimums {
  TRAMONTANE_INLINE explicit ScalesAndMinimums(const Rows& rows) {
    __m256i words[4];  // d | dmin << 16, then the twelve bytes
    ByOutputs::load(rows, 0, words);
    d = halves(words[0], 0);
    dmin = _mm256_xor_ps(halves(words[0], 1), _mm256_set1_ps(-0.0f));
    scales[0] = bits<0, 0, 6>(words[1]);
    scales[1] = _mm256_or_si256(bits<0, 0, 4>(words[3]), bits<6, 4, 2>(words[1]));
    minimums[0] = bits<0, 0, 6>(words[2]);
    minimums[1] = _mm256_or_si256(bits<4, 0, 4>(words[3]), bits<6, 4, 2>(words[2]));
  }

  template <int kGroup>
  TRAMONTANE_INLINE void set(UnpackedGroup& x) const {
    x.inner = unsigned_pairs(scales[kGroup / 4], kGroup % 4);
    x.offset[0] = _mm256_mul_ps(dmin, byte_floats(minimums[kGroup / 4], kGroup % 4));
    x.scale[0] = d;
  }
  __m256 d, dmin;
  __m256i scales[2], minimums[2];  // Groups 4 i to 4 i + 3 in the bytes of vector i.
};

template <class Form>
struct Unpack<Format::kQ4_K, Form> : Shape<32, 4, true, kNoZero, true> {
  using Block = quant::Q4_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows), scales(rows) {}

  template <int kGroup>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) {
    if constexpr (kGroup % 2 == 0) {
      Form::load(rows, offsetof(Block, nibbles) + 16 * kGroup, words);
      Form::load(rows, offsetof(Block, nibbles) + 16 * kGroup + 16, words + 4);
    }
    nibbles<kGroup % 2 * 4>(words, 8, x.w);
    scales.set<kGroup>(x);
  }
  Rows rows;
  ScalesAndMinimums scales;
  __m256i words[8];
};

template <class Form>
struct Unpack<Format::kQ5_K, Form> : Shape<32, 5, true, kNoZero, true> {
  using Block = quant::Q5_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows), scales(rows) {
    Form::load(rows, offsetof(Block, fifth), fifth);
    Form::load(rows, offsetof(Block, fifth) + 16, fifth + 4);
  }

  template <int kGroup>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) {
    if constexpr (kGroup % 2 == 0) {
      Form::load(rows, offsetof(Block, nibbles) + 16 * kGroup, words);
      Form::load(rows, offsetof(Block, nibbles) + 16 * kGroup + 16, words + 4);
    }
    nibbles<kGroup % 2 * 4>(words, 8, x.w);
    for (int j = 0; j < 8; ++j) x.w[j] = _mm256_or_si256(x.w[j], bits<kGroup, 4, 1>(fifth[j]));
    scales.set<kGroup>(x);
  }
  Rows rows;
  ScalesAndMinimums scales;
  __m256i words[8], fifth[8];
};

template <class Form>
struct Unpack<Format::kQ6_K, Form> : Shape<16, 6, false, 32, false> {
  using Block = quant::Q6_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows) {
    ByOutputs::load(rows, offsetof(Block, scales), scales.bytes);
    scales.set_unit(load_half(rows, offsetof(Block, d)));
  }

  template <int kGroup>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) {
    constexpr int kQuarter = kGroup % 4;
    if constexpr (kQuarter == 0) {
      for (int i = 0; i < 4; ++i) {
        Form::load(rows, offsetof(Block, nibbles) + 16 * kGroup + 16 * i, words + 4 * i);
      }
      Form::load(rows, offsetof(Block, pairs) + 8 * kGroup, pairs);
      Form::load(rows, offsetof(Block, pairs) + 8 * kGroup + 16, pairs + 4);
    }
    nibbles<kQuarter / 2 * 4>(words + kQuarter % 2 * 8, 8, x.w);
    for (int j = 0; j < 8; ++j) {
      x.w[j] = _mm256_or_si256(x.w[j], bits<2 * kQuarter, 4, 2>(pairs[j]));
    }
    scales.set<kGroup>(x);
  }
  Rows rows;
  ByteScales scales;
  __m256i words[16], pairs[8];
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
