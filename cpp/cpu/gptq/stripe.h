// One stripe of outputs brought into the order of their groups. The compiler makes vectors of the
// loops, for each instruction set that a file includes this for.
#pragma once

#include "base/prefetch.h"
#include "cpu/gptq/gptq.h"

namespace tramontane::cpu {

constexpr int32_t kStripe = 128;  // Outputs that are taken at a time.

// Brings outputs [first, last), at most kStripe, into the order. `scratch` has room for the words
// of kStripe outputs.
using ReorderStripe = void(const WeightData& weight, const GptqOrder& order, int32_t first,
                           int32_t last, uint32_t* scratch, uint32_t* words);
#if defined(__x86_64__) || defined(_M_X64)
ReorderStripe reorder_stripe_avx2;
#endif

}  // namespace tramontane::cpu

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// The words of a stripe of outputs in the old order: [columns * bits / 32][width].
struct OldWords {
  const uint32_t* words;
  int32_t width;  // A multiple of 32, at most kStripe.
};

#if defined(__x86_64__) || defined(_M_X64)
inline void store_words(const uint32_t* words, int32_t count, uint32_t* out) {
  for (int32_t i = 0; i < count; i += 4) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + i),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(words + i)));
  }
}
inline void finish_stores() { _mm_sfence(); }
#else
inline void store_words(const uint32_t* words, int32_t count, uint32_t* out) {
  std::copy_n(words, count, out);
}
inline void finish_stores() {}
#endif

// out[i] of column i, of the fields that `order` names. Fields do not cross words.
template <int kBits>
inline void gather_word(const OldWords& old, const int32_t* order, uint32_t* out) {
  constexpr int kFields = 32 / kBits;
  constexpr uint32_t kMask = (1u << kBits) - 1;
  const uint32_t* from[kFields];
  int shift[kFields];
  for (int i = 0; i < kFields; ++i) {
    const int32_t input = std::max(order[i], 0);  // Of kNoInput too: its weight may be any.
    from[i] = old.words + int64_t{input / kFields} * old.width;
    shift[i] = input % kFields * kBits;
  }
  uint32_t words[kStripe];  // Of its own, so that compilers see that nothing overlaps.
  for (int32_t column = 0; column < old.width; ++column) {
    uint32_t word = 0;
    for (int i = 0; i < kFields; ++i) word |= (from[i][column] >> shift[i] & kMask) << kBits * i;
    words[column] = word;
  }
  store_words(words, old.width, out);
}

template <int kBits>
inline void gather_block(const OldWords& old, const int32_t* order, uint32_t* out, int64_t stride) {
  for (int word = 0; word < kBits; ++word) {
    gather_word<kBits>(old, order + 32 / kBits * word, out + word * stride);
  }
}

// Fields of 3 bits may cross words: one at a time.
template <>
inline void gather_block<3>(const OldWords& old, const int32_t* order, uint32_t* out,
                            int64_t stride) {
  uint32_t words[3 * kStripe] = {};
  for (int i = 0; i < 32; ++i) {
    const int32_t from = std::max(order[i], 0) * 3, to = i * 3;
    const uint32_t* source = old.words + int64_t{from / 32} * old.width;
    uint32_t* target = words + to / 32 * kStripe;
    const int right = from % 32, left = to % 32;
    for (int32_t column = 0; column < old.width; ++column) {
      uint32_t field = source[column] >> right;
      if (right > 29) field |= source[old.width + column] << (32 - right);
      field &= 7;
      target[column] |= field << left;
      if (left > 29) target[kStripe + column] |= field >> (32 - left);
    }
  }
  for (int word = 0; word < 3; ++word) {
    store_words(words + word * kStripe, old.width, out + word * stride);
  }
}

template <int kBits>
inline void reorder_stripe(const WeightData& weight, const GptqOrder& order, int32_t first,
                           int32_t last, uint32_t* scratch, uint32_t* words) {
  constexpr int kAhead = 4;  // Rows; they lie too far apart for the processor to foresee.
  constexpr int kLineWords = 16;
  const OldWords old{scratch, last - first};
  const int64_t rows = int64_t{weight.columns} * kBits / 32;
  for (int64_t row = 0; row < rows; ++row) {
    const uint8_t* from = weight.data + 4 * (row * weight.rows + first);
    if (row + kAhead < rows) {
      const uint8_t* next = from + int64_t{4} * kAhead * weight.rows;
      for (int32_t i = 0; i < old.width; i += kLineWords) prefetch(next + 4 * i);
    }
    std::memcpy(scratch + row * old.width, from, size_t{4} * old.width);
  }
  for (int32_t block = 0; block < order.columns / 32; ++block) {
    gather_block<kBits>(old, &order.order[block * 32],
                        words + int64_t{block} * kBits * weight.rows + first, weight.rows);
  }
  finish_stores();
}

inline void reorder_stripe(const WeightData& weight, const GptqOrder& order, int32_t first,
                           int32_t last, uint32_t* scratch, uint32_t* words) {
  switch (weight.gptq.bits) {
    case 2:
      return reorder_stripe<2>(weight, order, first, last, scratch, words);
    case 3:
      return reorder_stripe<3>(weight, order, first, last, scratch, words);
    case 4:
      return reorder_stripe<4>(weight, order, first, last, scratch, words);
    default:
      return reorder_stripe<8>(weight, order, first, last, scratch, words);
  }
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
