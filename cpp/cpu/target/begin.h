// Begins code for one instruction set, which end.h ends:
//
//   #include "cpu/target/begin.h"
//
//   namespace tramontane::cpu::TRAMONTANE_TARGET {
//   namespace {
//   ...
//   }
//   }
//
//   #include "cpu/target/end.h"
//
// Functions between the two are compiled for TRAMONTANE_TARGET, one of the names below, and are in
// the namespace of that name. The .cc file defines it before it includes anything; the templates of
// a header are then made for that instruction set, and those of another file for another. A header
// that is compiled alone, as editors and the build's check of headers do, is for `every`: whatever
// a header for the processor's family may use. The unnamed namespace lets compilers see what is
// called once, and inline it: without it the kernels are 5 to 8% larger.
//
// No include guard: one header after another begins and ends, none within another.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#endif

#include "base/inline.h"

#if !defined(TRAMONTANE_TARGET)
#define TRAMONTANE_TARGET every
#endif

#define TRAMONTANE_PRAGMA(text) _Pragma(#text)
#define TRAMONTANE_JOIN_(a, b) a##b
#define TRAMONTANE_JOIN(a, b) TRAMONTANE_JOIN_(a, b)

#if defined(__clang__)
#define TRAMONTANE_FEATURES(list) \
  TRAMONTANE_PRAGMA(clang attribute(__attribute__((target(list))), apply_to = function))
#elif defined(__GNUC__)
#define TRAMONTANE_FEATURES(list) TRAMONTANE_PRAGMA(GCC target(list))
#else
#define TRAMONTANE_FEATURES(list)  // Visual C++ takes the instructions of all processors.
#endif

// What every processor of the family has.
#define TRAMONTANE_FEATURES_baseline

#if defined(__x86_64__) || defined(_M_X64)
#define TRAMONTANE_FEATURES_avx2 TRAMONTANE_FEATURES("avx2,fma,f16c")
#define TRAMONTANE_FEATURES_avx_vnni TRAMONTANE_FEATURES("avx2,fma,f16c,avxvnni")
#define TRAMONTANE_FEATURES_avx512_vnni \
  TRAMONTANE_FEATURES("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
// Tiles are AVX-512's companions; their own instructions are written in assembly.
#define TRAMONTANE_FEATURES_amx TRAMONTANE_FEATURES_avx512_vnni
#define TRAMONTANE_FEATURES_every \
  TRAMONTANE_FEATURES("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avxvnni")
// For tests: the other instructions in terms of AVX2's.
#define TRAMONTANE_FEATURES_emulated TRAMONTANE_FEATURES_avx2
#elif defined(__clang__)
#define TRAMONTANE_FEATURES_neon_dot TRAMONTANE_FEATURES("dotprod")
#define TRAMONTANE_FEATURES_neon_i8mm TRAMONTANE_FEATURES("dotprod,i8mm")
#define TRAMONTANE_FEATURES_every TRAMONTANE_FEATURES_neon_i8mm
#else
#define TRAMONTANE_FEATURES_neon_dot TRAMONTANE_FEATURES("arch=armv8.2-a+dotprod")
#define TRAMONTANE_FEATURES_neon_i8mm TRAMONTANE_FEATURES("arch=armv8.2-a+dotprod+i8mm")
#define TRAMONTANE_FEATURES_every TRAMONTANE_FEATURES_neon_i8mm
#endif

#if defined(__clang__)
#pragma clang attribute push
#elif defined(__GNUC__)
#pragma GCC push_options
#endif
TRAMONTANE_JOIN(TRAMONTANE_FEATURES_, TRAMONTANE_TARGET)
