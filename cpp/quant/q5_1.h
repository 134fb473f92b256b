#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 6 bits a weight: q d + m, bits as in Q5_0.
struct Q5_1 {
  uint16_t d, m;
  uint8_t fifth[4];
  uint8_t nibbles[16];
};
static_assert(sizeof(Q5_1) == 24);

inline void unpack(const Q5_1& block, Group* groups) {
  for (int i = 0; i < 32; ++i) {
    const int nibble = i < 16 ? block.nibbles[i] & 15 : block.nibbles[i - 16] >> 4;
    const int high = (block.fifth[i / 8] >> (i % 8)) & 1;
    groups->q[i] = static_cast<int8_t>(nibble + 16 * high);
  }
  set_scale(*groups, f16_to_f32(block.d), f16_to_f32(block.m));
}

}  // namespace tramontane::quant
