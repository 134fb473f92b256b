// Unpack<F> of the formats with blocks of 256: IQ4_XS and the K-quants.
#pragma once

#include "cpu/linear/neon/unpack.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

template <>
struct Unpack<Format::kIQ4_XS> : Shape<32, Offset::kNone, 0, true> {
  using Block = quant::IQ4_XS;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows)
      : low(load_word(rows, offsetof(Block, scales_low))) {
    const uint32x4_t first = load_word(rows, 0);  // d, scales_high
    d = halves<0>(first);
    high = vshrq_n_u32(first, 16);
  }

  template <int kGroup>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    look_up_iq4(block + offsetof(Block, nibbles) + 16 * kGroup, w);
  }

  template <int kGroup>
  TRAMONTANE_INLINE void scales(Scales& x) const {
    const uint32x4_t low4 = field<4 * kGroup, 4>(low), high2 = field<2 * kGroup, 2>(high);
    const int32x4_t scale = vreinterpretq_s32_u32(vsliq_n_u32(low4, high2, 4));
    x.scale[0] = vmulq_f32(d, vcvtq_f32_s32(vsubq_s32(scale, vdupq_n_s32(32))));
  }

  // kCount bits from bit kFrom on of each lane.
  template <int kFrom, int kCount>
  TRAMONTANE_INLINE static uint32x4_t field(uint32x4_t x) {
    if constexpr (kFrom > 0) x = vshrq_n_u32(x, kFrom);
    return vandq_u32(x, vdupq_n_u32((1 << kCount) - 1));
  }

  uint32x4_t low, high;
  float32x4_t d;
};

// 32 bytes of two-bit fields, of which 128 inputs have one each: those of group kGroup.
template <int kGroup>
TRAMONTANE_INLINE void load_pairs(const uint8_t* pairs, uint8x16_t* w) {
  for (int i = 0; i < 2; ++i) {
    w[i] = bits<kGroup % 4 * 2, 0, 2>(vld1q_u8(pairs + kGroup / 4 * 32 + 16 * i));
  }
}

template <>
struct Unpack<Format::kQ2_K> : Shape<16, Offset::kOfWeights> {
  using Block = quant::Q2_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) {
    load_words(rows, offsetof(Block, scales), both);
    d = load_half(rows, offsetof(Block, d));
    minus_dmin = vnegq_f32(load_half(rows, offsetof(Block, dmin)));
  }

  template <int kGroup>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    uint8x16_t x[2];
    load_pairs<kGroup>(block + offsetof(Block, pairs), x);
    for (int i = 0; i < 2; ++i) w[i] = as_signed(x[i]);
  }

  template <int kGroup>
  TRAMONTANE_INLINE void scales(Scales& x) const {
    constexpr int kByte = kGroup % 2 * 2;
    const uint8x16_t scale = bits<0, 0, 4>(both[kGroup / 2]);
    const uint8x16_t minimum = bits<4, 0, 4>(both[kGroup / 2]);
    x.scale[0] = vmulq_f32(d, byte_floats<kByte>(scale));
    x.scale[1] = vmulq_f32(d, byte_floats<kByte + 1>(scale));
    x.offset[0] = vmulq_f32(minus_dmin, byte_floats<kByte>(minimum));
    x.offset[1] = vmulq_f32(minus_dmin, byte_floats<kByte + 1>(minimum));
  }

  uint8x16_t both[4];  // Scale | minimum << 4; units 4 i to 4 i + 3 in the bytes of vector i.
  float32x4_t d, minus_dmin;
};

// Signed scales of 16 inputs.
struct ByteScales {
  template <int kGroup>
  TRAMONTANE_INLINE void scales(Scales& x) const {
    constexpr int kByte = kGroup % 2 * 2;
    x.scale[0] = vmulq_f32(d, byte_floats<kByte>(bytes[kGroup / 2]));
    x.scale[1] = vmulq_f32(d, byte_floats<kByte + 1>(bytes[kGroup / 2]));
  }

  uint8x16_t bytes[4];  // Units 4 i to 4 i + 3 in the bytes of vector i.
  float32x4_t d;
};

template <>
struct Unpack<Format::kQ3_K> : Shape<16, Offset::kNone>, ByteScales {
  using Block = quant::Q3_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) {
    uint32x4_t scales[kLanes], words[4];
    for (int i = 0; i < kLanes; ++i) scales[i] = row_scales(rows.row(i) + offsetof(Block, scales));
    transpose(scales[0], scales[1], scales[2], scales[3], words);
    for (int j = 0; j < 4; ++j) bytes[j] = vreinterpretq_u8_u32(words[j]);
    d = load_half(rows, offsetof(Block, d));
  }

  // low + 4 * third - 4: where the third bit is missing, those above the low two are ones.
  template <int kGroup>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    uint8x16_t x[2];
    load_pairs<kGroup>(block + offsetof(Block, pairs), x);
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t third = vtstq_u8(vld1q_u8(block + 16 * i), vdupq_n_u8(1 << kGroup));
      w[i] = as_signed(vorrq_u8(x[i], vbicq_u8(vdupq_n_u8(0xfc), third)));
    }
  }

  // The 16 scales of a row in their order: nibbles of 8 bytes, pairs of the 4 bytes that follow.
  TRAMONTANE_INLINE static uint32x4_t row_scales(const uint8_t* p) {
    alignas(16) static constexpr int32_t kRight[4] = {0, -2, -4, -6};
    const uint8x8_t nibbles = vld1_u8(p);
    const uint8x16_t low = vcombine_u8(vand_u8(nibbles, vdup_n_u8(15)), vshr_n_u8(nibbles, 4));
    const uint32x4_t pairs = vdupq_n_u32(static_cast<uint32_t>(load_as<uint32_t>(p + 8)));
    const uint8x16_t high =
        vandq_u8(vreinterpretq_u8_u32(vshlq_u32(pairs, vld1q_s32(kRight))), vdupq_n_u8(3));
    return vreinterpretq_u32_u8(vsubq_u8(vsliq_n_u8(low, high, 4), vdupq_n_u8(32)));
  }
};

// The first 16 bytes of Q4_K and Q5_K.
struct ScalesAndMinimums {
  TRAMONTANE_INLINE explicit ScalesAndMinimums(const Rows& rows) {
    uint8x16_t words[4];  // d | dmin << 16, then the twelve bytes
    load_words(rows, 0, words);
    d = halves<0>(vreinterpretq_u32_u8(words[0]));
    minus_dmin = vnegq_f32(halves<1>(vreinterpretq_u32_u8(words[0])));
    scale[0] = bits<0, 0, 6>(words[1]);
    scale[1] = vorrq_u8(bits<0, 0, 4>(words[3]), bits<6, 4, 2>(words[1]));
    minimum[0] = bits<0, 0, 6>(words[2]);
    minimum[1] = vorrq_u8(bits<4, 0, 4>(words[3]), bits<6, 4, 2>(words[2]));
  }

  template <int kGroup>
  TRAMONTANE_INLINE void scales(Scales& x) const {
    x.scale[0] = vmulq_f32(d, byte_floats<kGroup % 4>(scale[kGroup / 4]));
    x.offset[0] = vmulq_f32(minus_dmin, byte_floats<kGroup % 4>(minimum[kGroup / 4]));
  }

  uint8x16_t scale[2], minimum[2];  // Groups 4 i to 4 i + 3 in the bytes of vector i.
  float32x4_t d, minus_dmin;
};

template <>
struct Unpack<Format::kQ4_K> : Shape<32, Offset::kOfWeights>, ScalesAndMinimums {
  using Block = quant::Q4_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : ScalesAndMinimums(rows) {}

  template <int kGroup>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    const uint8_t* nibbles = block + offsetof(Block, nibbles) + kGroup / 2 * 32;
    for (int i = 0; i < 2; ++i) {
      w[i] = as_signed(bits<kGroup % 2 * 4, 0, 4>(vld1q_u8(nibbles + 16 * i)));
    }
  }
};

template <>
struct Unpack<Format::kQ5_K> : Shape<32, Offset::kOfWeights>, ScalesAndMinimums {
  using Block = quant::Q5_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) : ScalesAndMinimums(rows) {}

  template <int kGroup>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    const uint8_t* nibbles = block + offsetof(Block, nibbles) + kGroup / 2 * 32;
    const uint8_t* fifth = block + offsetof(Block, fifth);
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t low = bits<kGroup % 2 * 4, 0, 4>(vld1q_u8(nibbles + 16 * i));
      w[i] = as_signed(vorrq_u8(low, bits<kGroup, 4, 1>(vld1q_u8(fifth + 16 * i))));
    }
  }
};

// Times 4: pairs and nibbles at the top of the byte, whose high bit flipped subtracts 32.
//   pp......  and  nnnn....  ->  ppnnnn..
template <>
struct Unpack<Format::kQ6_K> : Shape<16, Offset::kNone, 2>, ByteScales {
  using Block = quant::Q6_K;
  TRAMONTANE_INLINE explicit Unpack(const Rows& rows) {
    load_words(rows, offsetof(Block, scales), bytes);
    d = load_half(rows, offsetof(Block, d));
  }

  template <int kGroup>
  TRAMONTANE_INLINE static void weights(const uint8_t* block, int8x16_t* w) {
    constexpr int kQuarter = kGroup % 4;
    const uint8_t* nibbles = block + offsetof(Block, nibbles) + kGroup / 4 * 64 + kQuarter % 2 * 32;
    const uint8_t* pairs = block + offsetof(Block, pairs) + kGroup / 4 * 32;
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t low = bits<kQuarter / 2 * 4, 4, 4>(vld1q_u8(nibbles + 16 * i));
      uint8x16_t high = vld1q_u8(pairs + 16 * i);
      if constexpr (kQuarter < 3) high = vshlq_n_u8(high, 6 - 2 * kQuarter);
      w[i] = as_signed(veorq_u8(vsriq_n_u8(high, low, 2), vdupq_n_u8(0x80)));
    }
  }
};

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
