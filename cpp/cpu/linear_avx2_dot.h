// Products of quantized weights and int8 activations. Included by linear_avx2.cc inside its target
// pragma.
#pragma once

namespace tramontane::cpu {
namespace {

// One row of activations from some group on.
struct RowOfActivations {
  const int8_t* q;         // 32 a group
  const float* scales;     // 1 a group
  const int16_t* sums;     // 2 a group
  const float* weighted;   // scale * sum, one a subgroup; only for formats with an offset
};

inline __m256i broadcast_word(const void* p) {
  int value;
  std::memcpy(&value, p, sizeof value);
  return _mm256_set1_epi32(value);
}

// scale * sum of each subgroup: what an offset is multiplied by.
template <class S>
void weigh_sums(const float* scales, const int16_t* sums, int32_t groups, float* out) {
  for (int32_t g = 0; g < groups; ++g) {
    if constexpr (S::kSubgroups == 1) {
      out[g] = static_cast<float>(sums[2 * g] + sums[2 * g + 1]) * scales[g];
    } else {
      out[2 * g] = static_cast<float>(sums[2 * g]) * scales[g];
      out[2 * g + 1] = static_cast<float>(sums[2 * g + 1]) * scales[g];
    }
  }
}

// How many products of maddubs fit the sum of an int16: 2 * 15 * 127 * 8 = 30480.
template <class S>
constexpr int kProductsPerSum = S::kBits == 8 ? 1 : S::kBits == 6 ? 2 : S::kBits == 5 ? 4 : 8;

// Pairs of products of 4 inputs, int16. Signed weights: |w| times the activations with w's sign.
template <class S>
inline __m256i multiply(__m256i w, __m256i a) {
  if constexpr (S::kBits == 8) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
  } else {
    return _mm256_maddubs_epi16(w, a);
  }
}

// The exact sum of a group for one row: sum of inner * (w - zero) * q.
template <class S>
inline __m256i integer_sum(const Group& x, const RowOfActivations& row) {
  constexpr int kRun = std::min(kProductsPerSum<S>, S::kSubgroup / 4);
  __m256i total = _mm256_setzero_si256();
  for (int run = 0; run < 8 / kRun; ++run) {
    __m256i sum = multiply<S>(x.w[run * kRun], broadcast_word(row.q + 4 * run * kRun));
    for (int j = run * kRun + 1; j < (run + 1) * kRun; ++j) {
      sum = _mm256_add_epi16(sum, multiply<S>(x.w[j], broadcast_word(row.q + 4 * j)));
    }
    const __m256i inner =
        S::kInner ? x.inner[run * kRun * 4 / S::kSubgroup] : _mm256_set1_epi16(1);
    sum = _mm256_madd_epi16(sum, inner);
    total = run == 0 ? sum : _mm256_add_epi32(total, sum);
  }
  if constexpr (S::kZero) {
    total = _mm256_sub_epi32(total, _mm256_madd_epi16(x.zero, broadcast_word(row.sums)));
  }
  return total;
}

// Adds a group to the float sum of 8 outputs.
template <class S>
inline __m256 add_group(const Group& x, __m256i sum, float scale, const float* weighted,
                        __m256 total) {
  const __m256 factor = _mm256_mul_ps(x.scale, _mm256_set1_ps(scale));
  total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, total);
  if constexpr (S::kOffset) {
    for (int h = 0; h < S::kSubgroups; ++h) {
      total = _mm256_fmadd_ps(x.offset[h], _mm256_set1_ps(weighted[h]), total);
    }
  }
  return total;
}

// Eight outputs by kRows rows, weights read in place once.
template <Format kFormat, int kRows>
void dot_in_place(Rows weights, int32_t groups, const RowOfActivations* rows, float* out) {
  using U = Unpack<kFormat>;
  constexpr int kBlockGroups = sizeof(typename U::Block) >= 64 ? 8 : 1;
  __m256 totals[kRows];
  for (int r = 0; r < kRows; ++r) totals[r] = _mm256_setzero_ps();
  RowOfActivations at[kRows];
  for (int r = 0; r < kRows; ++r) at[r] = rows[r];
  for (int32_t g = 0; g < groups; g += kBlockGroups) {
    U unpack(weights);
    const auto one = [&]<int kGroup>(std::integral_constant<int, kGroup>) {
      Group x;
      unpack.template group<kGroup>(x);
      for (int r = 0; r < kRows; ++r) {
        const __m256i sum = integer_sum<U>(x, at[r]);
        totals[r] = add_group<U>(x, sum, *at[r].scales, at[r].weighted, totals[r]);
        at[r].q += 32;
        at[r].scales += 1;
        at[r].sums += 2;
        if constexpr (U::kOffset) at[r].weighted += U::kSubgroups;
      }
    };
    [&]<int... kGroup>(std::integer_sequence<int, kGroup...>) {
      (one(std::integral_constant<int, kGroup>()), ...);
    }(std::make_integer_sequence<int, kBlockGroups>());
    weights = weights + sizeof(typename U::Block);
  }
  for (int r = 0; r < kRows; ++r) _mm256_storeu_ps(out + kLanes * r, totals[r]);
}

// The rows of outputs [output, output + 8), of which lanes [skip, skip + count) are wanted.
struct Stripe {
  Rows rows;
  int32_t output, skip, count;
};

// Where the weight has 8 rows, the last stripe reaches back over rows that are done; where it has
// fewer, all lanes read one row.
inline Stripe stripe_at(const LinearTask& task, int64_t row_bytes, int32_t output) {
  const WeightData& weight = *task.weight;
  if (weight.rows < kLanes) return {{weight.data + output * row_bytes, 0}, output, 0, 1};
  const int32_t start = std::min(output, weight.rows - kLanes);
  return {{weight.data + start * row_bytes, row_bytes}, start, output - start,
          std::min(start + kLanes, task.last) - output};
}

inline void store(const LinearTask& task, int32_t row, const Stripe& stripe, const float* values) {
  float* out = task.out + row * task.stride + stripe.output;
  for (int32_t lane = stripe.skip; lane < stripe.skip + stripe.count; ++lane) {
    out[lane] = task.add ? out[lane] + values[lane] : values[lane];
  }
}

inline RowOfActivations activations_of(const Activations& in, int32_t row) {
  return {in.q + static_cast<int64_t>(row) * in.columns,
          in.scales + static_cast<int64_t>(row) * (in.columns / 32),
          in.sums + static_cast<int64_t>(row) * (in.columns / 16), nullptr};
}

constexpr int kInPlaceRows = 4;

template <Format kFormat, int kRows>
void few_rows(const LinearTask& task, int64_t row_bytes, int32_t first_row) {
  using U = Unpack<kFormat>;
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  RowOfActivations rows[kRows];
  for (int r = 0; r < kRows; ++r) {
    rows[r] = activations_of(in, first_row + r);
    if constexpr (U::kOffset) {
      float* weighted = reinterpret_cast<float*>(task.scratch) + r * groups * U::kSubgroups;
      weigh_sums<U>(rows[r].scales, rows[r].sums, groups, weighted);
      rows[r].weighted = weighted;
    }
  }
  for (int32_t output = task.first; output < task.last;) {
    const Stripe stripe = stripe_at(task, row_bytes, output);
    float sums[kRows * kLanes];
    dot_in_place<kFormat, kRows>(stripe.rows, groups, rows, sums);
    for (int r = 0; r < kRows; ++r) store(task, first_row + r, stripe, sums + kLanes * r);
    output += stripe.count;
  }
}

template <Format kFormat>
void linear_int8(const LinearTask& task) {
  using Block = typename Unpack<kFormat>::Block;
  const FormatInfo& info = format_info(kFormat);
  const int64_t row_bytes = task.weight->columns / info.block_values * int64_t{sizeof(Block)};
  int32_t row = 0;
  for (; row + 4 <= task.in->rows; row += 4) few_rows<kFormat, 4>(task, row_bytes, row);
  switch (task.in->rows - row) {
    case 3: return few_rows<kFormat, 3>(task, row_bytes, row);
    case 2: return few_rows<kFormat, 2>(task, row_bytes, row);
    case 1: return few_rows<kFormat, 1>(task, row_bytes, row);
    default: return;
  }
}

inline size_t int8_scratch_bytes(int32_t columns, int32_t) {
  return static_cast<size_t>(kInPlaceRows) * (columns / 16) * sizeof(float);
}

}  // namespace
}  // namespace tramontane::cpu
