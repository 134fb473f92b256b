#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 3.4375 bits a weight, 256 a block: d (s - 32) (q - 4), with s of six bits for every 16 values.
// The low two bits of q lie as in Q2_K; bit g of byte l of `third` is bit 2 of value 32 g + l.
// Scale j: low four bits in nibble j / 8 of byte j % 8, high two at bits 2 (j / 4) of
// byte 8 + j % 4.
struct Q3_K {
  uint8_t third[32];
  uint8_t pairs[64];
  uint8_t scales[12];
  uint16_t d;
};
static_assert(sizeof(Q3_K) == 110);
template <>
inline constexpr int kSubgroup<Q3_K> = 16;

inline void unpack(const Q3_K& block, Group* groups) {
  const float d = f16_to_f32(block.d);
  for (int g = 0; g < 8; ++g) {
    const uint8_t* pairs = block.pairs + g / 4 * 32;
    const int shift = g % 4 * 2;
    for (int i = 0; i < 32; ++i) {
      const int low = (pairs[i] >> shift) & 3, high = (block.third[i] >> g) & 1;
      groups[g].q[i] = static_cast<int8_t>(low + 4 * high - 4);
    }
    for (int half = 0; half < 2; ++half) {
      const int j = 2 * g + half;
      const int low = (block.scales[j % 8] >> (j / 8 * 4)) & 15;
      const int high = (block.scales[8 + j % 4] >> (j / 4 * 2)) & 3;
      groups[g].scale[half] = d * static_cast<float>(low + 16 * high - 32);
      groups[g].offset[half] = 0;
    }
  }
}

}  // namespace tramontane::quant
