// Linear layers for AVX-512 with VNNI: see linear_vnni_dot.h and linear_vnni_panel.h.
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

namespace tramontane::cpu {

extern const LinearKernels kAvx512VnniLinear = kVnniLinear<Avx512Vnni>;

}  // namespace tramontane::cpu

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

#endif
