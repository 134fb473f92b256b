// Many rows of activations by AMX: the products of a group by tiles, their scaling by AVX-512.
// Included by linear_amx.cc inside its target pragma; the template parameter T has the tile
// instructions.
//
// The panel is that of linear_vnni_panel.h with signed weights: 8 vectors of 4 inputs of 16 outputs
// are a tile of 8 rows as tdpbssd takes it. A row of activations is a row of the other tile, and
// the 16 x 16 integer sums go to memory, where AVX-512 finds a row of them in a vector. Every output
// takes the steps of linear_vnni_dot.h.
//
// What bounds it, on Emerald Rapids: tdpbssd takes a cycle a row, here 16 for 16 x 16 x 32 products,
// tilestored 16, tileloadd half a cycle a row. While there are tile instructions in flight, the
// second port of AVX-512 has no products, conversions and FMAs, only additions: of what a vector of
// sums needs, two go to the first port, the conversion is an addition. That is 32 cycles a tile of
// sums; about 40 are reached in L1.
#pragma once

#include "cpu/linear_amx_tiles.h"
#include "cpu/linear_vnni_panel.h"

namespace tramontane::cpu {
namespace {

constexpr int kAmxRows = 16, kAmxLanes = 16, kAmxStripes = 2;

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
    out[P::kShift] = V::as_ints(_mm512_mul_ps(x.scales[0], _mm512_set1_ps(-kAmxShift)));
    out += P::kVectors;
  }

  __m512i* out;
};

template <class T, class S>
struct AmxPanel {
  using K = KindOf<S>;
  using V = Sixteen;
  using P = AmxGroup<K>;
  using Vector = __m512i;
  static constexpr bool kWholeTiles = true;
  static constexpr int kWidth = kAmxLanes, kStripes = kAmxStripes, kTileRows = kAmxRows;
  static constexpr int kVectors = P::kVectors;
  static constexpr int kWords = K::kCorrection == Correction::kOffset ? S::kSubgroups : 0;
  static constexpr int kOutputs = kWidth * kStripes;
  using Rows = RowsOfGroup<kAmxRows, kWords>;

  // Sums, activations and weights of each subgroup.
  static constexpr int kA = 2, kB = 4;
  static TileShapes shapes() {
    TileShapes shapes;
    for (int h = 0; h < K::kSubgroups; ++h) {
      shapes.rows[h] = shapes.rows[kA + h] = kAmxRows;
      shapes.row_bytes[h] = shapes.row_bytes[kB + h] = 4 * kAmxLanes;
      shapes.rows[kB + h] = K::kWords;
      shapes.row_bytes[kA + h] = 4 * K::kWords;
    }
    return shapes;
  }

  static void make_words(const float*, const int16_t* sums, int32_t groups, int32_t* words) {
    make_corrections<S>(sums, groups * kWords, words);
  }

  template <class Source>
  static void pack(const Source& source, const Stripe& stripe, int p, int32_t first, int32_t depth,
                   Vector* panel) {
    AmxPack<S> pack{panel + p * kPanelGroups * kVectors};
    source.template for_each_group<Ask::kNever, V>(stripe, first, depth, pack);
  }

  struct alignas(64) Sums {
    int32_t values[K::kSubgroups][kAmxRows][kAmxLanes];
  };

  // A group by a tile's rows into tiles; what is there goes to `sums`.
  TRAMONTANE_INLINE static void next(const Rows* rows, const Vector* group, Sums* sums) {
    T::template load<kA>(rows->q, 32);
    T::template load<kB>(group, 64);
    if constexpr (K::kSubgroups == 2) {
      T::template load<kA + 1>(rows->q[0] + 16, 32);
      T::template load<kB + 1>(group + 4, 64);
    }
    if (sums != nullptr) T::template store<0>(sums->values[0], 64);
    T::template zero<0>();
    T::template dot<0, kA, kB>();
    if constexpr (K::kSubgroups == 2) {
      if (sums != nullptr) T::template store<1>(sums->values[1], 64);
      T::template zero<1>();
      T::template dot<1, kA + 1, kB + 1>();
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

  TRAMONTANE_INLINE static void scale(const Sums& sums, const Rows* rows, const Vector* group,
                                      __m512* totals) {
    const auto floats = [&](int v) { return V::load_floats(group + v); };
    const __m512 first_scale = floats(P::kScale), shift = floats(P::kShift);
    TRAMONTANE_UNROLL
    for (int r = 0; r < kAmxRows; ++r) {
      __m512 term = V::multiply_add(shifted(sums.values[0][r]), first_scale, shift);
      if constexpr (K::kSubgroups == 2) {
        const __m512 second =
            _mm512_sub_ps(shifted(sums.values[1][r]), _mm512_set1_ps(kAmxShift));
        term = V::multiply_add(second, floats(P::kScale + 1), term);
      }
      if constexpr (K::kCorrection == Correction::kOffset) {
        TRAMONTANE_UNROLL
        for (int h = 0; h < K::kSubgroups; ++h) {
          term = V::multiply_add(floats(P::kOffset + h), broadcast(&rows->words[r][h]), term);
        }
      }
      totals[r] = V::multiply_add(term, broadcast(&rows->scales[r]), totals[r]);
      Avx512Vnni::pin(totals[r]);
    }
  }

  // All stripes by `tiles` tiles of rows over `depth` groups. Tiles are two steps ahead of vectors.
  // `totals` [tiles][kAmxRows][kOutputs] go on.
  static void multiply(const Vector* panel, int32_t depth, const Rows* rows, int32_t tiles,
                       float* totals) {
    Sums sums[2];
    const Rows* next_rows = rows;
    const Vector* next_group = panel;
    int32_t next_tile = 0, next_stripe = 0, left = depth;
    const auto ahead = [&](Sums* to) {
      next(next_rows, next_group, to);
      ++next_rows;
      next_group += kVectors;
      if (--left > 0) return;
      left = depth;
      if (++next_stripe < kStripes) {
        next_rows -= depth;
        next_group = panel + next_stripe * kPanelGroups * kVectors;
        return;
      }
      next_stripe = 0;
      next_group = panel;
      if (++next_tile >= tiles) next_rows = rows;
    };
    ahead(nullptr);
    // Plain pointers: an index would cost each load an instruction more.
    Sums *now = &sums[0], *then = &sums[1];
    ahead(now);
    for (int32_t tile = 0; tile < tiles; ++tile, rows += depth, totals += kAmxRows * kOutputs) {
      for (int p = 0; p < kStripes; ++p) {
        __m512 sixteen[kAmxRows];
        float* at = totals + kWidth * p;
        TRAMONTANE_UNROLL
        for (int r = 0; r < kAmxRows; ++r) sixteen[r] = V::load_floats(at + r * kOutputs);
        const Vector* group = panel + p * kPanelGroups * kVectors;
        for (int32_t g = 0; g < depth; ++g, group += kVectors) {
          ahead(then);
          hide(now);
          scale(*now, rows + g, group, sixteen);
          std::swap(now, then);
        }
        TRAMONTANE_UNROLL
        for (int r = 0; r < kAmxRows; ++r) V::store(at + r * kOutputs, sixteen[r]);
      }
    }
  }
};

}  // namespace
}  // namespace tramontane::cpu
