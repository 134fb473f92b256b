// What the inner loops of kernels ask of the compiler.
#pragma once

#if defined(_MSC_VER)
#define TRAMONTANE_INLINE __forceinline
#else
#define TRAMONTANE_INLINE inline __attribute__((always_inline))
#endif

// Before a loop over a tile: all of its steps are written out.
#if defined(_MSC_VER)
#define TRAMONTANE_UNROLL
#elif defined(__clang__)
#define TRAMONTANE_UNROLL _Pragma("unroll")
#else
#define TRAMONTANE_UNROLL _Pragma("GCC unroll 16")
#endif
