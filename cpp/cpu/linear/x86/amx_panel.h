// Many rows of activations by AMX: the products of a group by tiles, their scaling by AVX-512. The
// template parameter T has the tile instructions.
//
// The panel is that of vnni_panel.h with signed weights: 8 vectors of 4 inputs of 16 outputs
// are a tile of 8 rows as tdpbssd takes it. A row of activations is a row of the other tile, and
// the 16 x 16 integer sums go to memory, where AVX-512 finds a row of them in a vector. Every
// output takes the steps of vnni_dot.h.
//
// What bounds it, on Emerald Rapids: tdpbssd takes a cycle a row, here 16 for 16 x 16 x 32
// products, tilestored 16, tileloadd half a cycle a row. While there are tile instructions in
// flight, the second port of AVX-512 has no products, conversions and FMAs, only additions: of what
// a vector of sums needs, two go to the first port, the conversion is an addition. That is 32
// cycles a tile of sums; about 40 are reached in L1.
//
//   x     = sum + bits of 1.5 * 2^23       the float 1.5 * 2^23 + sum, exactly
//   term  = fma(x, scale, -1.5 * 2^23 * scale)      sum * scale, rounded once
#pragma once

#include <cmath>

#include "base/half.h"
#include "cpu/linear/x86/amx_tiles.h"
#include "cpu/linear/x86/avx512_vector.h"
#include "cpu/linear/x86/vnni_panel.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

constexpr int kAmxLanes = 16, kAmxStripes = 2;

// 1.5 * 2^23: where integers are the last bits of a float.
constexpr float kAmxShift = 12582912.0f;
constexpr int32_t kAmxShiftBits = 0x4b400000;

// Whether weights without their zero point fit a signed byte.
template <class S>
constexpr bool kFitsAmx = KindOf<S>::kCorrection != Correction::kOwnZeros || S::kBits < 8;

// Where the vectors of a group lie: a stripe's groups one after another.
template <class K>
struct AmxGroup {
  static constexpr int kScale = 8;
  static constexpr int kShift = kScale + K::kSubgroups;  // -kAmxShift * the first scale
  static constexpr int kOffset = kShift + 1;
  static constexpr int kVectors =
      kOffset + (K::kCorrection == Correction::kOffset ? K::kSubgroups : 0);
};

template <class S>
struct AmxPack {
  using K = KindOf<S>;
  using P = AmxGroup<K>;
  using V = Sixteen;

  TRAMONTANE_INLINE void operator()(const Operands<V>& x) {
    __m512i zeros = _mm512_setzero_si512();
    if constexpr (K::kCorrection == Correction::kZeroPoint) zeros = constant16(kZeroPoint<S>);
    if constexpr (K::kCorrection == Correction::kOwnZeros) {
      // The low byte of each lane, which is negative, four times.
      zeros = _mm512_shuffle_epi8(x.zero, _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
      zeros = _mm512_sub_epi8(_mm512_setzero_si512(), zeros);
    }
    for (int j = 0; j < 8; ++j) {
      out[j] = K::kCorrection == Correction::kOffset ? x.w[j] : _mm512_sub_epi8(x.w[j], zeros);
    }
    for (int h = 0; h < K::kSubgroups; ++h) {
      out[P::kScale + h] = V::as_ints(x.scales[h]);
      if constexpr (K::kCorrection == Correction::kOffset) {
        out[P::kOffset + h] = V::as_ints(x.offsets[h]);
      }
    }
    if constexpr (!S::kScaleAlone) pack_shift(x.scales[0]);
    out += P::kVectors;
  }

  TRAMONTANE_INLINE void pack_shift(__m512 scale) {
    out[P::kShift] = V::as_ints(_mm512_mul_ps(scale, _mm512_set1_ps(-kAmxShift)));
    const __m512i exponents = _mm512_set1_epi32(0x7f800000);
    finite = finite &&
             _mm512_cmpeq_epi32_mask(_mm512_and_si512(out[P::kShift], exponents), exponents) == 0;
  }

  __m512i* out;
  bool finite = true;  // All scales.
};

// Of a group, what the rows of a tile have beside their integers.
template <int kRows, int kWords>
struct AmxRowsOfGroup {
  float scales[kRows];
  int32_t words[kRows][kWords];
};
template <int kRows>
struct AmxRowsOfGroup<kRows, 0> {
  float scales[kRows];
};

// The integers of a tile's rows from some group on.
struct AmxTile {
  const int8_t* q;
  int64_t stride;
};

template <class T, class S, int kRows_>
struct AmxPanel {
  using ShapeType = S;
  static constexpr int kRows = kRows_;
  using K = KindOf<S>;
  using V = Sixteen;
  using P = AmxGroup<K>;
  using Vector = __m512i;
  static constexpr int kVectors = P::kVectors;
  static constexpr int kStripeVectors = kVectors * kPanelGroups;
  static constexpr int kWords = K::kCorrection == Correction::kOffset ? S::kSubgroups : 0;
  static constexpr int kTotals = kRows * kAmxLanes;
  using Rows = AmxRowsOfGroup<kRows, kWords>;

  // The tiles: sums, activations and weights. One subgroup has a tile of sums for even and one for
  // odd groups, two subgroups have one each and share the others: with more than 6 in use the core
  // has none left to rename, and waits.
  static constexpr int kSets = 3 - K::kSubgroups, kAhead = 1 + kSets;
  static constexpr int kA = 2, kB = 3;
  static TileShapes shapes() {
    TileShapes shapes;
    for (const int tile : {0, 1}) {
      shapes.rows[tile] = kRows;
      shapes.row_bytes[tile] = 4 * kAmxLanes;
    }
    shapes.rows[kA] = kRows;
    shapes.row_bytes[kA] = 4 * K::kWords;
    shapes.rows[kB] = K::kWords;
    shapes.row_bytes[kB] = 4 * kAmxLanes;
    return shapes;
  }

  struct alignas(64) Sums {
    int32_t values[K::kSubgroups][kRows][kAmxLanes];
  };

  // The products of group kGroup from `q` and `group` on, into tiles; what was there, of the group
  // kSets before it, goes to its sums.
  template <int kGroup>
  TRAMONTANE_INLINE static void next(const int8_t* q, int64_t stride, const Vector* group,
                                     Sums* sums) {
    constexpr int kBytes = kGroup * kVectors * 64, kFirst = kGroup % kSets;
    Sums& before = sums[(kGroup + kSets) % 2];
    T::template load<kA, 32 * kGroup>(q, stride);
    T::template load<kB, kBytes>(group, 64);
    T::template store<kFirst>(before.values[0], 64);
    T::template zero<kFirst>();
    T::template dot<kFirst, kA, kB>();
    if constexpr (K::kSubgroups == 2) {
      T::template load<kA, 32 * kGroup + 16>(q, stride);
      T::template load<kB, kBytes + 256>(group, 64);
      T::template store<1>(before.values[1], 64);
      T::template zero<1>();
      T::template dot<1, kA, kB>();
    }
  }

  TRAMONTANE_INLINE static __m512 shifted(const int32_t* sums) {
    return _mm512_castsi512_ps(_mm512_add_epi32(V::load(sums), _mm512_set1_epi32(kAmxShiftBits)));
  }

  // What compilers make a part of an FMA: those of an integer they do not.
  TRAMONTANE_INLINE static __m512 broadcast(const void* p) {
    float value;
    std::memcpy(&value, p, sizeof value);
    return _mm512_set1_ps(value);
  }

  TRAMONTANE_INLINE static void scale(const Sums& sums, const Rows& rows, const Vector* group,
                                      __m512* totals) {
    const auto floats = [&](int v) { return V::load_floats(group + v); };
    const __m512 first_scale = floats(P::kScale);
    if constexpr (S::kScaleAlone) {
      TRAMONTANE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m512 both = V::multiply(first_scale, broadcast(&rows.scales[r]));
        totals[r] = V::multiply_add(V::to_floats(V::load(sums.values[0][r])), both, totals[r]);
        Avx512Vnni::pin(totals[r]);
      }
      return;
    }
    const __m512 shift = floats(P::kShift);
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      __m512 term = V::multiply_add(shifted(sums.values[0][r]), first_scale, shift);
      if constexpr (K::kSubgroups == 2) {
        const __m512 second = _mm512_sub_ps(shifted(sums.values[1][r]), _mm512_set1_ps(kAmxShift));
        term = V::multiply_add(second, floats(P::kScale + 1), term);
      }
      if constexpr (K::kCorrection == Correction::kOffset) {
        TRAMONTANE_UNROLL
        for (int h = 0; h < K::kSubgroups; ++h) {
          term = V::multiply_add(floats(P::kOffset + h), broadcast(&rows.words[r][h]), term);
        }
      }
      totals[r] = V::multiply_add(term, broadcast(&rows.scales[r]), totals[r]);
      Avx512Vnni::pin(totals[r]);
    }
  }

  // All stripes of a panel by tiles of rows over `depth` groups, a multiple of kDepth: tile_at(i)
  // is an AmxTile, its scales are rows[i * kPanelGroups + group]. `totals`
  // [tiles][kAmxStripes][kTotals] go on. The products are kAhead groups ahead of their scaling, and
  // their sums stored a group before it: what waits for others keeps out of the core's queues, of
  // which there is half where another thread shares the core.
  static constexpr int kDepth = 4;
  template <class TileAt>
  static void multiply(const Vector* panel, int32_t depth, int32_t tiles, const TileAt& tile_at,
                       const Rows* rows, float* totals) {
    Sums sums[2];
    AmxTile at = tile_at(0);
    next<0>(at.q, at.stride, panel, sums);
    next<1>(at.q, at.stride, panel, sums);
    if constexpr (kAhead == 3) next<2>(at.q, at.stride, panel, sums);
    for (int32_t tile = 0; tile < tiles; ++tile, rows += kPanelGroups) {
      for (int p = 0; p < kAmxStripes; ++p, totals += kTotals) {
        __m512 sums_of_rows[kRows];
        TRAMONTANE_UNROLL
        for (int r = 0; r < kRows; ++r) sums_of_rows[r] = V::load_floats(totals + kAmxLanes * r);
        const Vector* group = panel + p * kStripeVectors;
        const Rows* group_rows = rows;
        const int8_t* q = at.q;
        const float* coming = totals + kTotals;
        for (int32_t g = depth - kDepth; g > 0; g -= 2) {
          next<kAhead>(q, at.stride, group, sums);
          prefetch(coming);
          scale(sums[0], group_rows[0], group, sums_of_rows);
          next<kAhead + 1>(q, at.stride, group, sums);
          prefetch(coming + kAmxLanes);
          scale(sums[1], group_rows[1], group + kVectors, sums_of_rows);
          q += 64;
          group += 2 * kVectors;
          group_rows += 2;
          coming += 2 * kAmxLanes;
        }
        next<kAhead>(q, at.stride, group, sums);
        scale(sums[0], group_rows[0], group, sums_of_rows);
        if constexpr (kAhead == 2) next<3>(q, at.stride, group, sums);
        // Behind the last tile comes one that nobody asks for.
        if (p == kAmxStripes - 1 && tile + 1 < tiles) at = tile_at(tile + 1);
        const Vector* stripe = panel + (p + 1) % kAmxStripes * kStripeVectors;
        if constexpr (kAhead == 3) next<0>(at.q, at.stride, stripe, sums);
        scale(sums[1], group_rows[1], group + kVectors, sums_of_rows);
        next<kAhead - 2>(at.q, at.stride, stripe, sums);
        scale(sums[0], group_rows[2], group + 2 * kVectors, sums_of_rows);
        next<kAhead - 1>(at.q, at.stride, stripe, sums);
        scale(sums[1], group_rows[3], group + 3 * kVectors, sums_of_rows);
        TRAMONTANE_UNROLL
        for (int r = 0; r < kRows; ++r) V::store(totals + kAmxLanes * r, sums_of_rows[r]);
      }
    }
  }

  // As multiply(), for scales that are not finite, which the shift would make NaN of. Those that
  // are alone have none.
  template <class TileAt>
  static void multiply_plainly(const Vector* panel, int32_t depth, int32_t tiles,
                               const TileAt& tile_at, const Rows* rows, float* totals) {
    for (int32_t i = 0; i < tiles * kAmxStripes * kTotals; ++i) {
      const int lane = i % kAmxLanes, r = i / kAmxLanes % kRows;
      const int32_t tile = i / kTotals / kAmxStripes;
      const AmxTile at = tile_at(tile);
      const int8_t* q = at.q + r * at.stride;
      const Vector* group = panel + i / kTotals % kAmxStripes * kStripeVectors;
      for (int32_t g = 0; g < depth; ++g, group += kVectors, q += 32) {
        const auto* w = reinterpret_cast<const int8_t*>(group) + 4 * lane;
        const auto at_lane = [&](int v) { return reinterpret_cast<const float*>(group + v)[lane]; };
        const Rows& row = rows[tile * kPanelGroups + g];
        float term = 0;
        for (int h = 0; h < K::kSubgroups; ++h) {
          int sum = 0;
          for (int k = 4 * K::kWords * h; k < 4 * K::kWords * (h + 1); ++k) {
            sum += w[k / 4 * 64 + k % 4] * q[k];
          }
          const float value = static_cast<float>(sum);
          term =
              h == 0 ? value * at_lane(P::kScale) : std::fma(value, at_lane(P::kScale + h), term);
        }
        if constexpr (K::kCorrection == Correction::kOffset) {
          for (int h = 0; h < K::kSubgroups; ++h) {
            term = std::fma(at_lane(P::kOffset + h),
                            float_from_bits(static_cast<uint32_t>(row.words[r][h])), term);
          }
        }
        totals[i] = std::fma(term, row.scales[r], totals[i]);
      }
    }
  }

  // Scales and words of groups [first, first + depth) of a tile's rows; the last row there is
  // stands for those beyond it.
  static void pack_rows(const Activations& in, int32_t row, int32_t first, int32_t depth,
                        Rows* out) {
    for (int r = 0; r < kRows; ++r) {
      const int64_t group = int64_t{std::min(row + r, in.rows - 1)} * (in.columns / 32) + first;
      for (int32_t g = 0; g < depth; ++g) out[g].scales[r] = in.scales[group + g];
      if constexpr (kWords > 0) {
        int32_t words[kPanelGroups * kWords];
        write_words<S, kZeroPoint<S>>(in.sums + 2 * group, depth * kWords, words);
        for (int32_t g = 0; g < depth; ++g) {
          std::memcpy(out[g].words[r], words + g * kWords, sizeof out[g].words[r]);
        }
      }
    }
  }
};

// Where things are in a task's scratch.
template <class Panel>
struct AmxScratch {
  using Rows = typename Panel::Rows;
  // Of the last tile, when it is short of rows: panels of its integers.
  static constexpr int kTailStride = 32 * kPanelGroups + 64;
  static constexpr int kOutputTiles = kBlockOutputs / (kAmxLanes * kAmxStripes);

  AmxScratch(uint8_t* memory, int32_t tiles)
      : panel(reinterpret_cast<typename Panel::Vector*>(memory)),
        tail(reinterpret_cast<int8_t*>(panel + kAmxStripes * Panel::kStripeVectors)),
        rows(reinterpret_cast<Rows*>(tail + Panel::kRows * kTailStride)),
        totals(reinterpret_cast<float*>(rows + int64_t{tiles} * kPanelGroups)) {}

  static size_t bytes(int32_t rows) {
    const AmxScratch scratch(nullptr, (rows + Panel::kRows - 1) / Panel::kRows);
    return reinterpret_cast<size_t>(scratch.totals) + static_cast<size_t>(rows + Panel::kRows - 1) /
                                                          Panel::kRows * Panel::kRows *
                                                          kBlockOutputs * sizeof(float);
  }

  typename Panel::Vector* panel;
  int8_t* tail;
  Rows* rows;
  float* totals;
};

TRAMONTANE_INLINE void store16(const LinearTask& task, int32_t row, const Stripe& stripe,
                               const float* values) {
  if (stripe.count < kAmxLanes) return store(task, row, stripe, values);
  float* out = task.out + row * task.stride + stripe.output;
  const __m512 x = _mm512_loadu_ps(values);
  _mm512_storeu_ps(out, task.add ? _mm512_add_ps(_mm512_loadu_ps(out), x) : x);
}

// As many_rows() of panels.h; but activations are read where they are, and a pass is a
// panel's groups.
inline bool is_amx_depth(int32_t groups) { return groups % 4 == 0 || groups > kPanelGroups; }

template <class Panel, class Source>
void amx_many_rows(const LinearTask& task, const Source& source) {
  const Activations& in = *task.in;
  const int32_t groups = in.columns / 32;
  const int32_t tiles = (in.rows + Panel::kRows - 1) / Panel::kRows;
  using Scratch = AmxScratch<Panel>;
  const Scratch scratch(task.scratch, tiles);
  const int64_t stride = quantized_stride(in.columns);
  const int64_t output_tile_floats = int64_t{tiles} * kAmxStripes * Panel::kTotals;
  for (int32_t output = task.first; output < task.last;) {
    OutputTile<kAmxStripes> output_tiles[Scratch::kOutputTiles];
    int count = 0;
    while (count < Scratch::kOutputTiles && output < task.last) {
      output_tiles[count++] = next_output_tile<kAmxStripes>(task, source, output);
    }
    std::fill_n(scratch.totals, count * output_tile_floats, 0.0f);
    for (int32_t first = 0; first < groups; first += kPanelGroups) {
      const int32_t depth = std::min(kPanelGroups, groups - first);
      // Groups that were counted before, now with weights of 0.
      const int32_t lead = (Panel::kDepth - depth % Panel::kDepth) % Panel::kDepth;
      const int64_t start = 32 * int64_t{first - lead};
      for (int32_t tile = 0; tile < tiles; ++tile) {
        auto* rows = scratch.rows + tile * kPanelGroups;
        for (int32_t g = 0; g < lead; ++g) rows[g] = {};
        Panel::pack_rows(in, Panel::kRows * tile, first, depth, rows + lead);
      }
      const int32_t whole = in.rows / Panel::kRows;
      for (int32_t row = Panel::kRows * whole; row < Panel::kRows * tiles; ++row) {
        std::memcpy(scratch.tail + row % Panel::kRows * Scratch::kTailStride,
                    in.q + std::min(row, in.rows - 1) * stride + start,
                    static_cast<size_t>(32 * (lead + depth)));
      }
      const auto tile_at = [&](int32_t tile) {
        if (tile == whole) return AmxTile{scratch.tail, Scratch::kTailStride};
        return AmxTile{in.q + tile * Panel::kRows * stride + start, stride};
      };
      for (int c = 0; c < count; ++c) {
        bool finite = true;
        for (int p = 0; p < kAmxStripes; ++p) {
          auto* panel = scratch.panel + p * Panel::kStripeVectors;
          std::fill_n(panel, lead * Panel::kVectors, _mm512_setzero_si512());
          AmxPack<typename Panel::ShapeType> pack{panel + lead * Panel::kVectors};
          source.template for_each_group<Ask::kNever, Sixteen>(output_tiles[c].stripes[p], first,
                                                               depth, pack);
          finite = finite && pack.finite;
        }
        // While rows are multiplied, the weights that come next are on their way, and a part of the
        // activations.
        const bool more = c + 1 < count;
        if (more || first + depth < groups) {
          for (const Stripe& stripe : output_tiles[more ? c + 1 : 0].stripes) {
            source.prefetch_groups(stripe, more ? first : first + depth);
          }
        }
        const int32_t next = first + depth < groups ? first + depth : 0;
        for (int32_t row = in.rows * c / count; row < in.rows * (c + 1) / count; ++row) {
          const int8_t* q = in.q + row * stride + 32 * int64_t{next};
          for (int at = 0; at < 32 * kPanelGroups; at += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(q + at), _MM_HINT_T1);
          }
          prefetch(in.scales + int64_t{row} * groups + next);
        }
        float* totals = scratch.totals + c * output_tile_floats;
        if (finite) {
          Panel::multiply(scratch.panel, lead + depth, tiles, tile_at, scratch.rows, totals);
        } else {
          Panel::multiply_plainly(scratch.panel, lead + depth, tiles, tile_at, scratch.rows,
                                  totals);
        }
      }
    }
    for (int32_t r = 0; r < in.rows; ++r) {
      const float* totals = scratch.totals + r / Panel::kRows * kAmxStripes * Panel::kTotals +
                            r % Panel::kRows * kAmxLanes;
      for (int c = 0; c < count; ++c) {
        for (int p = 0; p < output_tiles[c].count; ++p) {
          store16(task, r, output_tiles[c].stripes[p],
                  totals + c * output_tile_floats + p * Panel::kTotals);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
