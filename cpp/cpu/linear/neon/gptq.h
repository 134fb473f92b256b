// GPTQ weights.
//
// Neighbouring words of a row of qweight are neighbouring outputs: four of them are the lanes of a
// vector as they lie, and the fields of a word are inputs of its lane. One row of words is some
// inputs of all outputs; it is read along, and each output's float waits in L1 meanwhile.
//
// Every 8 / bits-th field of a word is one byte of it after a shift and a mask, so sdot takes the
// fields as they come apart, and the activations are brought into that order:
//
//   4 bits   a word 76543210   even fields 6420, odd ones 7531
//   2 bits   fields 12 8 4 0, 13 9 5 1, 14 10 6 2, 15 11 7 3
//   8 bits   the word itself, less 128
//   3 bits   fields cross bytes and words, and are brought into order themselves
#pragma once

#include "cpu/linear/neon/float.h"
#include "cpu/linear/neon/panel.h"
#include "cpu/linear/neon/unpack.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// Vectors of four inputs a lane, from the order in which fields come apart to that of the inputs.
//   2 bits: 12 8 4 0, 13 9 5 1, 14 10 6 2, 15 11 7 3  ->  3 2 1 0, 7 6 5 4, ...
template <int kBits>
TRAMONTANE_INLINE void order_inputs(int8x16_t* w) {
  const auto by_halves = [](int8x16_t a, int8x16_t b, int8x16_t* out) {
    const int16x8_t even = vreinterpretq_s16_s8(a), odd = vreinterpretq_s16_s8(b);
    out[0] = vreinterpretq_s8_s16(vtrn1q_s16(even, odd));
    out[1] = vreinterpretq_s8_s16(vtrn2q_s16(even, odd));
  };
  if constexpr (kBits == 4) {
    for (int i = 0; i < 8; i += 2) {
      by_halves(vtrn1q_s8(w[i], w[i + 1]), vtrn2q_s8(w[i], w[i + 1]), w + i);
    }
  }
  if constexpr (kBits == 2) {
    for (int i = 0; i < 8; i += 4) {
      int8x16_t first[2], second[2];
      by_halves(vtrn1q_s8(w[i], w[i + 1]), vtrn1q_s8(w[i + 2], w[i + 3]), first);
      by_halves(vtrn2q_s8(w[i], w[i + 1]), vtrn2q_s8(w[i + 2], w[i + 3]), second);
      w[i] = first[0];
      w[i + 1] = second[0];
      w[i + 2] = first[1];
      w[i + 3] = second[1];
    }
  }
}

// 32 activations in the order in which fields come apart: word j is what vector j meets.
template <int kBits>
TRAMONTANE_INLINE void load_activations(const int8_t* q, int8x16_t* words) {
  words[0] = vld1q_s8(q);
  words[1] = vld1q_s8(q + 16);
  if constexpr (kBits == 4) {  // Even and odd words by turns.
    alignas(16) static constexpr uint8_t kOrder[16] = {0, 2,  4,  6,  1, 3,  5,  7,
                                                       8, 10, 12, 14, 9, 11, 13, 15};
    for (int i = 0; i < 2; ++i) words[i] = vqtbl1q_s8(words[i], vld1q_u8(kOrder));
  }
  if constexpr (kBits == 2) {
    alignas(16) static constexpr uint8_t kOrder[16] = {0, 4, 8,  12, 1, 5, 9,  13,
                                                       2, 6, 10, 14, 3, 7, 11, 15};
    for (int i = 0; i < 2; ++i) words[i] = vqtbl1q_s8(words[i], vld1q_u8(kOrder));
  }
}

template <int kBits>
class GptqSource {
 public:
  using ShapeType = Shape<32, Offset::kOfIntegers>;

  explicit GptqSource(const LinearTask& task)
      : task_(task),
        parts_(task.weight->gptq),
        qweight_(task.gptq->qweight),
        row_words_(task.weight->rows) {}

  // Stripes begin at multiples of 4.
  Stripe stripe_at(int32_t output) const {
    const int32_t start = output / kLanes * kLanes;
    return {start, output - start, std::min(start + kLanes, task_.last) - output};
  }

  // Inputs 32 g to 32 g + 31 of 4 outputs, in the order in which fields come apart.
  TRAMONTANE_INLINE void load_weights(int32_t output, int32_t g, int8x16_t* w) const {
    const uint8_t* words = words_of(output, g);
    uint32x4_t word[kBits];
    TRAMONTANE_UNROLL
    for (int i = 0; i < kBits; ++i) {
      word[i] = vreinterpretq_u32_u8(vld1q_u8(words + 4 * i * row_words_));
    }
    if constexpr (kBits == 3) {
      fields_in_order(word, w, std::make_integer_sequence<int, 8>());
    } else {
      constexpr int kVectors = 8 / kBits;  // Of a word.
      TRAMONTANE_UNROLL
      for (int i = 0; i < kBits; ++i) {
        split(vreinterpretq_u8_u32(word[i]), w + i * kVectors,
              std::make_integer_sequence<int, kVectors>());
      }
    }
  }

  // Of 4 outputs in a group of the file: (q - zero) * scale is scale * (q + offset). 8 bits are
  // taken relative to 128.
  TRAMONTANE_INLINE void load_scales(int32_t output, int32_t group, float32x4_t* scale,
                                     float32x4_t* offset) const {
    *scale = load_scale(int64_t{group} * row_words_ + output);
    const int32x4_t zero = vreinterpretq_s32_u32(load_zero(output, group));
    const int32x4_t middle = vdupq_n_s32(kBits == 8 ? 128 : 0);
    *offset = vcvtq_f32_s32(vsubq_s32(middle, zero));
  }

  // Asks for the words of groups [first, first + kPanelGroups) of a stripe.
  void prefetch_groups(const Stripe& stripe, int32_t first) const {
    const uint8_t* row = words_of(stripe.output, first);
    const int64_t rows = int64_t{std::min(kPanelGroups, task_.gptq->columns / 32 - first)} * kBits;
    for (int64_t i = 0; i < rows; ++i) prefetch(row + 4 * i * row_words_);
  }

  template <bool, class Use>
  TRAMONTANE_INLINE void for_each_group(const Stripe& stripe, int32_t first, int32_t count,
                                        Use& use) const {
    for (int32_t g = first; g < first + count; ++g) {
      LaneGroup x;
      load_weights(stripe.output, g, x.w);
      order_inputs<kBits>(x.w);
      load_scales(stripe.output, task_.gptq->block_groups[g], x.scale, x.offset);
      use(x);
    }
  }

 private:
  const uint8_t* words_of(int32_t output, int32_t g) const {
    return qweight_ + 4 * (int64_t{g} * kBits * row_words_ + output);
  }

  template <int... kIndex>
  TRAMONTANE_INLINE static void split(uint8x16_t word, int8x16_t* w,
                                      std::integer_sequence<int, kIndex...>) {
    if constexpr (kBits == 8) {
      *w = as_signed(veorq_u8(word, vdupq_n_u8(0x80)));
    } else {
      ((w[kIndex] = as_signed(bits<kIndex * kBits, 0, kBits>(word))), ...);
    }
  }

  template <int... kIndex>
  TRAMONTANE_INLINE static void fields_in_order(const uint32x4_t* word, int8x16_t* w,
                                                std::integer_sequence<int, kIndex...>) {
    ((w[kIndex] = four_fields<kIndex>(word)), ...);
  }

  // Fields 4 kIndex to 4 kIndex + 3 of three words, a byte each.
  //   ....ddd ccc bbb aaa -> dddccc.......... bbbaaa -> ddd ccc bbb aaa
  template <int kIndex>
  TRAMONTANE_INLINE static int8x16_t four_fields(const uint32x4_t* word) {
    constexpr int kBit = 12 * kIndex, kWord = kBit / 32, kShift = kBit % 32;
    uint32x4_t x = word[kWord];
    if constexpr (kShift > 0) x = vshrq_n_u32(x, kShift);
    if constexpr (kShift + 12 > 32) x = vsliq_n_u32(x, word[kWord + 1], 32 - kShift);
    x = vandq_u32(x, vdupq_n_u32(0xfff));
    x = vandq_u32(vorrq_u32(x, vshlq_n_u32(x, 10)), vdupq_n_u32(0x003f003f));
    x = vandq_u32(vorrq_u32(x, vshlq_n_u32(x, 5)), vdupq_n_u32(0x07070707));
    return vreinterpretq_s8_u32(x);
  }

  // Zero points of 4 outputs: 4 * kBits bits that begin at a byte or in its middle.
  TRAMONTANE_INLINE uint32x4_t load_zero(int32_t output, int32_t group) const {
    alignas(16) static constexpr int32_t kRight[4] = {0, -kBits, -2 * kBits, -3 * kBits};
    const int64_t bit = (int64_t{group} * row_words_ + output) * kBits;
    uint32_t packed = 0;
    std::memcpy(&packed, parts_.qzeros + bit / 8, (4 * kBits + 7) / 8);
    uint32x4_t zero = vshlq_u32(vdupq_n_u32(packed >> bit % 8), vld1q_s32(kRight));
    zero = vaddq_u32(zero, vdupq_n_u32(static_cast<uint32_t>(parts_.zero_bias)));
    return vandq_u32(zero, vdupq_n_u32((1u << kBits) - 1));
  }

  TRAMONTANE_INLINE float32x4_t load_scale(int64_t index) const {
    switch (parts_.scale_format) {
      case Format::kF16:
        return LoadF16::load_four(parts_.scales + 2 * index);
      case Format::kBF16:
        return LoadBF16::load_four(parts_.scales + 2 * index);
      default:
        return LoadF32::load_four(parts_.scales + 4 * index);
    }
  }

  const LinearTask& task_;
  const GptqParts& parts_;
  const uint8_t* qweight_;
  int64_t row_words_;
};

// Of as many outputs as are read along at a time.
struct GptqScratch {
  static constexpr int kOutputs = 1 << 12;
  float totals[kOutputs], scales[kOutputs], offsets[kOutputs];
};

// The sums of one group for 4 outputs, in two chains, for each sdot waits for the one before.
template <int... kVector>
TRAMONTANE_INLINE int32x4_t multiply_words(const int8x16_t* w, const int8x16_t* activations,
                                           std::integer_sequence<int, kVector...>) {
  int32x4_t sums[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
  ((sums[kVector % 2] =
        dot_word<kVector % 4>(sums[kVector % 2], w[kVector], activations[kVector / 4])),
   ...);
  return vaddq_s32(sums[0], sums[1]);
}

template <int kBits>
void one_row_gptq(const LinearTask& task, const GptqSource<kBits>& source) {
  using S = typename GptqSource<kBits>::ShapeType;
  const int32_t groups = task.in->columns / 32;
  GptqScratch& scratch = *reinterpret_cast<GptqScratch*>(task.scratch);
  for (int32_t first = task.first / kLanes * kLanes; first < task.last;
       first += GptqScratch::kOutputs) {
    const int32_t outputs = std::min(GptqScratch::kOutputs, task.last - first);
    std::fill_n(scratch.totals, GptqScratch::kOutputs, 0.0f);
    RowOfActivations row = activations_of(*task.in, 0);
    int32_t group = -1;
    for (int32_t g = 0; g < groups; ++g) {
      if (group != task.gptq->block_groups[g]) {
        group = task.gptq->block_groups[g];
        for (int32_t o = 0; o < outputs; o += kLanes) {
          float32x4_t scale, offset;
          source.load_scales(first + o, group, &scale, &offset);
          vst1q_f32(scratch.scales + o, scale);
          vst1q_f32(scratch.offsets + o, offset);
        }
      }
      int8x16_t activations[2];
      load_activations<kBits>(row.q, activations);
      float sum;
      unit_sums<S>(task.in->sums + 2 * g, 1, &sum);
      for (int32_t o = 0; o < outputs; o += kLanes) {
        LaneGroup x;
        source.load_weights(first + o, g, x.w);
        x.scale[0] = vld1q_f32(scratch.scales + o);
        x.offset[0] = vld1q_f32(scratch.offsets + o);
        const int32x4_t integers =
            multiply_words(x.w, activations, std::make_integer_sequence<int, 8>());
        const float32x4_t term = add_unit<S>(integers, x, 0, &sum, vdupq_n_f32(0));
        float* total = scratch.totals + o;
        vst1q_f32(total, add_group<S>(x, &sum, *row.scales, term, vld1q_f32(total)));
      }
      row.q += 32;
      row.scales += 1;
    }
    const float* total = scratch.totals;
    for (int32_t output = std::max(first, task.first); output < first + outputs;) {
      const Stripe stripe = source.stripe_at(output);
      store(task, 0, stripe, total);
      output += stripe.count;
      total += kLanes;
    }
  }
}

template <int kBits>
void linear_int8(const LinearTask& task, const GptqSource<kBits>& source) {
  task.in->rows == 1
      ? one_row_gptq(task, source)
      : many_rows<Panel<typename GptqSource<kBits>::ShapeType, DotProducts>>(task, source);
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
