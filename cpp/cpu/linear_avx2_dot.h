// Products of quantized weights and int8 activations. Included by linear_avx2.cc inside its target
// pragma.
#pragma once

#include "cpu/linear_avx2_unpack.h"

namespace tramontane::cpu {
namespace {

// One row of activations from some group on.
struct RowOfActivations {
  const int8_t* q;        // 32 a group
  const float* scales;    // 1 a group
  const int16_t* sums;    // 2 a group
  const float* weighted;  // scale * sum, one a subgroup; only for formats with an offset
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
constexpr int kProductsPerSum = S::kBits == 8   ? 1
                                : S::kBits == 6 ? 2
                                : S::kBits == 5 ? 4
                                                : 8;

// Pairs of products of 4 inputs, int16. Signed weights: |w| times the activations with w's sign.
template <class S>
inline __m256i multiply(__m256i w, __m256i a) {
  if constexpr (S::kBits == 8) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
  } else {
    return _mm256_maddubs_epi16(w, a);
  }
}

inline __m256i subtract_zero(__m256i sum, __m256i zero, const int16_t* sums) {
  return _mm256_sub_epi32(sum, _mm256_madd_epi16(zero, broadcast_word(sums)));
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
    const __m256i inner = S::kInner ? x.inner[run * kRun * 4 / S::kSubgroup] : _mm256_set1_epi16(1);
    sum = _mm256_madd_epi16(sum, inner);
    total = run == 0 ? sum : _mm256_add_epi32(total, sum);
  }
  if constexpr (S::kZero) total = subtract_zero(total, x.zero, row.sums);
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

// Eight outputs from `output` on, of which lanes [skip, skip + count) are wanted.
struct Stripe {
  int32_t output, skip, count;
};

inline void store(const LinearTask& task, int32_t row, const Stripe& stripe, const float* values) {
  float* out = task.out + row * task.stride + stripe.output;
  for (int32_t lane = stripe.skip; lane < stripe.skip + stripe.count; ++lane) {
    out[lane] = task.add ? out[lane] + values[lane] : values[lane];
  }
}

// The weights of a task in blocks, row by row.
template <Format kFormat>
class BlockSource {
 public:
  using Unpacked = Unpack<kFormat>;
  using ShapeType = typename Unpacked::ShapeType;
  static constexpr int kBlockBytes = sizeof(typename Unpacked::Block);
  static constexpr int kBlockGroups = kBlockBytes >= 64 ? 8 : 1;

  explicit BlockSource(const LinearTask& task)
      : task_(task),
        row_bytes_(int64_t{task.weight->columns} / (32 * kBlockGroups) * kBlockBytes) {}

  // Where the weight has 8 rows, the last stripe reaches back over rows that are done; where it has
  // fewer, all lanes are one row.
  Stripe stripe_at(int32_t output) const {
    if (task_.weight->rows < kLanes) return {output, 0, 1};
    const int32_t start = std::min(output, task_.weight->rows - kLanes);
    return {start, output - start, std::min(start + kLanes, task_.last) - output};
  }

  // Calls use(group) for groups [first, first + count) of a stripe, a whole number of blocks.
  template <class Use>
  void for_each_group(const Stripe& stripe, int32_t first, int32_t count, Use use) const {
    const int64_t stride = task_.weight->rows < kLanes ? 0 : row_bytes_;
    Rows rows = {task_.weight->data + stripe.output * row_bytes_, stride};
    rows = rows + first / kBlockGroups * int64_t{kBlockBytes};
    for (int32_t g = 0; g < count; g += kBlockGroups) {
      Unpacked block(rows);
      unpack_groups(block, use, std::make_integer_sequence<int, kBlockGroups>());
      rows = rows + kBlockBytes;
    }
  }

 private:
  template <class Use, int... kGroup>
  static void unpack_groups(Unpacked& block, Use& use, std::integer_sequence<int, kGroup...>) {
    const auto one = [&]<int kIndex>(std::integral_constant<int, kIndex>) {
      Group x;
      block.template group<kIndex>(x);
      use(x);
    };
    (one(std::integral_constant<int, kGroup>()), ...);
  }

  const LinearTask& task_;
  int64_t row_bytes_;
};

inline RowOfActivations activations_of(const Activations& in, int32_t row) {
  return {in.q + static_cast<int64_t>(row) * in.columns,
          in.scales + static_cast<int64_t>(row) * (in.columns / 32),
          in.sums + static_cast<int64_t>(row) * (in.columns / 16), nullptr};
}

// Eight outputs by kRows rows, weights read in place once. out [kRows][8]
template <class Source, int kRows>
void dot_in_place(const Source& source, const Stripe& stripe, int32_t groups,
                  const RowOfActivations* rows, float* out) {
  using S = typename Source::ShapeType;
  __m256 totals[kRows];
  for (int r = 0; r < kRows; ++r) totals[r] = _mm256_setzero_ps();
  RowOfActivations at[kRows];
  for (int r = 0; r < kRows; ++r) at[r] = rows[r];
  source.for_each_group(stripe, 0, groups, [&](const Group& x) {
    for (int r = 0; r < kRows; ++r) {
      const __m256i sum = integer_sum<S>(x, at[r]);
      totals[r] = add_group<S>(x, sum, *at[r].scales, at[r].weighted, totals[r]);
      at[r].q += 32;
      at[r].scales += 1;
      at[r].sums += 2;
      if constexpr (S::kOffset) at[r].weighted += S::kSubgroups;
    }
  });
  for (int r = 0; r < kRows; ++r) _mm256_storeu_ps(out + kLanes * r, totals[r]);
}

// Many rows: 16 outputs by kPanelGroups groups are unpacked once into a panel that stays in L2,
// and meet all rows, a tile of them at a time.
constexpr int kPanelOutputs = 2 * kLanes;
constexpr int kPanelGroups = 64;
constexpr int kMaxTileRows = 6;
constexpr int kMaxGroupVectors = 8 + 2 + 1 + 1 + 2;

struct PanelScratch {
  __m256i panel[2][kPanelGroups * kMaxGroupVectors];
  float weighted[kMaxTileRows][kPanelGroups * 2];
};

// The vectors of a Group that a shape has, one after another.
template <class S>
struct PackedGroup {
  static constexpr int kInner = 8;
  static constexpr int kZero = kInner + (S::kInner ? S::kSubgroups : 0);
  static constexpr int kScale = kZero + (S::kZero ? 1 : 0);
  static constexpr int kOffset = kScale + 1;
  static constexpr int kVectors = kOffset + (S::kOffset ? S::kSubgroups : 0);

  static void store(const Group& x, __m256i* out) {
    for (int j = 0; j < 8; ++j) out[j] = x.w[j];
    if constexpr (S::kInner) {
      for (int h = 0; h < S::kSubgroups; ++h) out[kInner + h] = x.inner[h];
    }
    if constexpr (S::kZero) out[kZero] = x.zero;
    out[kScale] = _mm256_castps_si256(x.scale);
    if constexpr (S::kOffset) {
      for (int h = 0; h < S::kSubgroups; ++h) out[kOffset + h] = _mm256_castps_si256(x.offset[h]);
    }
  }
};

// 16 outputs by kRows rows over `groups` groups of two panels. `totals` [kRows][16] go on.
//
// The int16 sums (and, where a group needs several, the int32 ones) of the tile are in registers;
// the floats, needed once a group, are in L1.
template <class S, int kRows>
void multiply_tile(const __m256i* const panels[2], int32_t groups, const RowOfActivations* rows,
                   float* totals) {
  using P = PackedGroup<S>;
  constexpr int kRun = std::min(kProductsPerSum<S>, S::kSubgroup / 4);
  const int8_t* q[kRows];
  for (int r = 0; r < kRows; ++r) q[r] = rows[r].q;
  const __m256i* panel[2] = {panels[0], panels[1]};
  for (int32_t g = 0; g < groups; ++g) {
    __m256i sums[2][kRows];
    for (int run = 0; run < 8 / kRun; ++run) {
      __m256i products[2][kRows];
      for (int j = 0; j < kRun; ++j) {
        const __m256i w[2] = {panel[0][run * kRun + j], panel[1][run * kRun + j]};
        for (int r = 0; r < kRows; ++r) {
          const __m256i a = broadcast_word(q[r] + 4 * (run * kRun + j));
          for (int p = 0; p < 2; ++p) {
            const __m256i product = multiply<S>(w[p], a);
            products[p][r] = j == 0 ? product : _mm256_add_epi16(products[p][r], product);
          }
        }
      }
      for (int p = 0; p < 2; ++p) {
        const __m256i inner =
            S::kInner ? panel[p][P::kInner + run * kRun * 4 / S::kSubgroup] : _mm256_set1_epi16(1);
        for (int r = 0; r < kRows; ++r) {
          const __m256i sum = _mm256_madd_epi16(products[p][r], inner);
          sums[p][r] = run == 0 ? sum : _mm256_add_epi32(sums[p][r], sum);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < 2; ++p) {
        Group x;
        if constexpr (S::kZero) {
          x.zero = panel[p][P::kZero];
          sums[p][r] = subtract_zero(sums[p][r], x.zero, rows[r].sums + 2 * g);
        }
        x.scale = _mm256_castsi256_ps(panel[p][P::kScale]);
        if constexpr (S::kOffset) {
          for (int h = 0; h < S::kSubgroups; ++h) {
            x.offset[h] = _mm256_castsi256_ps(panel[p][P::kOffset + h]);
          }
        }
        float* total = totals + kPanelOutputs * r + kLanes * p;
        _mm256_storeu_ps(
            total, add_group<S>(x, sums[p][r], rows[r].scales[g],
                                rows[r].weighted + S::kSubgroups * g, _mm256_loadu_ps(total)));
      }
      q[r] += 32;
    }
    panel[0] += P::kVectors;
    panel[1] += P::kVectors;
  }
}

template <class S>
constexpr int kTileRows = kProductsPerSum<S> == 8 && S::kSubgroup == 32 ? 6
                          : S::kBits == 8                               ? 4
                                                                        : 3;

// All rows of a panel in tiles of kRows, the rest in smaller ones.
template <class S, int kRows>
void multiply_rows(const Activations& in, int32_t row, int32_t first, int32_t groups,
                   PanelScratch& scratch, float* totals) {
  const __m256i* const panels[2] = {scratch.panel[0], scratch.panel[1]};
  for (; row + kRows <= in.rows; row += kRows) {
    RowOfActivations rows[kRows];
    for (int r = 0; r < kRows; ++r) {
      rows[r] = activations_of(in, row + r);
      rows[r].q += 32 * first;
      rows[r].scales += first;
      rows[r].sums += 2 * first;
      if constexpr (S::kOffset) {
        weigh_sums<S>(rows[r].scales, rows[r].sums, groups, scratch.weighted[r]);
      }
      rows[r].weighted = scratch.weighted[r];
    }
    multiply_tile<S, kRows>(panels, groups, rows, totals + row * kPanelOutputs);
  }
  if constexpr (kRows > 1) {
    if (row < in.rows) multiply_rows<S, kRows - 1>(in, row, first, groups, scratch, totals);
  }
}

template <class Source>
void many_rows(const LinearTask& task, const Source& source) {
  using S = typename Source::ShapeType;
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  PanelScratch& scratch = *reinterpret_cast<PanelScratch*>(task.scratch);
  float* totals = reinterpret_cast<float*>(task.scratch + sizeof(PanelScratch));
  for (int32_t output = task.first; output < task.last;) {
    // Where one stripe is left it is done twice, and stored once.
    Stripe stripes[2];
    stripes[0] = stripes[1] = source.stripe_at(output);
    output += stripes[0].count;
    if (output < task.last) stripes[1] = source.stripe_at(output);
    const int panels = output < task.last ? 2 : 1;
    if (panels == 2) output += stripes[1].count;
    std::fill_n(totals, in.rows * kPanelOutputs, 0.0f);
    for (int32_t first = 0; first < groups; first += kPanelGroups) {
      const int32_t count = std::min(kPanelGroups, groups - first);
      for (int p = 0; p < 2; ++p) {
        __m256i* panel = scratch.panel[p];
        source.for_each_group(stripes[p], first, count, [&](const Group& x) {
          PackedGroup<S>::store(x, panel);
          panel += PackedGroup<S>::kVectors;
        });
      }
      multiply_rows<S, kTileRows<S>>(in, 0, first, count, scratch, totals);
    }
    for (int32_t r = 0; r < in.rows; ++r) {
      for (int p = 0; p < panels; ++p) {
        store(task, r, stripes[p], totals + r * kPanelOutputs + kLanes * p);
      }
    }
  }
}

// Up to this many rows the weights are used as they are unpacked, beyond it from a panel.
constexpr int kInPlaceRows = 4;

template <class Source, int kRows>
void few_rows(const LinearTask& task, const Source& source) {
  using S = typename Source::ShapeType;
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  RowOfActivations rows[kRows];
  for (int r = 0; r < kRows; ++r) {
    rows[r] = activations_of(in, r);
    if constexpr (S::kOffset) {
      float* weighted = reinterpret_cast<float*>(task.scratch) + r * groups * S::kSubgroups;
      weigh_sums<S>(rows[r].scales, rows[r].sums, groups, weighted);
      rows[r].weighted = weighted;
    }
  }
  for (int32_t output = task.first; output < task.last;) {
    const Stripe stripe = source.stripe_at(output);
    float sums[kRows * kLanes];
    dot_in_place<Source, kRows>(source, stripe, groups, rows, sums);
    for (int r = 0; r < kRows; ++r) store(task, r, stripe, sums + kLanes * r);
    output += stripe.count;
  }
}

template <Format kFormat>
void linear_blocks(const LinearTask& task) {
  using Source = BlockSource<kFormat>;
  const Source source(task);
  switch (task.in->rows) {
    case 0:
      return;
    case 1:
      return few_rows<Source, 1>(task, source);
    case 2:
      return few_rows<Source, 2>(task, source);
    case 3:
      return few_rows<Source, 3>(task, source);
    case 4:
      return few_rows<Source, 4>(task, source);
    default:
      return many_rows(task, source);
  }
}

inline size_t int8_scratch_bytes(int32_t columns, int32_t rows) {
  const size_t few = static_cast<size_t>(kInPlaceRows) * (columns / 16) * sizeof(float);
  return std::max(few, sizeof(PanelScratch) + static_cast<size_t>(rows) * kPanelOutputs * 4);
}

}  // namespace
}  // namespace tramontane::cpu
