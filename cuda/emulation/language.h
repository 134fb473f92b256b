// The part of CUDA C++ that the kernels use, for a C++ compiler: qualifiers, built-in variables,
// vector types, arithmetic, atomics, warp operations.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "emulation/scheduler.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define threadIdx (::emulation::running->thread)
#define blockIdx (::emulation::running->block)
#define blockDim (::emulation::running->block_size)
#define gridDim (::emulation::running->grid_size)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline float __expf(float x) { return std::exp(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }

inline unsigned __float_as_uint(float x) {
  unsigned u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}
inline float __uint_as_float(unsigned u) {
  float x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}

// Sum of products of four signed bytes, added to c.
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 32; i += 8) c += static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i);
  return c;
}

// Four bytes of the eight in (x, y), each chosen by the low three bits of a nibble of s; the
// fourth bit would spread the byte's sign, which no kernel asks for.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s) {
  const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
  unsigned r = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned select = s >> (4 * i) & 7;
    r |= static_cast<unsigned>(bytes >> (8 * select) & 0xff) << (8 * i);
  }
  return r;
}

// Atomics, as ThreadSanitizer understands them.
inline int atomicAdd(int* p, int v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
inline int atomicOr(int* p, int v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }

inline void __syncthreads(EMULATION_SITE) { emulation::block_barrier(site); }

inline void __syncwarp(uint32_t mask = ~0u, EMULATION_SITE) {
  using namespace emulation;
  leave(meet(mask, WarpOperation::kSynchronize, nullptr, 0, nullptr, site));
}

template <class T>
T __shfl_sync(uint32_t mask, T value, int from, int width = 32, EMULATION_SITE) {
  using namespace emulation;
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "what a shuffle moves");
  uint32_t words[2] = {};
  std::memcpy(words, &value, sizeof(T));
  Meeting* m = meet(mask, WarpOperation::kShuffle, words, sizeof(T) / 4, nullptr, site);
  const int source = (running->lane & ~(width - 1)) | (from & (width - 1));
  if (!(m->arrived >> source & 1)) report("a shuffle reads a lane outside its mask", site);
  std::memcpy(&value, m->words[source], sizeof(T));
  leave(m);
  return value;
}

template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int other, EMULATION_SITE) {
  return __shfl_sync(mask, value, emulation::running->lane ^ other, 32, site);
}

inline unsigned __ballot_sync(uint32_t mask, int predicate, EMULATION_SITE) {
  using namespace emulation;
  const uint32_t word = predicate != 0;
  Meeting* m = meet(mask, WarpOperation::kVote, &word, 1, nullptr, site);
  unsigned votes = 0;
  for (int i = 0; i < 32; ++i) votes |= ((m->arrived >> i & 1) ? m->words[i][0] : 0u) << i;
  leave(m);
  return votes;
}
