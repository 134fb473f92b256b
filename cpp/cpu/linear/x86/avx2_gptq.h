// GPTQ weights.
//
// Neighbouring words of a row of qweight are neighbouring outputs: eight of them are the lanes of a
// vector as they lie, and the fields of a word are inputs of its lane. One row of words is some
// inputs of all outputs; it is read along, and each output's float waits in L1 or L2 meanwhile.
#pragma once

#include "cpu/linear/panels.h"
#include "cpu/linear/x86/avx2_float.h"
#include "cpu/linear/x86/avx2_panel.h"
#include "cpu/linear/x86/avx2_unpack.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// The low four fields of kBits bits of each lane, a byte each.
//   were kBits 4: 0000dcba -> 00dc00ba -> 0d0c0b0a
template <int kBits>
TRAMONTANE_INLINE __m256i spread_fields(__m256i x) {
  constexpr int kPair = (1 << 2 * kBits) - 1, kOne = (1 << kBits) - 1;
  x = _mm256_or_si256(x, _mm256_slli_epi32(x, 16 - 2 * kBits));
  x = _mm256_and_si256(x, _mm256_set1_epi32(kPair * 0x10001));
  x = _mm256_or_si256(x, _mm256_slli_epi32(x, 8 - kBits));
  return _mm256_and_si256(x, _mm256_set1_epi32(kOne * 0x01010101));
}

// Eight fields of 4 bits of each lane, a byte each: the first four in out[0], the others in out[1].
//   76543210 -> 6420 and 7531 -> of lanes a and b: a3210 a7654 b3210 b7654 -> a3210 b3210 ...
TRAMONTANE_INLINE void split_nibbles(__m256i x, __m256i* out) {
  const __m256i even = _mm256_and_si256(x, constant(15));
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(x, 4), constant(15));
  const __m256 low = _mm256_castsi256_ps(_mm256_unpacklo_epi8(even, odd));
  const __m256 high = _mm256_castsi256_ps(_mm256_unpackhi_epi8(even, odd));
  out[0] = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88));
  out[1] = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd));
}

template <int kBits, int kWidth>
class GptqSource {
 public:
  // 8 bits are taken relative to 128.
  using ShapeType = Shape<32, kBits, false, kOwnZeros, false>;

  explicit GptqSource(const LinearTask& task)
      : task_(task), parts_(task.weight->gptq), row_words_(task.weight->rows) {}

  // Stripes begin at multiples of 8, where the zero points begin at whole bytes.
  Stripe stripe_at(int32_t output) const {
    const int32_t start = output / kLanes * kLanes;
    return {start, output - start, std::min(start + kWidth, task_.last) - output};
  }

  int32_t outputs() const { return task_.weight->rows; }

  // Where words, packed zero points and scales of an output's inputs 32 g to 32 g + 31 begin.
  const uint8_t* words_at(int32_t output, int32_t g) const {
    return task_.gptq->qweight + 4 * (int64_t{g} * kBits * row_words_ + output);
  }
  const uint8_t* zeros_at(int32_t output, int32_t group) const {
    return parts_.qzeros + (int64_t{group} * row_words_ + output) * kBits / 8;
  }
  int64_t row_words() const { return row_words_; }
  int32_t group_of(int32_t g) const { return task_.gptq->block_groups[g]; }
  int32_t zero_bias() const { return parts_.zero_bias; }

  // Inputs 32 g to 32 g + 31 of 8 outputs.
  TRAMONTANE_INLINE void load_group(int32_t output, int32_t g, UnpackedGroup& x) const {
    const uint8_t* words = words_at(output, g);
    __m256i word[kBits];
    for (int i = 0; i < kBits; ++i) {
      word[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + 4 * i * row_words_));
    }
    if constexpr (kBits == 8) {
      for (int j = 0; j < 8; ++j) x.w[j] = _mm256_xor_si256(word[j], constant(128));
    } else if constexpr (kBits == 4) {
      for (int i = 0; i < 4; ++i) split_nibbles(word[i], x.w + 2 * i);
    } else {
      unpack_words(word, x.w, std::make_integer_sequence<int, 8>());
    }
    const int32_t group = task_.gptq->block_groups[g];
    x.zero = load_zeros(group, output);
    x.scale[0] = load_scales(group, output);
  }

  // Asks for the words of groups [first, first + kPanelGroups) of a stripe.
  void prefetch_groups(const Stripe& stripe, int32_t first) const {
    const uint8_t* row =
        task_.gptq->qweight + 4 * (int64_t{first} * kBits * row_words_ + stripe.output);
    for (int i = 0; i < kPanelGroups * kBits; ++i, row += 4 * row_words_) prefetch(row);
  }

  template <Ask, class Form, class Use>
  TRAMONTANE_INLINE void for_each_group(const Stripe& stripe, int32_t first, int32_t count,
                                        Use& use) const {
    for (int32_t g = first; g < first + count; ++g) {
      typename Form::Group x;
      Form::load_group(*this, stripe, g, x);
      use(x);
    }
  }

  TRAMONTANE_INLINE __m256 load_scales(int32_t group, int32_t output) const {
    const int64_t index = int64_t{group} * row_words_ + output;
    switch (parts_.scale_format) {
      case Format::kF16:
        return LoadF16::load(parts_.scales + 2 * index);
      case Format::kBF16:
        return LoadBF16::load(parts_.scales + 2 * index);
      default:
        return LoadF32::load(parts_.scales + 4 * index);
    }
  }

 private:
  template <int... kIndex>
  TRAMONTANE_INLINE static void unpack_words(const __m256i* word, __m256i* w,
                                             std::integer_sequence<int, kIndex...>) {
    ((w[kIndex] = fields<kIndex>(word)), ...);
  }

  // Fields 4 kIndex to 4 kIndex + 3 of kBits words.
  template <int kIndex>
  TRAMONTANE_INLINE static __m256i fields(const __m256i* word) {
    constexpr int kBit = 4 * kBits * kIndex, kWord = kBit / 32, kShift = kBit % 32;
    __m256i x = kShift == 0 ? word[kWord] : _mm256_srli_epi32(word[kWord], kShift);
    if constexpr (kShift + 4 * kBits > 32) {
      x = _mm256_or_si256(x, _mm256_slli_epi32(word[kWord + 1], 32 - kShift));
    }
    return spread_fields<kBits>(_mm256_and_si256(x, _mm256_set1_epi32((1 << 4 * kBits) - 1)));
  }

  // Zero points as pairs of int16; 8 of them are kBits bytes.
  TRAMONTANE_INLINE __m256i load_zeros(int32_t group, int32_t output) const {
    const uint8_t* p = zeros_at(output, group);
    __m256i zeros;
    if constexpr (kBits == 8) {
      zeros = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    } else {
      uint32_t packed = 0;
      std::memcpy(&packed, p, kBits);
      zeros = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(packed)),
                                _mm256_setr_epi32(0, kBits, 2 * kBits, 3 * kBits, 4 * kBits,
                                                  5 * kBits, 6 * kBits, 7 * kBits));
    }
    zeros = _mm256_add_epi32(zeros, _mm256_set1_epi32(parts_.zero_bias));
    zeros = _mm256_and_si256(zeros, _mm256_set1_epi32((1 << kBits) - 1));
    if constexpr (kBits == 8) zeros = _mm256_sub_epi32(zeros, _mm256_set1_epi32(128));
    return _mm256_blend_epi16(zeros, _mm256_slli_epi32(zeros, 16), 0xaa);
  }

  const LinearTask& task_;
  const GptqParts& parts_;
  int64_t row_words_;
};

// Floats that wait in scratch: [rows][outputs].
constexpr int kGptqTotals = 1 << 14;
constexpr size_t kGptqScratchBytes = kGptqTotals * sizeof(float);

template <int kBits>
void one_row_gptq(const LinearTask& task, const GptqSource<kBits, kLanes>& source) {
  using S = typename GptqSource<kBits, kLanes>::ShapeType;
  const int32_t groups = task.in->columns / 32;
  float* totals = reinterpret_cast<float*>(task.scratch);
  for (int32_t first = task.first / kLanes * kLanes; first < task.last; first += kGptqTotals) {
    const int32_t last = std::min(first + kGptqTotals, task.last);
    std::fill_n(totals, kGptqTotals, 0.0f);
    RowOfActivations row = activations_of<S>(*task.in, 0, task.scratch + kGptqScratchBytes);
    for (int32_t g = 0; g < groups; ++g) {
      float* total = totals;
      for (int32_t output = first; output < last; output += kLanes, total += kLanes) {
        UnpackedGroup x;
        source.load_group(output, g, x);
        const __m256i sum = integer_sum<S>(x, 0, row);
        _mm256_storeu_ps(total, add_group<S>(x, &sum, row, _mm256_loadu_ps(total)));
      }
      row.template next<S>();
    }
    const float* total = totals;
    for (int32_t output = std::max(first, task.first); output < last;) {
      const Stripe stripe = source.stripe_at(output);
      store(task, 0, stripe, total);
      output += stripe.count;
      total += kLanes;
    }
  }
}

template <int kBits>
void linear_int8(const LinearTask& task, const GptqSource<kBits, kLanes>& source) {
  task.in->rows == 1
      ? one_row_gptq(task, source)
      : many_rows<Panel<typename GptqSource<kBits, kLanes>::ShapeType>>(task, source);
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
