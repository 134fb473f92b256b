// Linear layers for AMX: see linear_amx_panel.h.
#include "cpu/linear/linear.h"

#if defined(__x86_64__) || defined(_M_X64)

// The compilers that know it: gcc 11, clang 12; their instructions are written in their assembly.
#if !defined(_MSC_VER) && __has_include(<amxint8intrin.h>)

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/half.h"
#include "base/inline.h"
#include "cpu/gptq/gptq.h"
#include "quant/blocks.h"
#include "quant/gptq.h"

#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), \
    apply_to = function)
#elif defined(__GNUC__)
// gcc 12 warns of what its own intrinsics leave undefined.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#endif

#include "cpu/linear/x86/avx512_vector.h"

#include "cpu/linear/x86/amx.h"

namespace tramontane::cpu {
namespace {

constexpr LinearKernels kKernels = kAmxKernels<Tiles, kAvx512VnniLinear>;

}  // namespace

extern const LinearKernels* const kAmxLinear = &kKernels;

}  // namespace tramontane::cpu

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

#else

namespace tramontane::cpu {

extern const LinearKernels* const kAmxLinear = nullptr;

}  // namespace tramontane::cpu

#endif
#endif
