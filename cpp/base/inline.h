// What the inner loops of kernels ask of the compiler.
#pragma once

// Under sanitizers every copy is instrumented, which takes compilers many minutes: none are asked
// for.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TRAMONTANE_INLINE inline
#elif defined(_MSC_VER)
#define TRAMONTANE_INLINE __forceinline
#else
#define TRAMONTANE_INLINE inline __attribute__((always_inline))
#endif

// Before a loop over a tile: all of its steps are written out.
#if defined(_MSC_VER) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TRAMONTANE_UNROLL
#elif defined(__clang__)
#define TRAMONTANE_UNROLL _Pragma("unroll")
#else
#define TRAMONTANE_UNROLL _Pragma("GCC unroll 16")
#endif
