// Sampling on the device: requests go over in one copy, small answers come back.
#pragma once

#include <vector>

#include "host/device_memory.h"
#include "kernels/sample.h"

namespace tramontane::cuda {

class Sampling {
 public:
  Sampling(int vocabulary, int max_outputs) : vocabulary_(vocabulary), max_outputs_(max_outputs) {}

  // `logits` [outputs][vocabulary] on the device; `rows` were checked. Throws StatusError.
  void sample(const float* logits, const SampleRow* rows, int count, SampleResult* results,
              const Stream& stream);

 private:
  void select_on_host(const float* logits, const SampleRow& row, SampleResult& result,
                      const Stream& stream);

  const int vocabulary_, max_outputs_;
  DeviceArray<float> modified_;
  PinnedArray<uint8_t> pinned_;
  DeviceArray<uint8_t> requests_;
  DeviceArray<SampleAnswer> answers_;
  PinnedArray<SampleAnswer> pinned_answers_;
};

}  // namespace tramontane::cuda
