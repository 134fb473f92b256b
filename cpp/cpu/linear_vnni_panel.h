// Many rows of activations by dpbusd: weights unpacked once into panels, and the tiles that
// multiply them. Included inside a target pragma, as linear_vnni_dot.h.
//
// A panel is two vectors of outputs (2 x 16 with AVX-512) by kPanelGroups groups of 32 inputs,
// small enough for L1, where it stays while all rows of activations pass by, I::kTileRows at a
// time:
//
//            activations                  panel                 sums of a subgroup
//   row 0:   q0 q1 q2 q3 | ...      vector 0   vector 1         2 vectors of int32 a row,
//   row 1:   a word of 4 inputs  x  4 inputs of 16 outputs  ->  in registers for 4 or 8 words
//   ...      broadcast              in a vector each
//
// What bounds it, with AVX-512 and 12 rows: a group takes 192 dpbusd, 112 loads (16 of weights, 96
// broadcasts), and then for each of the 24 sums a conversion, a product, an FMA, a load and a
// store. On Zen 5 dpbusd, product and FMA share two pipes: 240 in 120 cycles, of which 96 are
// dpbusd's (80%; formats with offsets or subgroups of 16: 73%, with both: 62%); its 162 loads and
// 12 prefetches need 87 cycles, the stores 24, the conversions go elsewhere. On Ice Lake's server
// the conversions share the two pipes as well: 138 cycles, 152 by llvm-mca. A tile of 16 outputs
// would need twice the broadcasts for the same products: 108 loads for every 96 dpbusd.
#pragma once

#include "cpu/linear_vnni_dot.h"

namespace tramontane::cpu {
namespace {

constexpr int kVnniVectors = 2;

template <class I>
constexpr int kVnniPanelOutputs = kVnniVectors* I::Vector::kLanes;
template <class I>
constexpr int kVnniStripes = kVnniPanelOutputs<I> / kLanes;

// Where the vectors of a group lie in a panel: vector v of stripe s at v * kVnniStripes + s, so
// that a wide vector is two stripes.
template <class K>
struct VnniGroup {
  static constexpr int kZeros = 8;
  static constexpr int kScale = kZeros + (K::kCorrection == Correction::kOwnZeros ? 1 : 0);
  static constexpr int kOffset = kScale + K::kSubgroups;
  static constexpr int kVectors =
      kOffset + (K::kCorrection == Correction::kOffset ? K::kSubgroups : 0);
};

template <class I>
struct VnniScratch {
  __m256i panel[kPanelGroups * 12 * kVnniStripes<I>];
  float scales[I::kTileRows][kPanelGroups];
  int32_t words[I::kTileRows][2 * kPanelGroups];
};

// Packs each group it is given as those of one stripe.
template <class I, class S>
struct VnniPack {
  using K = KindOf<S>;
  using P = VnniGroup<K>;

  TRAMONTANE_INLINE void operator()(const Group& unpacked) {
    Group x = unpacked;
    __m256 scales[S::kSubgroups];
    normalize<S>(x, scales);
    for (int j = 0; j < 8; ++j) out[j * kVnniStripes<I>] = x.w[j];
    if constexpr (K::kCorrection == Correction::kOwnZeros) {
      out[P::kZeros * kVnniStripes<I>] = x.zero;
    }
    for (int h = 0; h < K::kSubgroups; ++h) {
      out[(P::kScale + h) * kVnniStripes<I>] = _mm256_castps_si256(scales[h]);
      if constexpr (K::kCorrection == Correction::kOffset) {
        out[(P::kOffset + h) * kVnniStripes<I>] = _mm256_castps_si256(x.offset[h]);
      }
    }
    out += P::kVectors * kVnniStripes<I>;
  }

  __m256i* out;
};

// A pointer that is hidden is computed here and now. Compilers would else keep one register for
// each row of a tile, and all totals of a tile across its loop.
template <class T>
TRAMONTANE_INLINE void hide([[maybe_unused]] T*& pointer) {
#if defined(__GNUC__)
  __asm__("" : "+r"(pointer));
#endif
}

// A panel by kRows rows over `groups` groups. q is the first row's, the others follow at `stride`;
// totals [kRows][kVnniPanelOutputs] go on.
template <class I, class K, int kRows>
void vnni_tile(const __m256i* panel, int32_t groups, const int8_t* q, int64_t stride,
               const VnniScratch<I>& scratch, float* totals) {
  using V = typename I::Vector;
  using P = VnniGroup<K>;
  using Ints = typename V::Ints;
  using Floats = typename V::Floats;
  const auto vector = [&](int v, int p) {
    return panel + v * kVnniStripes<I> + p * (V::kLanes / kLanes);
  };
  const int8_t* q4 = q + 4 * stride;
  const int8_t* q8 = q + 8 * stride;
  for (int32_t g = 0; g < groups; ++g) {
    hide(totals);
    hide(q4);
    hide(q8);
    const auto row = [&](int r) { return (r < 4 ? q : r < 8 ? q4 : q8) + r % 4 * stride; };
    alignas(64) float terms[kRows][kVnniPanelOutputs<I>];
    TRAMONTANE_UNROLL
    for (int h = 0; h < K::kSubgroups; ++h) {
      const int32_t word = g * K::kSubgroups + h;
      Ints sums[kVnniVectors][kRows];
      TRAMONTANE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        TRAMONTANE_UNROLL
        for (int p = 0; p < kVnniVectors; ++p) {
          sums[p][r] = start_of<K, V>(&scratch.words[r][word], V::load(vector(P::kZeros, p)));
        }
      }
      TRAMONTANE_UNROLL
      for (int j = h * K::kWords; j < (h + 1) * K::kWords; ++j) {
        Ints w[kVnniVectors];
        TRAMONTANE_UNROLL
        for (int p = 0; p < kVnniVectors; ++p) w[p] = V::load(vector(j, p));
        TRAMONTANE_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const Ints a = V::broadcast(row(r) + 4 * j);
          TRAMONTANE_UNROLL
          for (int p = 0; p < kVnniVectors; ++p) {
            sums[p][r] = I::dot(sums[p][r], w[p], a);
            I::pin(sums[p][r]);
          }
        }
      }
      Floats scale[kVnniVectors];
      TRAMONTANE_UNROLL
      for (int p = 0; p < kVnniVectors; ++p) scale[p] = V::load_floats(vector(P::kScale + h, p));
      TRAMONTANE_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Floats row_scale = V::broadcast_float(&scratch.scales[r][g]);
        TRAMONTANE_UNROLL
        for (int p = 0; p < kVnniVectors; ++p) {
          const Floats value = V::to_floats(sums[p][r]);
          float* kept = &terms[r][V::kLanes * p];
          Floats term = h == 0 ? V::multiply(value, scale[p])
                               : V::multiply_add(value, scale[p], V::load_floats(kept));
          if (h + 1 < K::kSubgroups) {
            V::store(kept, term);
            continue;
          }
          if constexpr (K::kCorrection == Correction::kOffset) {
            TRAMONTANE_UNROLL
            for (int i = 0; i < K::kSubgroups; ++i) {
              term = V::multiply_add(V::load_floats(vector(P::kOffset + i, p)),
                                     V::broadcast_float(&scratch.words[r][g * K::kSubgroups + i]),
                                     term);
            }
          }
          float* total = totals + kVnniPanelOutputs<I> * r + V::kLanes * p;
          V::store(total, V::multiply_add(term, row_scale, V::load_floats(total)));
        }
      }
    }
    // The rows of the next tile at this group: they come from L2, or farther.
    TRAMONTANE_UNROLL
    for (int r = 0; r < kRows; ++r) prefetch(row(r) + kRows * stride);
    q += 32;
    q4 += 32;
    q8 += 32;
    panel += P::kVectors * kVnniStripes<I>;
  }
}

// Without a call: these are 16 floats, and there are many of them.
TRAMONTANE_INLINE void copy_floats(const float* from, int32_t count, float* to) {
  int32_t i = 0;
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(to + i, _mm256_loadu_ps(from + i));
  for (; i < count; ++i) to[i] = from[i];
}

// All rows of a panel in tiles of kRows, the rest in smaller ones.
template <class I, class S, int kRows>
void vnni_rows(const Activations& in, int32_t row, int32_t first, int32_t groups,
               VnniScratch<I>& scratch, float* totals) {
  const int64_t stride = quantized_stride(in.columns);
  for (; row + kRows <= in.rows; row += kRows) {
    for (int r = 0; r < kRows; ++r) {
      const int64_t group = int64_t{row + r} * (in.columns / 32) + first;
      copy_floats(in.scales + group, groups, scratch.scales[r]);
      make_corrections<S>(in.sums + 2 * group, groups * S::kSubgroups, scratch.words[r]);
    }
    vnni_tile<I, KindOf<S>, kRows>(scratch.panel, groups, in.q + row * stride + 32 * first, stride,
                                   scratch, totals + row * kVnniPanelOutputs<I>);
  }
  if constexpr (kRows > 1) {
    constexpr int kFewer = kRows > 8 ? 8 : kRows > 4 ? 4 : kRows / 2;
    if (row < in.rows) vnni_rows<I, S, kFewer>(in, row, first, groups, scratch, totals);
  }
}

template <class I, class S>
struct VnniPanel {
  template <class Source>
  void pack(const Source& source, const Stripe& stripe, int s, int32_t first, int32_t depth) const {
    VnniPack<I, S> pack{scratch.panel + s};
    source.template for_each_group<false, ByOutputs>(stripe, first, depth, pack);
  }

  void multiply(const Activations& in, int32_t first, int32_t depth, float* totals) const {
    vnni_rows<I, S, I::kTileRows>(in, 0, first, depth, scratch, totals);
  }

  VnniScratch<I>& scratch;
};

template <class I, class Source>
void vnni_many_rows(const LinearTask& task, const Source& source) {
  using Scratch = VnniScratch<I>;
  const VnniPanel<I, typename Source::ShapeType> panel{*reinterpret_cast<Scratch*>(task.scratch)};
  float* totals = reinterpret_cast<float*>(task.scratch + sizeof(Scratch));
  through_panels<kVnniStripes<I>>(task, source, panel, totals);
}

}  // namespace
}  // namespace tramontane::cpu
