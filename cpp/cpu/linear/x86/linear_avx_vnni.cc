// Linear layers for AVX-VNNI: see linear_vnni_dot.h and linear_vnni_panel.h.
#include "cpu/linear/linear.h"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

#include "base/half.h"
#include "base/inline.h"
#include "cpu/gptq/gptq.h"
#include "quant/blocks.h"
#include "quant/gptq.h"

// The compilers that know it: gcc 11, clang 12, Visual Studio 2022.
#if defined(_MSC_VER) || __has_include(<avxvnniintrin.h>)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")
#endif

#include "cpu/linear/x86/avx_vnni_vector.h"

namespace tramontane::cpu {
namespace {

constexpr LinearKernels kKernels = kVnniLinear<AvxVnni>;

}  // namespace

extern const LinearKernels* const kAvxVnniLinear = &kKernels;

}  // namespace tramontane::cpu

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

#else

namespace tramontane::cpu {

extern const LinearKernels* const kAvxVnniLinear = nullptr;

}  // namespace tramontane::cpu

#endif
#endif
