#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 4.25 bits a weight, 256 a block: d (s - 32) kIq4Values[q], with s of six bits for each group of
// 32: low four in nibble g % 2 of scales_low[g / 2], high two at bits 2 g of scales_high.
// 16 bytes of nibbles hold a group, as in Q4_0.
struct IQ4_XS {
  uint16_t d;
  uint8_t scales_high[2];
  uint8_t scales_low[4];
  uint8_t nibbles[128];
};
static_assert(sizeof(IQ4_XS) == 136);

inline void unpack(const IQ4_XS& block, Group* groups) {
  const float d = f16_to_f32(block.d);
  for (int g = 0; g < 8; ++g) {
    const uint8_t* nibbles = block.nibbles + 16 * g;
    for (int i = 0; i < 16; ++i) {
      groups[g].q[i] = kIq4Values[nibbles[i] & 15];
      groups[g].q[i + 16] = kIq4Values[nibbles[i] >> 4];
    }
    const int low = (block.scales_low[g / 2] >> (g % 2 * 4)) & 15;
    const int high = (block.scales_high[g / 4] >> (g % 4 * 2)) & 3;
    set_scale(groups[g], d * static_cast<float>(low + 16 * high - 32));
  }
}

}  // namespace tramontane::quant
