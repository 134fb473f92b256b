#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 5 bits a weight: q d + m. Nibbles as in Q4_0.
struct Q4_1 {
  uint16_t d, m;
  uint8_t nibbles[16];
};
static_assert(sizeof(Q4_1) == 20);

inline void unpack(const Q4_1& block, Group* groups) {
  for (int i = 0; i < 16; ++i) {
    groups->q[i] = static_cast<int8_t>(block.nibbles[i] & 15);
    groups->q[i + 16] = static_cast<int8_t>(block.nibbles[i] >> 4);
  }
  set_scale(*groups, f16_to_f32(block.d), f16_to_f32(block.m));
}

}  // namespace tramontane::quant
