#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 9 bits a weight: q d. `s` is d times the sum of q, for products of blocks; it decodes nothing.
struct Q8_1 {
  uint16_t d, s;
  int8_t q[32];
};
static_assert(sizeof(Q8_1) == 36);
template <>
inline constexpr bool kScaleAlone<Q8_1> = true;

inline void unpack(const Q8_1& block, Group* groups) {
  std::memcpy(groups->q, block.q, sizeof block.q);
  set_scale(*groups, f16_to_f32(block.d));
}

}  // namespace tramontane::quant
