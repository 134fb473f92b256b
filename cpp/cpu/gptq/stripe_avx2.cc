#include <algorithm>
#include <cstring>

#include "cpu/gptq/gptq.h"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#include "cpu/gptq/stripe.h"

namespace tramontane::cpu {

void reorder_stripe_avx2(const WeightData& weight, const GptqOrder& order, int32_t first,
                         int32_t last, uint32_t* scratch, uint32_t* words) {
  reorder_stripe(weight, order, first, last, scratch, words);
}

}  // namespace tramontane::cpu

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

#endif
