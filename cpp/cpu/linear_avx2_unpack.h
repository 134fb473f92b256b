// Unpack<F>: how the AVX2 kernels read 8 rows of a quantized format. Included by linear_avx2.cc
// inside its target pragma.
//
// A vector holds 4 inputs of 8 outputs (lane = output), the form in which one maddubs with a
// broadcast of 4 activations serves 8 outputs, and in which no sum ever crosses lanes. Rows are
// brought into it by transposing 16 bytes of 8 rows as 8 x 4 words:
//
//   row 0: a0 a1 a2 a3        word 0: a0 b0 c0 d0 e0 f0 g0 h0
//   row 1: b0 b1 b2 b3   ->   word 1: a1 b1 c1 d1 e1 f1 g1 h1
//   ...                       ...
#pragma once

namespace tramontane::cpu {
namespace {

constexpr int kLanes = 8;

// Eight rows of weights: row i starts at base + i * stride.
struct Rows {
  const uint8_t* base;
  int64_t stride;

  const uint8_t* row(int i) const { return base + i * stride; }
  Rows operator+(int64_t bytes) const { return {base + bytes, stride}; }
};

// What the dot products need to know of a format at compile time.
template <int kSubgroup_, int kBits_, bool kInner_, bool kZero_, bool kOffset_>
struct Shape {
  using ShapeType = Shape;
  static constexpr int kSubgroup = kSubgroup_;  // Inputs that share a scale: 16 or 32.
  static constexpr int kBits = kBits_;          // Of unsigned integers; 8: signed.
  static constexpr bool kInner = kInner_;       // There are integer scales inside a block.
  static constexpr bool kZero = kZero_;         // There is an integer zero point.
  static constexpr bool kOffset = kOffset_;     // There is a float offset.
  static constexpr int kSubgroups = 32 / kSubgroup;
};

// 32 inputs of 8 outputs. Weight i of a lane is scale * inner[i / 16] * (w[i] - zero) + offset.
struct Group {
  __m256i w[8];      // Vector j: inputs 4j to 4j + 3.
  __m256i inner[2];  // Pairs of equal int16, one vector a subgroup.
  __m256i zero;      // Pairs of int16 that meet the two sums of 16 activations: inner * zero.
  __m256 scale;
  __m256 offset[2];  // One vector a subgroup.
};

template <Format kFormat>
struct Unpack;

inline __m256i constant(int byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }

inline __m128i load16(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

inline int load_int(const uint8_t* p) {
  int value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

inline int load_short(const uint8_t* p) {
  int16_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

inline void transpose(__m256i row04, __m256i row15, __m256i row26, __m256i row37, __m256i* words) {
  const __m256i a = _mm256_unpacklo_epi32(row04, row15), b = _mm256_unpackhi_epi32(row04, row15);
  const __m256i c = _mm256_unpacklo_epi32(row26, row37), d = _mm256_unpackhi_epi32(row26, row37);
  words[0] = _mm256_unpacklo_epi64(a, c);
  words[1] = _mm256_unpackhi_epi64(a, c);
  words[2] = _mm256_unpacklo_epi64(b, d);
  words[3] = _mm256_unpackhi_epi64(b, d);
}

// 16 bytes of each row as four words.
inline void load_words(const Rows& rows, int64_t offset, __m256i* words) {
  const auto pair = [&](int i) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(rows.row(i) + offset)),
                                   load16(rows.row(i + 4) + offset), 1);
  };
  transpose(pair(0), pair(1), pair(2), pair(3), words);
}

// 4 bytes of each row.
inline __m256i load_word(const Rows& rows, int64_t offset) {
  const auto four = [&](int i) {
    __m128i x = _mm_cvtsi32_si128(load_int(rows.row(i) + offset));
    x = _mm_insert_epi32(x, load_int(rows.row(i + 1) + offset), 1);
    x = _mm_insert_epi32(x, load_int(rows.row(i + 2) + offset), 2);
    return _mm_insert_epi32(x, load_int(rows.row(i + 3) + offset), 3);
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(four(0)), four(4), 1);
}

// An f16 of each row.
inline __m256 load_half(const Rows& rows, int64_t offset) {
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
inline __m256 halves(__m256i words, int index) {
  const __m256i low = index == 0 ? _mm256_and_si256(words, _mm256_set1_epi32(0xffff))
                                 : _mm256_srli_epi32(words, 16);
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  return _mm256_cvtph_ps(packed);
}

// Byte `index` of each lane, as a pair of equal int16.
inline __m256i unsigned_pairs(__m256i words, int index) {
  const __m256i first = _mm256_setr_epi8(0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12, -1,
                                         0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12, -1);
  const __m256i step = _mm256_set1_epi16(static_cast<int16_t>(index));
  return _mm256_shuffle_epi8(words, _mm256_add_epi8(first, step));
}

inline __m256i signed_pairs(__m256i words, int index) {
  const __m256i first = _mm256_setr_epi8(-1, 0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12,
                                         -1, 0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12);
  const __m256i step = _mm256_slli_epi16(_mm256_set1_epi16(static_cast<int16_t>(index)), 8);
  return _mm256_srai_epi16(_mm256_shuffle_epi8(words, _mm256_add_epi8(first, step)), 8);
}

// Byte `index` of each lane as a float.
inline __m256 byte_floats(__m256i words, int index) {
  const __m256i shifted = _mm256_srli_epi32(words, 8 * index);
  return _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(0xff)));
}

// inner * 2^kLog2, the low int16 of each pair from `first`, the high from `second`.
template <int kLog2>
inline __m256i zero_pairs(__m256i first, __m256i second) {
  return _mm256_slli_epi16(_mm256_blend_epi16(first, second, 0xaa), kLog2);
}

// The low or high nibbles of `count` vectors.
template <int kShift>
inline void nibbles(const __m256i* words, int count, __m256i* out) {
  for (int j = 0; j < count; ++j) {
    out[j] = _mm256_and_si256(kShift == 0 ? words[j] : _mm256_srli_epi16(words[j], kShift),
                              constant(15));
  }
}

// Of each byte, bit kBit moved to bit kTo, kCount bits wide; the others zero.
template <int kBit, int kTo, int kCount>
inline __m256i bits(__m256i word) {
  __m256i moved = word;
  if constexpr (kBit > kTo) moved = _mm256_srli_epi16(word, kBit - kTo);
  if constexpr (kBit < kTo) moved = _mm256_slli_epi16(word, kTo - kBit);
  return _mm256_and_si256(moved, constant(((1 << kCount) - 1) << kTo));
}

// 16 bytes of nibbles, as in Q4_0: 32 inputs.
inline void load_nibbles(const Rows& rows, int64_t offset, __m256i* w) {
  __m256i words[4];
  load_words(rows, offset, words);
  nibbles<0>(words, 4, w);
  nibbles<4>(words, 4, w + 4);
}

template <>
struct Unpack<Format::kQ4_0> : Shape<32, 4, false, true, false> {
  using Block = quant::Q4_0;
  explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  void group(Group& x) const {
    load_nibbles(rows, offsetof(Block, nibbles), x.w);
    x.zero = _mm256_set1_epi16(8);
    x.scale = load_half(rows, offsetof(Block, d));
  }
  Rows rows;
};

template <>
struct Unpack<Format::kQ4_1> : Shape<32, 4, false, false, true> {
  using Block = quant::Q4_1;
  explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  void group(Group& x) const {
    load_nibbles(rows, offsetof(Block, nibbles), x.w);
    const __m256i scales = load_word(rows, 0);
    x.scale = halves(scales, 0);
    x.offset[0] = halves(scales, 1);
  }
  Rows rows;
};

// Adds bit i of each lane of `fifth` as bit 4 of input i.
inline void add_fifth_bits(__m256i fifth, __m256i* w) {
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

template <>
struct Unpack<Format::kQ5_0> : Shape<32, 5, false, true, false> {
  using Block = quant::Q5_0;
  explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  void group(Group& x) const {
    load_nibbles(rows, offsetof(Block, nibbles), x.w);
    add_fifth_bits(load_word(rows, offsetof(Block, fifth)), x.w);
    x.zero = _mm256_set1_epi16(16);
    x.scale = load_half(rows, offsetof(Block, d));
  }
  Rows rows;
};

template <>
struct Unpack<Format::kQ5_1> : Shape<32, 5, false, false, true> {
  using Block = quant::Q5_1;
  explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  void group(Group& x) const {
    load_nibbles(rows, offsetof(Block, nibbles), x.w);
    add_fifth_bits(load_word(rows, offsetof(Block, fifth)), x.w);
    const __m256i scales = load_word(rows, 0);
    x.scale = halves(scales, 0);
    x.offset[0] = halves(scales, 1);
  }
  Rows rows;
};

template <>
struct Unpack<Format::kQ8_0> : Shape<32, 8, false, false, false> {
  using Block = quant::Q8_0;
  explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  void group(Group& x) const {
    load_words(rows, offsetof(Block, q), x.w);
    load_words(rows, offsetof(Block, q) + 16, x.w + 4);
    x.scale = load_half(rows, offsetof(Block, d));
  }
  Rows rows;
};

inline void look_up_iq4(__m256i* w) {
  const __m256i table =
      _mm256_broadcastsi128_si256(load16(reinterpret_cast<const uint8_t*>(quant::kIq4Values)));
  for (int j = 0; j < 8; ++j) w[j] = _mm256_shuffle_epi8(table, w[j]);
}

template <>
struct Unpack<Format::kIQ4_NL> : Shape<32, 8, false, false, false> {
  using Block = quant::IQ4_NL;
  explicit Unpack(const Rows& rows) : rows(rows) {}

  template <int>
  void group(Group& x) const {
    load_nibbles(rows, offsetof(Block, nibbles), x.w);
    look_up_iq4(x.w);
    x.scale = load_half(rows, offsetof(Block, d));
  }
  Rows rows;
};

template <>
struct Unpack<Format::kIQ4_XS> : Shape<32, 8, true, false, false> {
  using Block = quant::IQ4_XS;
  explicit Unpack(const Rows& rows) : rows(rows) {
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
  void group(Group& x) const {
    load_nibbles(rows, offsetof(Block, nibbles) + 16 * kGroup, x.w);
    look_up_iq4(x.w);
    x.inner[0] = signed_pairs(scales[kGroup % 2], kGroup / 2);
    x.scale = d;
  }
  Rows rows;
  __m256 d;
  __m256i scales[2];
};

template <>
struct Unpack<Format::kQ2_K> : Shape<16, 2, true, false, true> {
  using Block = quant::Q2_K;
  explicit Unpack(const Rows& rows) : rows(rows) {
    load_words(rows, offsetof(Block, scales), scales);
    const __m256i d_dmin = load_word(rows, offsetof(Block, d));
    d = halves(d_dmin, 0);
    dmin = _mm256_xor_ps(halves(d_dmin, 1), _mm256_set1_ps(-0.0f));
  }

  template <int kGroup>
  void group(Group& x) {
    if constexpr (kGroup % 4 == 0) {
      load_words(rows, offsetof(Block, pairs) + 8 * kGroup, pairs);
      load_words(rows, offsetof(Block, pairs) + 8 * kGroup + 16, pairs + 4);
    }
    for (int j = 0; j < 8; ++j) x.w[j] = bits<kGroup % 4 * 2, 0, 2>(pairs[j]);
    const __m256i low = bits<0, 0, 4>(scales[kGroup / 2]);
    const __m256i high = bits<4, 0, 4>(scales[kGroup / 2]);
    for (int half = 0; half < 2; ++half) {
      const int byte = kGroup % 2 * 2 + half;
      x.inner[half] = unsigned_pairs(low, byte);
      x.offset[half] = _mm256_mul_ps(dmin, byte_floats(high, byte));
    }
    x.scale = d;
  }
  Rows rows;
  __m256 d, dmin;
  __m256i scales[4], pairs[8];
};

template <>
struct Unpack<Format::kQ3_K> : Shape<16, 3, true, true, false> {
  using Block = quant::Q3_K;
  explicit Unpack(const Rows& rows) : rows(rows) {
    load_words(rows, offsetof(Block, third), third);
    load_words(rows, offsetof(Block, third) + 16, third + 4);
    // 16 bytes that end with the block: two others, the 12 of the scales, d.
    __m256i words[4];
    load_words(rows, sizeof(Block) - 16, words);
    const auto word = [&](int i) {
      return _mm256_or_si256(_mm256_srli_epi32(words[i], 16), _mm256_slli_epi32(words[i + 1], 16));
    };
    const __m256i low03 = word(0), low47 = word(1), high = word(2);
    d = halves(words[3], 1);
    // Scales 4 i to 4 i + 3 in the bytes of scales[i].
    const __m256i joined[4] = {_mm256_or_si256(bits<0, 0, 4>(low03), bits<0, 4, 2>(high)),
                               _mm256_or_si256(bits<0, 0, 4>(low47), bits<2, 4, 2>(high)),
                               _mm256_or_si256(bits<4, 0, 4>(low03), bits<4, 4, 2>(high)),
                               _mm256_or_si256(bits<4, 0, 4>(low47), bits<6, 4, 2>(high))};
    for (int i = 0; i < 4; ++i) scales[i] = _mm256_sub_epi8(joined[i], constant(32));
  }

  template <int kGroup>
  void group(Group& x) {
    if constexpr (kGroup % 4 == 0) {
      load_words(rows, offsetof(Block, pairs) + 8 * kGroup, pairs);
      load_words(rows, offsetof(Block, pairs) + 8 * kGroup + 16, pairs + 4);
    }
    for (int j = 0; j < 8; ++j) {
      x.w[j] = _mm256_or_si256(bits<kGroup % 4 * 2, 0, 2>(pairs[j]), bits<kGroup, 2, 1>(third[j]));
    }
    for (int half = 0; half < 2; ++half) {
      x.inner[half] = signed_pairs(scales[kGroup / 2], kGroup % 2 * 2 + half);
    }
    x.zero = zero_pairs<2>(x.inner[0], x.inner[1]);
    x.scale = d;
  }
  Rows rows;
  __m256 d;
  __m256i scales[4], pairs[8], third[8];
};

// The first 16 bytes of Q4_K and Q5_K.
struct ScalesAndMinimums {
  explicit ScalesAndMinimums(const Rows& rows) {
    __m256i words[4];  // d | dmin << 16, then the twelve bytes
    load_words(rows, 0, words);
    d = halves(words[0], 0);
    dmin = _mm256_xor_ps(halves(words[0], 1), _mm256_set1_ps(-0.0f));
    scales[0] = bits<0, 0, 6>(words[1]);
    scales[1] = _mm256_or_si256(bits<0, 0, 4>(words[3]), bits<6, 4, 2>(words[1]));
    minimums[0] = bits<0, 0, 6>(words[2]);
    minimums[1] = _mm256_or_si256(bits<4, 0, 4>(words[3]), bits<6, 4, 2>(words[2]));
  }

  template <int kGroup>
  void set(Group& x) const {
    x.inner[0] = unsigned_pairs(scales[kGroup / 4], kGroup % 4);
    x.offset[0] = _mm256_mul_ps(dmin, byte_floats(minimums[kGroup / 4], kGroup % 4));
    x.scale = d;
  }
  __m256 d, dmin;
  __m256i scales[2], minimums[2];  // Groups 4 i to 4 i + 3 in the bytes of vector i.
};

template <>
struct Unpack<Format::kQ4_K> : Shape<32, 4, true, false, true> {
  using Block = quant::Q4_K;
  explicit Unpack(const Rows& rows) : rows(rows), scales(rows) {}

  template <int kGroup>
  void group(Group& x) {
    if constexpr (kGroup % 2 == 0) {
      load_words(rows, offsetof(Block, nibbles) + 16 * kGroup, words);
      load_words(rows, offsetof(Block, nibbles) + 16 * kGroup + 16, words + 4);
    }
    nibbles<kGroup % 2 * 4>(words, 8, x.w);
    scales.set<kGroup>(x);
  }
  Rows rows;
  ScalesAndMinimums scales;
  __m256i words[8];
};

template <>
struct Unpack<Format::kQ5_K> : Shape<32, 5, true, false, true> {
  using Block = quant::Q5_K;
  explicit Unpack(const Rows& rows) : rows(rows), scales(rows) {
    load_words(rows, offsetof(Block, fifth), fifth);
    load_words(rows, offsetof(Block, fifth) + 16, fifth + 4);
  }

  template <int kGroup>
  void group(Group& x) {
    if constexpr (kGroup % 2 == 0) {
      load_words(rows, offsetof(Block, nibbles) + 16 * kGroup, words);
      load_words(rows, offsetof(Block, nibbles) + 16 * kGroup + 16, words + 4);
    }
    nibbles<kGroup % 2 * 4>(words, 8, x.w);
    for (int j = 0; j < 8; ++j) x.w[j] = _mm256_or_si256(x.w[j], bits<kGroup, 4, 1>(fifth[j]));
    scales.set<kGroup>(x);
  }
  Rows rows;
  ScalesAndMinimums scales;
  __m256i words[8], fifth[8];
};

template <>
struct Unpack<Format::kQ6_K> : Shape<16, 6, true, true, false> {
  using Block = quant::Q6_K;
  explicit Unpack(const Rows& rows) : rows(rows) {
    load_words(rows, offsetof(Block, scales), scales);
    d = load_half(rows, offsetof(Block, d));
  }

  template <int kGroup>
  void group(Group& x) {
    constexpr int kQuarter = kGroup % 4;
    if constexpr (kQuarter == 0) {
      for (int i = 0; i < 4; ++i) {
        load_words(rows, offsetof(Block, nibbles) + 16 * kGroup + 16 * i, words + 4 * i);
      }
      load_words(rows, offsetof(Block, pairs) + 8 * kGroup, pairs);
      load_words(rows, offsetof(Block, pairs) + 8 * kGroup + 16, pairs + 4);
    }
    nibbles<kQuarter / 2 * 4>(words + kQuarter % 2 * 8, 8, x.w);
    for (int j = 0; j < 8; ++j) {
      x.w[j] = _mm256_or_si256(x.w[j], bits<2 * kQuarter, 4, 2>(pairs[j]));
    }
    for (int half = 0; half < 2; ++half) {
      x.inner[half] = signed_pairs(scales[kGroup / 2], kGroup % 2 * 2 + half);
    }
    x.zero = zero_pairs<5>(x.inner[0], x.inner[1]);
    x.scale = d;
  }
  Rows rows;
  __m256 d;
  __m256i scales[4], words[16], pairs[8];
};

}  // namespace
}  // namespace tramontane::cpu
