// Unpack<F>: how the NEON kernels read 4 rows of a quantized format.
//
// weights<g>() unpacks group g of a block of one row, in the order of its inputs. The constructor
// reads what all groups of a block of four rows share; scales<g>() makes vectors of it, with lanes
// for rows.
#pragma once

#include "cpu/linear/neon/dot.h"
#include "quant/blocks.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// Four rows of weights: row i starts at base + i * stride.
struct Rows {
  const uint8_t* base;
  int64_t stride;

  const uint8_t* row(int i) const { return base + i * stride; }
  Rows operator+(int64_t bytes) const { return {base + bytes, stride}; }
};

template <Format kFormat>
struct Unpack;

template <class T>
TRAMONTANE_INLINE uint64_t load_as(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// 4 bytes of each row.
TRAMONTANE_INLINE uint32x4_t load_word(const Rows& rows, int64_t offset) {
  uint64_t words[kLanes];
  for (int i = 0; i < kLanes; ++i) words[i] = load_as<uint32_t>(rows.row(i) + offset);
  return vcombine_u32(vcreate_u32(words[0] | words[1] << 32),
                      vcreate_u32(words[2] | words[3] << 32));
}

// An f16 of each row.
TRAMONTANE_INLINE float32x4_t load_half(const Rows& rows, int64_t offset) {
  uint64_t halves = 0;
  for (int i = 0; i < kLanes; ++i) halves |= load_as<uint16_t>(rows.row(i) + offset) << 16 * i;
  return vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(halves)));
}

// The f16 in the low or high half of each lane.
template <int kHalf>
TRAMONTANE_INLINE float32x4_t halves(uint32x4_t words) {
  uint16x4_t bits;
  if constexpr (kHalf == 0) {
    bits = vmovn_u32(words);
  } else {
    bits = vshrn_n_u32(words, 16);
  }
  return vcvt_f32_f16(vreinterpret_f16_u16(bits));
}

// 16 bytes of each row as four words.
TRAMONTANE_INLINE void load_words(const Rows& rows, int64_t offset, uint8x16_t* words) {
  uint32x4_t row[kLanes], transposed[4];
  for (int i = 0; i < kLanes; ++i) {
    row[i] = vreinterpretq_u32_u8(vld1q_u8(rows.row(i) + offset));
  }
  transpose(row[0], row[1], row[2], row[3], transposed);
  for (int j = 0; j < 4; ++j) words[j] = vreinterpretq_u8_u32(transposed[j]);
}

// Byte kByte of each lane, signed, as a float: the byte moved to the top of its lane, and the point
// with it.
template <int kByte>
TRAMONTANE_INLINE float32x4_t byte_floats(uint8x16_t words) {
  alignas(16) static constexpr uint8_t kTop[16] = {99, 99, 99, kByte,     99, 99, 99, kByte + 4,
                                                   99, 99, 99, kByte + 8, 99, 99, 99, kByte + 12};
  return vcvtq_n_f32_s32(vreinterpretq_s32_u8(vqtbl1q_u8(words, vld1q_u8(kTop))), 24);
}

// Of each byte, kCount bits from bit kFrom on moved to bit kTo; the others zero.
template <int kFrom, int kTo, int kCount>
TRAMONTANE_INLINE uint8x16_t bits(uint8x16_t x) {
  if constexpr (kFrom > kTo) x = vshrq_n_u8(x, kFrom - kTo);
  if constexpr (kFrom < kTo) x = vshlq_n_u8(x, kTo - kFrom);
  // The shift alone left the bits at the end of the byte.
  if constexpr (kFrom > kTo && kTo == 0 && kFrom + kCount == 8) return x;
  if constexpr (kFrom < kTo && kFrom == 0 && kTo + kCount == 8) return x;
  return vandq_u8(x, vdupq_n_u8(((1 << kCount) - 1) << kTo));
}

TRAMONTANE_INLINE int8x16_t as_signed(uint8x16_t x) { return vreinterpretq_s8_u8(x); }

// 32 nibbles of 16 bytes, as in Q4_0.
TRAMONTANE_INLINE void load_nibbles(const uint8_t* p, uint8x16_t* w) {
  const uint8x16_t x = vld1q_u8(p);
  w[0] = bits<0, 0, 4>(x);
  w[1] = bits<4, 0, 4>(x);
}

// Formats whose block is one group with nothing but a scale.
struct OneScale {
  TRAMONTANE_INLINE explicit OneScale(const Rows& rows) : d(load_half(rows, 0)) {}

  template <int>
  TRAMONTANE_INLINE void scales(Scales& x) const {
    x.scale[0] = d;
  }
  float32x4_t d;
};

// And those with a minimum.
struct ScaleAndMinimum {
  TRAMONTANE_INLINE explicit ScaleAndMinimum(const Rows& rows) : d_m(load_word(rows, 0)) {}

  template <int>
  TRAMONTANE_INLINE void scales(Scales& x) const {
    x.scale[0] = halves<0>(d_m);
    x.offset[0] = halves<1>(d_m);
  }
  uint32x4_t d_m;
};

// Times 16, so that flipping the high bit of a nibble subtracts 8 of it.
template <>
struct Unpack<Format::kQ4_0> : Shape<32, Offset::kNone, 4>, OneScale {
  using Block = quant::Q4_0;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : OneScale(rows) {}

  template <int>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    const uint8x16_t x = veorq_u8(vld1q_u8(block + offsetof(Block, nibbles)), vdupq_n_u8(0x88));
    w[0] = as_signed(bits<0, 4, 4>(x));
    w[1] = as_signed(bits<4, 4, 4>(x));
  }
};

template <>
struct Unpack<Format::kQ4_1> : Shape<32, Offset::kOfWeights>, ScaleAndMinimum {
  using Block = quant::Q4_1;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : ScaleAndMinimum(rows) {}

  template <int>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    uint8x16_t x[2];
    load_nibbles(block + offsetof(Block, nibbles), x);
    for (int i = 0; i < 2; ++i) w[i] = as_signed(x[i]);
  }
};

// 32 bits as bytes of all ones or zeros: bit i of the word is byte i.
TRAMONTANE_INLINE void spread_bits(const uint8_t* p, uint8x16_t* masks) {
  const uint8x16_t word =
      vreinterpretq_u8_u32(vdupq_n_u32(static_cast<uint32_t>(load_as<uint32_t>(p))));
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  const uint8x16_t low = vcombine_u8(vdup_n_u8(0), vdup_n_u8(1));
  masks[0] = vtstq_u8(vqtbl1q_u8(word, low), bit);
  masks[1] = vtstq_u8(vqtbl1q_u8(word, vaddq_u8(low, vdupq_n_u8(2))), bit);
}

template <>
struct Unpack<Format::kQ5_0> : Shape<32, Offset::kNone>, OneScale {
  using Block = quant::Q5_0;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : OneScale(rows) {}

  // nibble + 16 * fifth - 16: where the fifth bit is missing, the bits above the nibble are ones.
  template <int>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    uint8x16_t x[2], fifth[2];
    load_nibbles(block + offsetof(Block, nibbles), x);
    spread_bits(block + offsetof(Block, fifth), fifth);
    for (int i = 0; i < 2; ++i) {
      w[i] = as_signed(vorrq_u8(x[i], vbicq_u8(vdupq_n_u8(0xf0), fifth[i])));
    }
  }
};

template <>
struct Unpack<Format::kQ5_1> : Shape<32, Offset::kOfWeights>, ScaleAndMinimum {
  using Block = quant::Q5_1;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : ScaleAndMinimum(rows) {}

  template <int>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    uint8x16_t x[2], fifth[2];
    load_nibbles(block + offsetof(Block, nibbles), x);
    spread_bits(block + offsetof(Block, fifth), fifth);
    for (int i = 0; i < 2; ++i) {
      w[i] = as_signed(vorrq_u8(x[i], vandq_u8(vdupq_n_u8(16), fifth[i])));
    }
  }
};

// 32 bytes behind a scale.
template <class Block_>
struct UnpackBytes : Shape<32, Offset::kNone>, OneScale {
  using Block = Block_;
  TRAMONTANE_INLINE explicit UnpackBytes(const Rows& rows) : OneScale(rows) {}

  template <int>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    const uint8_t* q = block + offsetof(Block, q);
    for (int i = 0; i < 2; ++i) w[i] = as_signed(vld1q_u8(q + 16 * i));
  }
};

template <>
struct Unpack<Format::kQ8_0> : UnpackBytes<quant::Q8_0> {
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : UnpackBytes(rows) {}
};

template <>
struct Unpack<Format::kQ8_1> : UnpackBytes<quant::Q8_1> {
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : UnpackBytes(rows) {}
};

// The nibbles' values, as in IQ4_NL.
TRAMONTANE_INLINE void look_up_iq4(const uint8_t* nibbles, int8x16_t* w) {
  const int8x16_t table = vld1q_s8(quant::kIq4Values);
  uint8x16_t x[2];
  load_nibbles(nibbles, x);
  for (int i = 0; i < 2; ++i) w[i] = vqtbl1q_s8(table, x[i]);
}

template <>
struct Unpack<Format::kIQ4_NL> : Shape<32, Offset::kNone>, OneScale {
  using Block = quant::IQ4_NL;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : OneScale(rows) {}

  template <int>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    look_up_iq4(block + offsetof(Block, nibbles), w);
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
