// Brings qweight into the order of its groups at the speed of memory.
//
// A word in the new order is made of words far apart in the old one. So that these come from the
// cache, a stripe of outputs is copied first, which reads the file once; the new words are written
// past the cache, where the processor can.
#define TRAMONTANE_TARGET baseline

#include <algorithm>
#include <new>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/cpu_features.h"
#include "base/mapped_file.h"
#include "cpu/gptq/gptq.h"
#include "cpu/gptq/stripe.h"

namespace tramontane::cpu {
namespace {

// Brings in the pages of a mapped file by all threads.
void expect(const uint8_t* data, uint64_t bytes, const Workers& workers) {
  constexpr uint64_t kPart = uint64_t{1} << 21;
  const int32_t parts = static_cast<int32_t>((bytes + kPart - 1) / kPart);
  workers.run(parts, static_cast<double>(bytes), [&](int32_t part, int) {
    const uint64_t first = part * kPart;
    MappedFile::expect(data + first, static_cast<size_t>(std::min(kPart, bytes - first)));
  });
}

ReorderStripe* fastest_stripe() {
#if defined(__x86_64__) || defined(_M_X64)
  if (cpu_features().avx2) return reorder_stripe_avx2;
#endif
  return baseline::reorder_stripe;
}

}  // namespace

uint64_t ordered_gptq_bytes(const WeightData& weight, const GptqOrder& order) {
  return uint64_t{4} * (order.columns / 32 * weight.gptq.bits) * weight.rows;
}

void reorder_gptq(const WeightData& weight, const GptqOrder& order, const Workers& workers,
                  uint32_t* words) {
  const GptqParts& parts = weight.gptq;
  const uint64_t bytes = uint64_t{4} * (weight.columns / 32 * parts.bits) * weight.rows;
  if (weight.mapped) expect(weight.data, bytes, workers);
  ReorderStripe* const stripe_function = fastest_stripe();
  std::vector<AlignedBuffer<uint32_t>> scratch(static_cast<size_t>(workers.threads()));
  const int32_t stripes = (weight.rows + kStripe - 1) / kStripe;
  workers.run(stripes, static_cast<double>(bytes), [&](int32_t stripe, int thread) {
    AlignedBuffer<uint32_t>& old = scratch[static_cast<size_t>(thread)];
    old.reserve(static_cast<size_t>(weight.columns) / 32 * parts.bits * kStripe);
    const int32_t first = stripe * kStripe;
    stripe_function(weight, order, first, std::min(first + kStripe, weight.rows), old.data(),
                    words);
  });
  if (weight.mapped) MappedFile::release(weight.data, static_cast<size_t>(bytes));
}

}  // namespace tramontane::cpu

using namespace tramontane;

Status tramontane_cpu_order_gptq(const WeightData* weight, int32_t threads, uint8_t* ordered,
                                 uint64_t bytes) {
  try {
    // What check_gptq() asks of a weight, and the vector stores above rely on.
    if (weight->columns % 32 != 0 || weight->rows % 32 != 0) return Status::kUnsupported;
    const cpu::GptqOrder order(weight->gptq, weight->columns);
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
