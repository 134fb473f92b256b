// Draws tokens from rows of logits (SampleRow in backend/backend.h), on the device.
#pragma once

#include "device/gpu.h"

namespace tramontane::cuda {

// Most of the best logits the device selects; for more the host looks at the row.
constexpr int kMaxSelected = 256;

// One SampleRow; arrays as offsets into the task's.
struct SampleRequest {
  int output;
  float temperature;
  int top_k;
  float top_p, min_p;
  uint64_t random;
  int bias_first, bias_count;
  int seen_first, seen_count;
  float repetition_penalty, presence_penalty, frequency_penalty;
  int mask_first;    // In words; -1: none
  int top;           // Selected here: at most kMaxSelected.
  bool log_sum_exp;  // Whether it is wanted.
};

struct SelectedToken {
  int token;
  float logit;
};

struct SampleAnswer {
  int finite;  // Nothing else is set when 0.
  int token, top_count;
  float logit;
  double log_sum_exp;
  SelectedToken top[kMaxSelected];
};

// All device memory.
struct SampleTask {
  const float* logits;  // [outputs][vocabulary]
  float* modified;      // [count][vocabulary] -infinity where a token is not allowed
  int vocabulary;
  const SampleRequest* requests;  // [count]
  const int* tokens;              // Of biases and of seen tokens,
  const float* biases;            // with their values at the same places,
  const int* counts;              // or their counts.
  const uint32_t* masks;
  SampleAnswer* answers;  // [count]
};
void sample(const SampleTask& task, int count, cudaStream_t stream);

}  // namespace tramontane::cuda
