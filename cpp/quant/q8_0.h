#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 8.5 bits a weight: q d.
struct Q8_0 {
  uint16_t d;
  int8_t q[32];
};
static_assert(sizeof(Q8_0) == 34);
template <>
inline constexpr bool kScaleAlone<Q8_0> = true;

inline void unpack(const Q8_0& block, Group* groups) {
  std::memcpy(groups->q, block.q, sizeof block.q);
  set_scale(*groups, f16_to_f32(block.d));
}

}  // namespace tramontane::quant
