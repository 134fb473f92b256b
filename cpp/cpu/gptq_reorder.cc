// Brings qweight into the order of its groups at the speed of memory.
//
// A word in the new order is made of words far apart in the old one. So that these come from the
// cache, a stripe of outputs is copied first, which reads the file once; the new words are written
// past the cache, where the processor can.
#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/mapped_file.h"
#include "cpu/gptq.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace tramontane::cpu {
namespace {

constexpr int32_t kBlock = 32;
constexpr int32_t kStripe = 128;  // Outputs that are taken at a time.

// The words of a stripe of outputs in the old order: [columns * bits / 32][width].
struct OldWords {
  const uint32_t* words;
  int32_t width;  // A multiple of 32, at most kStripe.
};

#if defined(__x86_64__) || defined(_M_X64)
inline void prefetch(const uint8_t* data) {
  _mm_prefetch(reinterpret_cast<const char*>(data), _MM_HINT_T0);
}
inline void store_words(const uint32_t* words, int32_t count, uint32_t* out) {
  for (int32_t i = 0; i < count; i += 4) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + i),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(words + i)));
  }
}
inline void finish_stores() { _mm_sfence(); }
#else
inline void prefetch(const uint8_t*) {}
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
  for (int i = 0; i < kBlock; ++i) {
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
    const uint8_t* from = weight.gptq->qweight + 4 * (row * weight.rows + first);
    if (row + kAhead < rows) {
      const uint8_t* next = from + int64_t{4} * kAhead * weight.rows;
      for (int32_t i = 0; i < old.width; i += kLineWords) prefetch(next + 4 * i);
    }
    std::memcpy(scratch + row * old.width, from, size_t{4} * old.width);
  }
  for (int32_t block = 0; block < order.columns / kBlock; ++block) {
    gather_block<kBits>(old, &order.order[block * kBlock],
                        words + int64_t{block} * kBits * weight.rows + first, weight.rows);
  }
  finish_stores();
}

template <int kBits>
void reorder(const WeightData& weight, const GptqOrder& order, const Workers& workers,
             uint32_t* words) {
  std::vector<AlignedBuffer<uint32_t>> scratch(static_cast<size_t>(workers.threads()));
  const int32_t stripes = (weight.rows + kStripe - 1) / kStripe;
  const double work = static_cast<double>(weight.columns) * weight.rows;
  workers.run(stripes, work, [&](int32_t stripe, int thread) {
    AlignedBuffer<uint32_t>& old = scratch[static_cast<size_t>(thread)];
    old.reserve(static_cast<size_t>(weight.columns) / 32 * kBits * kStripe);
    const int32_t first = stripe * kStripe;
    reorder_stripe<kBits>(weight, order, first, std::min(first + kStripe, weight.rows), old.data(),
                          words);
  });
}

// Brings in the pages of a mapped file by all threads.
void expect(const uint8_t* data, uint64_t bytes, const Workers& workers) {
  constexpr uint64_t kPart = uint64_t{1} << 21;
  const int32_t parts = static_cast<int32_t>((bytes + kPart - 1) / kPart);
  workers.run(parts, static_cast<double>(bytes), [&](int32_t part, int) {
    const uint64_t first = part * kPart;
    MappedFile::expect(data + first, static_cast<size_t>(std::min(kPart, bytes - first)));
  });
}

}  // namespace

uint64_t ordered_gptq_bytes(const WeightData& weight, const GptqOrder& order) {
  return uint64_t{4} * (order.columns / kBlock * weight.gptq->bits) * weight.rows;
}

void reorder_gptq(const WeightData& weight, const GptqOrder& order, const Workers& workers,
                  uint32_t* words) {
  const GptqParts& parts = *weight.gptq;
  const uint64_t bytes = uint64_t{4} * (weight.columns / kBlock * parts.bits) * weight.rows;
  if (weight.mapped) expect(parts.qweight, bytes, workers);
  switch (parts.bits) {
    case 2:
      reorder<2>(weight, order, workers, words);
      break;
    case 3:
      reorder<3>(weight, order, workers, words);
      break;
    case 4:
      reorder<4>(weight, order, workers, words);
      break;
    default:
      reorder<8>(weight, order, workers, words);
  }
  if (weight.mapped) MappedFile::release(parts.qweight, static_cast<size_t>(bytes));
}

}  // namespace tramontane::cpu

using namespace tramontane;

Status tramontane_cpu_order_gptq(const WeightData* weight, int32_t threads, uint8_t* ordered,
                                 uint64_t bytes) {
  try {
    // What check_gptq() asks of a weight, and the vector stores above rely on.
    if (weight->columns % 32 != 0 || weight->rows % 32 != 0) return Status::kUnsupported;
    const cpu::GptqOrder order(*weight->gptq, weight->columns);
    if (order.in_place() || bytes != cpu::ordered_gptq_bytes(*weight, order) ||
        reinterpret_cast<uintptr_t>(ordered) % 16 != 0) {
      return Status::kInvalid;
    }
    cpu::reorder_gptq(*weight, order, cpu::Workers(threads), reinterpret_cast<uint32_t*>(ordered));
    return Status::kOk;
  } catch (const std::bad_alloc&) {
    return Status::kOutOfMemory;
  } catch (...) {
    return Status::kDeviceFailed;
  }
}
