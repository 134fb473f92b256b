// SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2714064.2660195): a bijection that mixes every
// bit.
#pragma once

#include <cstdint>

namespace tramontane {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;

// The number that a generator whose state is `x` gives next.
inline uint64_t split_mix(uint64_t x) {
  x += kGolden;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace tramontane
