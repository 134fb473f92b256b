// Loads a group of 32 weights of any quantized format: the one place where kernels differ by
// format.
#pragma once

#include "device/weights.h"

namespace tramontane::cuda {

// Weight i is scale[i / 16] * (byte i of q - F::kBias) + offset[i / 16].
struct Group {
  uint32_t q[8];
  float scale[2];
  float offset[2];
};

__device__ __forceinline__ void set_scale(Group& group, float scale, float offset = 0.0f) {
  group.scale[0] = group.scale[1] = scale;
  group.offset[0] = group.offset[1] = offset;
}

__device__ __forceinline__ float low_half(uint32_t halves) {
  return half_to_float(static_cast<uint16_t>(halves & 0xffff));
}
__device__ __forceinline__ float high_half(uint32_t halves) {
  return half_to_float(static_cast<uint16_t>(halves >> 16));
}

__device__ __forceinline__ void load_nibbles(const Weight& w, int64_t i, Group& group) {
  const uint4 n = read(reinterpret_cast<const uint4*>(w.codes) + i);
  const uint32_t words[4] = {n.x, n.y, n.z, n.w};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    group.q[2 * k] = words[k] & 0x0f0f0f0fu;
    group.q[2 * k + 1] = words[k] >> 4 & 0x0f0f0f0fu;
  }
}

// Two bits from plane `pairs`, added to q as they are or above four bits.
template <int kShift>
__device__ __forceinline__ void load_pairs(const uint8_t* pairs, int64_t i, Group& group) {
  const uint2 n = read(reinterpret_cast<const uint2*>(pairs) + i);
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const uint32_t bits = (k < 4 ? n.x : n.y) >> (2 * (k % 4)) & 0x03030303u;
    group.q[k] = kShift == 0 ? bits : group.q[k] | bits << kShift;
  }
}

template <int kShift>
__device__ __forceinline__ void load_high_bit(const Weight& w, int64_t i, Group& group) {
  const uint32_t n = read(reinterpret_cast<const uint32_t*>(w.high) + i);
#pragma unroll
  for (int k = 0; k < 8; ++k) group.q[k] |= (n >> k & 0x01010101u) << kShift;
}

__device__ __forceinline__ void load_bytes(const Weight& w, int64_t i, Group& group) {
  const uint4* bytes = reinterpret_cast<const uint4*>(w.codes) + 2 * i;
  const uint4 low = read(bytes), high = read(bytes + 1);
  group.q[0] = low.x, group.q[1] = low.y, group.q[2] = low.z, group.q[3] = low.w;
  group.q[4] = high.x, group.q[5] = high.y, group.q[6] = high.z, group.q[7] = high.w;
}

// Four 4-bit codes of IQ4_NL (the low 16 bits) to the int8 they stand for: a byte permutation picks
// among eight, so both halves of the table are asked and the codes' top bits choose.
__device__ __forceinline__ uint32_t iq4_values(uint32_t codes) {
  constexpr uint32_t kTable[4] = {0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u};
  const uint32_t low = __byte_perm(kTable[0], kTable[1], codes & 0x7777u);
  const uint32_t high = __byte_perm(kTable[2], kTable[3], codes & 0x7777u);
  return __byte_perm(low, high, 0x3210u | (codes & 0x8888u) >> 1);
}

__device__ __forceinline__ void load_iq4(const Weight& w, int64_t i, Group& group) {
  const uint4 n = read(reinterpret_cast<const uint4*>(w.codes) + i);
  const uint32_t words[4] = {n.x, n.y, n.z, n.w};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    group.q[2 * k] = iq4_values(words[k]);
    group.q[2 * k + 1] = iq4_values(words[k] >> 16);
  }
}

__device__ __forceinline__ float half_scale(const Weight& w, int64_t i) {
  return half_to_float(read(reinterpret_cast<const uint16_t*>(w.scales) + i));
}

__device__ __forceinline__ void half_scale_and_offset(const Weight& w, int64_t i, Group& group) {
  const uint32_t n = read(reinterpret_cast<const uint32_t*>(w.scales) + i);
  set_scale(group, low_half(n), high_half(n));
}

struct Pair {
  int first, second;
};
__device__ __forceinline__ Pair six_bits(const SixBitPairs& s, int g) {
  const uint32_t high = s.high >> (4 * g);
  return {static_cast<int>((s.low >> (4 * g) & 15) | (high & 3) << 4),
          static_cast<int>((s.low_second >> (4 * g) & 15) | (high & 12) << 2)};
}
__device__ __forceinline__ SixBitPairs read_six_bits(const Weight& w, int64_t i) {
  const uint4 n = read(reinterpret_cast<const uint4*>(w.supers) + (i >> 3));
  return {n.x, n.y, n.z, n.w};
}

__device__ __forceinline__ void k_scale_and_offset(const Weight& w, int64_t i, Group& group) {
  const SixBitPairs s = read_six_bits(w, i);
  const Pair pair = six_bits(s, static_cast<int>(i & 7));
  set_scale(group, low_half(s.halves) * static_cast<float>(pair.first),
            -(high_half(s.halves) * static_cast<float>(pair.second)));
}

// `i`: the group's number in the whole weight; `row` and `b`: the output and its group.
__device__ __forceinline__ void load_group(Q4_0, const Weight& w, int, int, int64_t i, Group& g) {
  load_nibbles(w, i, g);
  set_scale(g, half_scale(w, i));
}

__device__ __forceinline__ void load_group(Q4_1, const Weight& w, int, int, int64_t i, Group& g) {
  load_nibbles(w, i, g);
  half_scale_and_offset(w, i, g);
}

__device__ __forceinline__ void load_group(Q5_0, const Weight& w, int, int, int64_t i, Group& g) {
  load_nibbles(w, i, g);
  load_high_bit<4>(w, i, g);
  set_scale(g, half_scale(w, i));
}

__device__ __forceinline__ void load_group(Q5_1, const Weight& w, int, int, int64_t i, Group& g) {
  load_nibbles(w, i, g);
  load_high_bit<4>(w, i, g);
  half_scale_and_offset(w, i, g);
}

__device__ __forceinline__ void load_group(Q8_0, const Weight& w, int, int, int64_t i, Group& g) {
  load_bytes(w, i, g);
  set_scale(g, half_scale(w, i));
}

__device__ __forceinline__ void load_group(Q2_K, const Weight& w, int, int, int64_t i, Group& g) {
  load_pairs<0>(w.codes, i, g);
  const uint32_t s = read(reinterpret_cast<const uint16_t*>(w.scales) + i);
  const uint32_t d = read(reinterpret_cast<const uint32_t*>(w.supers) + (i >> 3));
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    g.scale[half] = low_half(d) * static_cast<float>(s >> (8 * half) & 15);
    g.offset[half] = -(high_half(d) * static_cast<float>(s >> (8 * half + 4) & 15));
  }
}

__device__ __forceinline__ void load_group(Q3_K, const Weight& w, int, int, int64_t i, Group& g) {
  load_pairs<0>(w.codes, i, g);
  load_high_bit<2>(w, i, g);
  const SixBitPairs s = read_six_bits(w, i);
  const Pair pair = six_bits(s, static_cast<int>(i & 7));
  g.scale[0] = low_half(s.halves) * static_cast<float>(pair.first - 32);
  g.scale[1] = low_half(s.halves) * static_cast<float>(pair.second - 32);
  g.offset[0] = g.offset[1] = 0.0f;
}

__device__ __forceinline__ void load_group(Q4_K, const Weight& w, int, int, int64_t i, Group& g) {
  load_nibbles(w, i, g);
  k_scale_and_offset(w, i, g);
}

__device__ __forceinline__ void load_group(Q5_K, const Weight& w, int, int, int64_t i, Group& g) {
  load_nibbles(w, i, g);
  load_high_bit<4>(w, i, g);
  k_scale_and_offset(w, i, g);
}

__device__ __forceinline__ void load_group(Q6_K, const Weight& w, int, int, int64_t i, Group& g) {
  load_nibbles(w, i, g);
  load_pairs<4>(w.high, i, g);
  const uint32_t s = read(reinterpret_cast<const uint16_t*>(w.scales) + i);
  const float d = half_to_float(read(reinterpret_cast<const uint16_t*>(w.supers) + (i >> 3)));
  g.scale[0] = d * static_cast<float>(static_cast<int8_t>(s & 0xff));
  g.scale[1] = d * static_cast<float>(static_cast<int8_t>(s >> 8));
  g.offset[0] = g.offset[1] = 0.0f;
}

__device__ __forceinline__ void load_group(IQ4_NL, const Weight& w, int, int, int64_t i, Group& g) {
  load_iq4(w, i, g);
  set_scale(g, half_scale(w, i));
}

__device__ __forceinline__ void load_group(IQ4_XS, const Weight& w, int, int, int64_t i, Group& g) {
  load_iq4(w, i, g);
  const uint2 s = read(reinterpret_cast<const uint2*>(w.supers) + (i >> 3));
  const int k = static_cast<int>(i & 7);
  const int scale = static_cast<int>((s.y >> (4 * k) & 15) | (s.x >> (16 + 2 * k) & 3) << 4);
  set_scale(g, low_half(s.x) * static_cast<float>(scale - 32));
}

__device__ __forceinline__ int64_t gptq_scale_index(const Weight& w, int row, int b) {
  const int groups = divide_up(w.columns / kGroup, w.scale_groups);
  return static_cast<int64_t>(row) * groups + b / w.scale_groups;
}

__device__ __forceinline__ void load_group(Gptq4, const Weight& w, int row, int b, int64_t i,
                                           Group& g) {
  load_nibbles(w, i, g);
  const int64_t k = gptq_scale_index(w, row, b);
  const float scale = half_scale(w, k);
  set_scale(g, scale, -(scale * static_cast<float>(read(w.supers + k))));
}

// Codes are stored minus 128, as signed bytes.
__device__ __forceinline__ void load_group(Gptq8, const Weight& w, int row, int b, int64_t i,
                                           Group& g) {
  load_bytes(w, i, g);
  const int64_t k = gptq_scale_index(w, row, b);
  const float scale = half_scale(w, k);
  set_scale(g, scale, scale * static_cast<float>(128 - static_cast<int>(read(w.supers + k))));
}

template <class F>
__device__ __forceinline__ Group load(const Weight& w, int row, int b) {
  Group group;
  load_group(F{}, w, row, b, static_cast<int64_t>(row) * (w.columns / kGroup) + b, group);
  return group;
}

// The codes as signed bytes, bias taken off: bytes never borrow from each other because the top bit
// is set before and flipped after.
template <class F>
__device__ __forceinline__ uint32_t signed_codes(uint32_t q) {
  if constexpr (F::kBias == 0) return q;
  return ((q | 0x80808080u) - 0x01010101u * F::kBias) ^ 0x80808080u;
}

}  // namespace tramontane::cuda
