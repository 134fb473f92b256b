#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 2.625 bits a weight, 256 a block: d s q - dmin m, with s and m of four bits for every 16 values.
// 32 bytes of `pairs` hold 128 values: bits 2j, 2j+1 of byte l are value 32 j + l.
struct Q2_K {
  uint8_t scales[16];  // s | m << 4
  uint8_t pairs[64];
  uint16_t d, dmin;
};
static_assert(sizeof(Q2_K) == 84);
template <>
inline constexpr int kSubgroup<Q2_K> = 16;

inline void unpack(const Q2_K& block, Group* groups) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int g = 0; g < 8; ++g) {
    const uint8_t* pairs = block.pairs + g / 4 * 32;
    const int shift = g % 4 * 2;
    for (int i = 0; i < 32; ++i) groups[g].q[i] = static_cast<int8_t>((pairs[i] >> shift) & 3);
    for (int half = 0; half < 2; ++half) {
      const uint8_t scale = block.scales[2 * g + half];
      groups[g].scale[half] = d * static_cast<float>(scale & 15);
      groups[g].offset[half] = -(dmin * static_cast<float>(scale >> 4));
    }
  }
}

}  // namespace tramontane::quant
