#include "kernels/sample.h"

namespace tramontane::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr float kLargest = 3.402823466e38f;

struct Shared {
  float floats[kWarps];
  double doubles[kWarps];
  int histogram[256];
  uint64_t keys[kMaxSelected];
  int count;
  uint64_t prefix;
  int wanted;
};

__device__ __forceinline__ bool not_finite(float value) {
  return (__float_as_uint(value) & 0x7f800000u) == 0x7f800000u;
}

__device__ float block_max(float value, Shared& s) {
  const float largest = warp_max(value);
  __syncthreads();  // The last use of `floats` is over.
  if (threadIdx.x % 32 == 0) s.floats[threadIdx.x / 32] = largest;
  __syncthreads();
  value = s.floats[0];
  for (int w = 1; w < kWarps; ++w) value = fmaxf(value, s.floats[w]);
  return value;
}

// Sum of exp((logit - largest) / temperature): f32 terms, a few a thread, then double. Two calls
// need a barrier between them: modify() has some.
__device__ double block_exp_sum(const float* logits, int vocabulary, float largest,
                                float temperature, Shared& s) {
  float sum = 0.0f;
  for (int i = static_cast<int>(threadIdx.x); i < vocabulary; i += kThreads) {
    sum += expf((logits[i] - largest) / temperature);
  }
  double total = warp_sum(sum);
  if (threadIdx.x % 32 == 0) s.doubles[threadIdx.x / 32] = total;
  __syncthreads();
  total = 0.0;
  for (int w = 0; w < kWarps; ++w) total += s.doubles[w];
  return total;
}

// Orders by logit, equal ones by the smaller token: larger keys come first. 0: not allowed.
__device__ __forceinline__ uint64_t key_of(float logit, int token) {
  if (logit == -INFINITY) return 0;
  const uint32_t bits = __float_as_uint(logit + 0.0f);  // -0 equals 0.
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | ~static_cast<uint32_t>(token);
}
__device__ __forceinline__ int token_of(uint64_t key) {
  return static_cast<int>(~static_cast<uint32_t>(key & 0xffffffffu));
}

// Finds the key of rank `wanted`, byte by byte from the top: of the keys that share the bytes found
// so far, a histogram of the next byte says which of its values the key has. Then all keys from it
// on are collected, and sorted. Returns how many there are. Two calls need a barrier between them.
__device__ int select(const float* logits, int vocabulary, int wanted, const float* raw,
                      SelectedToken* out, Shared& s) {
  const int thread = static_cast<int>(threadIdx.x);
  if (wanted == 0) return 0;
  if (thread == 0) {
    s.prefix = 0;
    s.wanted = wanted;
    s.count = 0;
  }
  for (int shift = 56; shift >= 0; shift -= 8) {
    if (thread < 256) s.histogram[thread] = 0;
    __syncthreads();
    const uint64_t prefix = s.prefix;
    for (int i = thread; i < vocabulary; i += kThreads) {
      const uint64_t key = key_of(logits[i], i);
      const bool shares = shift == 56 || key >> (shift + 8) == prefix >> (shift + 8);
      if (key && shares) atomicAdd(&s.histogram[key >> shift & 255], 1);
    }
    __syncthreads();
    if (thread == 0) {
      int value = 255, left = s.wanted;
      while (value > 0 && s.histogram[value] < left) left -= s.histogram[value--];
      s.wanted = left;
      s.prefix = prefix | static_cast<uint64_t>(value) << shift;
    }
    __syncthreads();
  }
  const uint64_t least = s.prefix;
  for (int i = thread; i < kMaxSelected; i += kThreads) s.keys[i] = 0;
  __syncthreads();
  for (int i = thread; i < vocabulary; i += kThreads) {
    const uint64_t key = key_of(logits[i], i);
    if (key && key >= least) s.keys[atomicAdd(&s.count, 1)] = key;
  }
  __syncthreads();
  // Bitonic sort, largest first.
  for (int size = 2; size <= kMaxSelected; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      const int other = thread ^ distance;
      if (thread < kMaxSelected && other > thread) {
        const uint64_t a = s.keys[thread], b = s.keys[other];
        const bool descending = (thread & size) == 0;
        if ((a < b) == descending) {
          s.keys[thread] = b;
          s.keys[other] = a;
        }
      }
      __syncthreads();
    }
  }
  const int count = s.count;
  if (thread < count) {
    const int token = token_of(s.keys[thread]);
    out[thread] = {token, logits[token], raw[token]};
  }
  return count;
}

__device__ __forceinline__ float clamp(float value) {
  return fminf(fmaxf(value, -kLargest), kLargest);
}

// Bias, penalties, mask. Each touches a token once, so threads need to meet only between them; what
// comes last leaves modified[i] to the thread that reads it next.
__device__ void modify(const SampleTask& task, const SampleRequest& request, const float* logits,
                       float* modified) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < task.vocabulary; i += kThreads) modified[i] = logits[i];
  __syncthreads();
  for (int i = request.bias_first + thread; i < request.bias_first + request.bias_count;
       i += kThreads) {
    float& logit = modified[task.tokens[i]];
    const float bias = task.biases[i];
    logit = bias == -INFINITY ? -INFINITY : clamp(logit + bias);
  }
  __syncthreads();
  for (int i = request.seen_first + thread; i < request.seen_first + request.seen_count;
       i += kThreads) {
    float& logit = modified[task.tokens[i]];
    if (logit == -INFINITY) continue;
    float value =
        logit > 0 ? logit / request.repetition_penalty : logit * request.repetition_penalty;
    if (task.counts[i] > 0) {
      value -= request.presence_penalty;
      value -= request.frequency_penalty * static_cast<float>(task.counts[i]);
    }
    logit = clamp(value);
  }
  __syncthreads();
  if (request.mask_first < 0) return;
  const uint32_t* mask = task.masks + request.mask_first;
  for (int i = thread; i < task.vocabulary; i += kThreads) {
    if (!(mask[i / 32] >> (i % 32) & 1)) modified[i] = -INFINITY;
  }
}

// One block a row.
__global__ void __launch_bounds__(kThreads) sample_kernel(SampleTask task) {
  Shared& s = shared<Shared>();
  const SampleRequest request = task.requests[blockIdx.x];
  SampleAnswer& answer = task.answers[blockIdx.x];
  const float* logits = task.logits + static_cast<int64_t>(request.output) * task.vocabulary;
  float* modified = task.modified + static_cast<int64_t>(blockIdx.x) * task.vocabulary;
  const int thread = static_cast<int>(threadIdx.x);

  float largest = -INFINITY, broken = 0.0f;
  for (int i = thread; i < task.vocabulary; i += kThreads) {
    if (not_finite(logits[i])) broken = 1.0f;
    largest = fmaxf(largest, logits[i]);
  }
  broken = block_max(broken, s);
  if (thread == 0) answer.finite = broken == 0.0f;
  if (broken != 0.0f) return;
  largest = block_max(largest, s);
  const double sum = block_exp_sum(logits, task.vocabulary, largest, 1.0f, s);
  const int top_count = select(logits, task.vocabulary, request.top, logits, answer.top, s);

  modify(task, request, logits, modified);
  float best = -INFINITY;
  for (int i = thread; i < task.vocabulary; i += kThreads) best = fmaxf(best, modified[i]);
  best = block_max(best, s);
  double mass = -INFINITY;
  if (request.temperature > 0 && best != -INFINITY) {
    mass = static_cast<double>(best) / request.temperature +
           log(block_exp_sum(modified, task.vocabulary, best, request.temperature, s));
  }
  const int count =
      select(modified, task.vocabulary, request.candidates, logits, answer.candidates, s);
  if (thread) return;
  answer.top_count = top_count;
  answer.candidate_count = count;
  answer.log_sum_exp = largest + log(sum);
  answer.candidate_log_mass = mass;
}

}  // namespace

void sample(const SampleTask& task, int count, cudaStream_t stream) {
  launch(sample_kernel, dim3(static_cast<unsigned>(count)), dim3(kThreads), stream, task);
}

}  // namespace tramontane::cuda
