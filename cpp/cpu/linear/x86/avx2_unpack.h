// Unpack<F>: how the AVX2 kernels read 8 rows of a quantized format.
//
// 16 inputs of 8 outputs are four vectors, of words of 4 inputs, in one of two forms. Between them
// is a transposition, and what is done to all bytes alike is the same in both.
//
//   ByRows: rows i and i + 4        ByOutputs: lane = output
//   row 0, 4: a0 a1 a2 a3 | e0 ...        word 0: a0 b0 c0 d0 e0 f0 g0 h0
//   row 1, 5: b0 b1 b2 b3 | f0 ...   ->   word 1: a1 b1 c1 d1 e1 f1 g1 h1
//   ...                                   ...
//
// ByOutputs is for weights that meet many rows of activations: a broadcast of 4 of them serves 8
// outputs, and no sum crosses lanes. For one row it is less work to multiply ByRows and transpose
// the sums.
#pragma once

#include "cpu/linear/x86/avx2_dot.h"
#include "quant/blocks.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// Eight rows of weights: row i starts at base + i * stride.
struct Rows {
  const uint8_t* base;
  int64_t stride;

  const uint8_t* row(int i) const { return base + i * stride; }
  Rows operator+(int64_t bytes) const { return {base + bytes, stride}; }
};

// How what comes after the rows at hand is asked for: all lines of a group at once, or one by one
// between loads.
enum class Ask { kNever, kAtOnce, kInBetween };

template <Ask kAsk>
struct Ahead {
  // The last rows of a stripe are asked for when the next stripe is about to begin with them.
  static constexpr int kFurther = 4096;
  const uint8_t* at;

  // Here and now: compilers would else ask for all lines of a block at once.
  TRAMONTANE_INLINE void next_line() {
    if constexpr (kAsk == Ask::kInBetween) {
      prefetch(at + kFurther);
      at += 64;
      stay_in_order();
    }
  }
};

template <Format kFormat, class Form>
struct Unpack;

// A block of a form, as BlockSource takes it.
template <Format kFormat, class Form>
struct BlockOf {
  template <Ask kAsk>
  TRAMONTANE_INLINE BlockOf(const Rows& rows, const Ahead<kAsk>&) : unpacked(rows) {}

  template <int kGroup, Ask kAsk>
  TRAMONTANE_INLINE void group(UnpackedGroup& x, const Ahead<kAsk>&) {
    unpacked.template group<kGroup>(x);
  }
  Unpack<kFormat, Form> unpacked;
};

TRAMONTANE_INLINE int load_int(const uint8_t* p) {
  int value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

TRAMONTANE_INLINE int load_short(const uint8_t* p) {
  int16_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

TRAMONTANE_INLINE void transpose(__m256i row04, __m256i row15, __m256i row26, __m256i row37,
                                 __m256i* words) {
  const __m256i a = _mm256_unpacklo_epi32(row04, row15), b = _mm256_unpackhi_epi32(row04, row15);
  const __m256i c = _mm256_unpacklo_epi32(row26, row37), d = _mm256_unpackhi_epi32(row26, row37);
  words[0] = _mm256_unpacklo_epi64(a, c);
  words[1] = _mm256_unpackhi_epi64(a, c);
  words[2] = _mm256_unpacklo_epi64(b, d);
  words[3] = _mm256_unpackhi_epi64(b, d);
}

// 16 bytes of two rows.
TRAMONTANE_INLINE __m256i load_pair(const uint8_t* low, const uint8_t* high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(low)), load16(high), 1);
}

struct ByRows {
  using Group = UnpackedGroup;
  template <Format kFormat>
  using Block = BlockOf<kFormat, ByRows>;

  // 16 bytes of each row.
  TRAMONTANE_INLINE static void load(const Rows& rows, int64_t offset, __m256i* pairs) {
    const uint8_t* p = rows.base + offset;
    const uint8_t* p4 = p + 4 * rows.stride;
    const int64_t s = rows.stride;
    pairs[0] = load_pair(p, p4);
    pairs[1] = load_pair(p + s, p4 + s);
    pairs[2] = load_pair(p + 2 * s, p4 + 2 * s);
    pairs[3] = load_pair(p + 3 * s, p4 + 3 * s);
  }
};

struct ByOutputs {
  using Group = UnpackedGroup;
  template <Format kFormat>
  using Block = BlockOf<kFormat, ByOutputs>;

  // A GPTQ group.
  template <class Source>
  TRAMONTANE_INLINE static void load_group(const Source& source, const Stripe& stripe, int32_t g,
                                           UnpackedGroup& x) {
    source.load_group(stripe.output, g, x);
  }

  TRAMONTANE_INLINE static void load(const Rows& rows, int64_t offset, __m256i* words) {
    __m256i pairs[4];
    ByRows::load(rows, offset, pairs);
    transpose(pairs[0], pairs[1], pairs[2], pairs[3], words);
  }
};

TRAMONTANE_INLINE __m128i load_ints(const uint8_t* p, int64_t stride) {
  __m128i x = _mm_cvtsi32_si128(load_int(p));
  x = _mm_insert_epi32(x, load_int(p + stride), 1);
  x = _mm_insert_epi32(x, load_int(p + 2 * stride), 2);
  return _mm_insert_epi32(x, load_int(p + 3 * stride), 3);
}

// 4 bytes of each row.
TRAMONTANE_INLINE __m256i load_word(const Rows& rows, int64_t offset) {
  const uint8_t* p = rows.base + offset;
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load_ints(p, rows.stride)),
                                 load_ints(p + 4 * rows.stride, rows.stride), 1);
}

// The f16 that starts 16 bytes of each row.
TRAMONTANE_INLINE __m256 load_first_half(const Rows& rows) {
  const auto two = [&](int i) {
    return _mm_unpacklo_epi16(load16(rows.row(i)), load16(rows.row(i + 1)));
  };
  const __m128i first = _mm_unpacklo_epi32(two(0), two(2));
  return _mm256_cvtph_ps(_mm_unpacklo_epi64(first, _mm_unpacklo_epi32(two(4), two(6))));
}

// An f16 of each row.
TRAMONTANE_INLINE __m256 load_half(const Rows& rows, int64_t offset) {
  const uint8_t* p = rows.base + offset;
  const int64_t s = rows.stride;
  __m128i x = _mm_cvtsi32_si128(load_short(p));
  x = _mm_insert_epi16(x, load_short(p + s), 1);
  x = _mm_insert_epi16(x, load_short(p + 2 * s), 2);
  x = _mm_insert_epi16(x, load_short(p + 3 * s), 3);
  p += 4 * s;
  x = _mm_insert_epi16(x, load_short(p), 4);
  x = _mm_insert_epi16(x, load_short(p + s), 5);
  x = _mm_insert_epi16(x, load_short(p + 2 * s), 6);
  x = _mm_insert_epi16(x, load_short(p + 3 * s), 7);
  return _mm256_cvtph_ps(x);
}

// The f16 in the low or high half of each lane.
TRAMONTANE_INLINE __m256 halves(__m256i words, int index) {
  const __m256i low = index == 0 ? _mm256_and_si256(words, _mm256_set1_epi32(0xffff))
                                 : _mm256_srli_epi32(words, 16);
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  return _mm256_cvtph_ps(packed);
}

// Byte `index` of each lane, as a pair of equal int16.
TRAMONTANE_INLINE __m256i unsigned_pairs(__m256i words, int index) {
  const __m256i first = _mm256_setr_epi8(0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12, -1,
                                         0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12, -1);
  const __m256i step = _mm256_set1_epi16(static_cast<int16_t>(index));
  return _mm256_shuffle_epi8(words, _mm256_add_epi8(first, step));
}

TRAMONTANE_INLINE __m256i signed_pairs(__m256i words, int index) {
  const __m256i first = _mm256_setr_epi8(-1, 0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12,
                                         -1, 0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12);
  const __m256i step = _mm256_slli_epi16(_mm256_set1_epi16(static_cast<int16_t>(index)), 8);
  return _mm256_srai_epi16(_mm256_shuffle_epi8(words, _mm256_add_epi8(first, step)), 8);
}

// Byte `index` of each lane as a float.
TRAMONTANE_INLINE __m256 byte_floats(__m256i words, int index) {
  const __m256i shifted = _mm256_srli_epi32(words, 8 * index);
  return _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(0xff)));
}

// Byte `index` of each lane, signed, as a float 2^24 times as large.
TRAMONTANE_INLINE __m256 signed_byte_floats(__m256i words, int index) {
  const __m256i first =
      _mm256_setr_epi8(-1, -1, -1, 0, -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12, -1, -1, -1, 0,
                       -1, -1, -1, 4, -1, -1, -1, 8, -1, -1, -1, 12);
  const __m256i step = _mm256_slli_epi32(_mm256_set1_epi32(index), 24);
  return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(words, _mm256_add_epi8(first, step)));
}

// The low or high nibbles of `count` vectors.
template <int kShift>
TRAMONTANE_INLINE void nibbles(const __m256i* words, int count, __m256i* out) {
  for (int j = 0; j < count; ++j) {
    out[j] = _mm256_and_si256(kShift == 0 ? words[j] : _mm256_srli_epi16(words[j], kShift),
                              constant(15));
  }
}

// Of each byte, bit kBit moved to bit kTo, kCount bits wide; the others zero.
template <int kBit, int kTo, int kCount>
TRAMONTANE_INLINE __m256i bits(__m256i word) {
  __m256i moved = word;
  if constexpr (kBit > kTo) moved = _mm256_srli_epi16(word, kBit - kTo);
  if constexpr (kBit < kTo) moved = _mm256_slli_epi16(word, kTo - kBit);
  return _mm256_and_si256(moved, constant(((1 << kCount) - 1) << kTo));
}

// 16 bytes of nibbles, as in Q4_0: 32 inputs.
template <class Form>
TRAMONTANE_INLINE void load_nibbles(const Rows& rows, int64_t offset, __m256i* w) {
  __m256i packed[4];
  Form::load(rows, offset, packed);
  nibbles<0>(packed, 4, w);
  nibbles<4>(packed, 4, w + 4);
}

template <class Form>
struct Unpack<Format::kQ4_0, Form> : Shape<32, 4, false, 8, false> {
  using Block = quant::Q4_0;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) const {
    load_nibbles<Form>(rows, offsetof(Block, nibbles), x.w);
    x.scale[0] = load_first_half(rows);
  }
  Rows rows;
};

template <class Form>
struct Unpack<Format::kQ4_1, Form> : Shape<32, 4, false, kNoZero, true> {
  using Block = quant::Q4_1;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) const {
    load_nibbles<Form>(rows, offsetof(Block, nibbles), x.w);
    const __m256i scales = load_word(rows, 0);
    x.scale[0] = halves(scales, 0);
    x.offset[0] = halves(scales, 1);
  }
  Rows rows;
};

// Adds bit i of each lane of `fifth`, a row's, as bit 4 of input i.
template <class Form>
TRAMONTANE_INLINE void add_fifth_bits(__m256i fifth, __m256i* w) {
  if constexpr (std::is_same_v<Form, ByRows>) {
    const __m256i masks = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) {
        // Two bytes of row i, and of row i + 4, eight times each.
        const __m256i bytes = _mm256_setr_epi64x(0, 0x0101010101010101, 0, 0x0101010101010101);
        const __m256i at = _mm256_add_epi8(bytes, constant(4 * i + 2 * half));
        const __m256i bits = _mm256_and_si256(_mm256_shuffle_epi8(fifth, at), masks);
        const __m256i set = _mm256_cmpeq_epi8(bits, masks);
        w[4 * half + i] = _mm256_or_si256(w[4 * half + i], _mm256_and_si256(set, constant(16)));
      }
    }
    return;
  }
  const __m256i masks = _mm256_set1_epi32(static_cast<int>(0x80402010u));
  for (int byte = 0; byte < 4; ++byte) {
    // The byte four times; its upper half belongs to one vector, its lower half to another.
    const __m256i lanes = _mm256_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12, 0, 0,
                                           0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    const __m256i spread = _mm256_shuffle_epi8(fifth, _mm256_add_epi8(lanes, constant(byte)));
    const __m256i upper = _mm256_and_si256(spread, masks);
    const __m256i lower = _mm256_and_si256(_mm256_slli_epi16(spread, 4), masks);
    // A bit at 4 or above becomes bit 4.
    w[2 * byte] = _mm256_or_si256(w[2 * byte], _mm256_min_epu8(lower, constant(16)));
    w[2 * byte + 1] = _mm256_or_si256(w[2 * byte + 1], _mm256_min_epu8(upper, constant(16)));
  }
}

template <class Form>
struct Unpack<Format::kQ5_0, Form> : Shape<32, 5, false, 16, false> {
  using Block = quant::Q5_0;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) const {
    load_nibbles<Form>(rows, offsetof(Block, nibbles), x.w);
    add_fifth_bits<Form>(load_word(rows, offsetof(Block, fifth)), x.w);
    x.scale[0] = load_first_half(rows);
  }
  Rows rows;
};

template <class Form>
struct Unpack<Format::kQ5_1, Form> : Shape<32, 5, false, kNoZero, true> {
  using Block = quant::Q5_1;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) const {
    load_nibbles<Form>(rows, offsetof(Block, nibbles), x.w);
    add_fifth_bits<Form>(load_word(rows, offsetof(Block, fifth)), x.w);
    const __m256i scales = load_word(rows, 0);
    x.scale[0] = halves(scales, 0);
    x.offset[0] = halves(scales, 1);
  }
  Rows rows;
};

// 32 bytes behind a scale.
template <class Block_, class Form>
struct UnpackBytes : Shape<32, 8, false, kNoZero, false> {
  using Block = Block_;
  TRAMONTANE_INLINE explicit UnpackBytes(const Rows& rows) : rows(rows) {}

  template <int>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) const {
    Form::load(rows, offsetof(Block, q), x.w);
    Form::load(rows, offsetof(Block, q) + 16, x.w + 4);
    x.scale[0] = load_first_half(rows);
  }
  Rows rows;
};

template <class Form>
struct Unpack<Format::kQ8_0, Form> : UnpackBytes<quant::Q8_0, Form> {
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : UnpackBytes<quant::Q8_0, Form>(rows) {}
};

template <class Form>
struct Unpack<Format::kQ8_1, Form> : UnpackBytes<quant::Q8_1, Form> {
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : UnpackBytes<quant::Q8_1, Form>(rows) {}
};

TRAMONTANE_INLINE void look_up_iq4(__m256i* w) {
  const __m256i table =
      _mm256_broadcastsi128_si256(load16(reinterpret_cast<const uint8_t*>(quant::kIq4Values)));
  for (int j = 0; j < 8; ++j) w[j] = _mm256_shuffle_epi8(table, w[j]);
}

template <class Form>
struct Unpack<Format::kIQ4_NL, Form> : Shape<32, 8, false, kNoZero, false> {
  using Block = quant::IQ4_NL;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  TRAMONTANE_INLINE void group(UnpackedGroup& x) const {
    load_nibbles<Form>(rows, offsetof(Block, nibbles), x.w);
    look_up_iq4(x.w);
    x.scale[0] = load_first_half(rows);
  }
  Rows rows;
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
