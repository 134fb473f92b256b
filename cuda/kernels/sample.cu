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

// The key of rank `wanted`, byte by byte from the top: of the keys that share the bytes found so
// far, a histogram of the next byte says which of its values the key has. 0: there are fewer keys.
// Two calls need a barrier between them.
__device__ uint64_t key_of_rank(const float* logits, int vocabulary, int wanted, Shared& s) {
  const int thread = static_cast<int>(threadIdx.x);
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
  return s.prefix;
}

// Collects the `wanted` best, and sorts them. Returns how many there are. Two calls need a barrier
// between them.
__device__ int select(const float* logits, int vocabulary, int wanted, SelectedToken* out,
                      Shared& s) {
  const int thread = static_cast<int>(threadIdx.x);
  if (wanted <= 0) return 0;
  const uint64_t least = key_of_rank(logits, vocabulary, wanted, s);
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
    out[thread] = {token, logits[token]};
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

// The number that SplitMix64 (base/split_mix.h) gives next.
__device__ __forceinline__ uint64_t split_mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// What tokens are drawn by: 0 for those that are not before the bound.
struct Weights {
  const float* logits;
  int vocabulary;
  float best, temperature;
  uint64_t bound;  // Keys before it are larger.

  __device__ float operator[](int token) const {
    if (token >= vocabulary || key_of(logits[token], token) <= bound) return 0.0f;
    return expf((logits[token] - best) / temperature);
  }
};

// A range of tokens is split among the warps, in whole groups of 32.
__device__ __forceinline__ int span_of_warp(int tokens) {
  return divide_up(divide_up(tokens, kWarps), 32) * 32;
}

// doubles[w] becomes the sum of warp w's part of a range.
__device__ void sum_spans(const Weights& weights, int first, int span, Shared& s) {
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  float sum = 0.0f;
  for (int i = lane; i < span; i += 32) sum += weights[first + warp * span + i];
  sum = warp_sum(sum);
  __syncthreads();  // The last use of `doubles` is over.
  if (lane == 0) s.doubles[warp] = sum;
  __syncthreads();
}

__device__ double mass_of(const Weights& weights, Shared& s) {
  sum_spans(weights, 0, span_of_warp(weights.vocabulary), s);
  double mass = 0.0;
  for (int w = 0; w < kWarps; ++w) mass += s.doubles[w];
  return mass;
}

// The first token at which the sum of the weights, in the order of tokens' numbers, is above
// `target`; the last with a weight where rounding leaves none. The range that has it shrinks to a
// part of one of the warps, until that is one group.
__device__ int find(const Weights& weights, double target, Shared& s) {
  int first = 0, count = weights.vocabulary;
  double before = 0.0;
  while (count > 32) {
    const int span = span_of_warp(count);
    sum_spans(weights, first, span, s);
    int chosen = 0;
    double sum = before;
    for (int w = 0; w < kWarps && sum <= target; ++w) {
      if (s.doubles[w] == 0.0) continue;
      chosen = w;
      before = sum;
      sum += s.doubles[w];
    }
    first += chosen * span;
    count = span;
  }
  const float weight = weights[first + static_cast<int>(threadIdx.x % 32)];
  int token = first;
  for (int lane = 0; lane < 32; ++lane) {
    const float of_lane = __shfl_sync(kAllLanes, weight, lane);
    if (of_lane == 0.0f || before > target) continue;
    token = first + lane;
    before += of_lane;
  }
  return token;
}

// The bound of the tokens that are at least `min_p` times as probable as the best.
__device__ uint64_t min_p_bound(float best, float temperature, float min_p) {
  const double least = best + static_cast<double>(temperature) * log(static_cast<double>(min_p));
  if (least <= -kLargest) return 0;
  float logit = static_cast<float>(least);
  if (logit < least) logit = nextafterf(logit, INFINITY);
  return (key_of(logit, 0) & ~0xffffffffull) - 1;
}

// As the CPU's draw(), cpp/cpu/backend/sample.cc, has it.
__device__ int draw(const SampleRequest& request, const float* modified, int vocabulary, float best,
                    Shared& s) {
  if (best == -INFINITY) return -1;
  if (request.temperature == 0) return token_of(key_of_rank(modified, vocabulary, 1, s));
  Weights weights{modified, vocabulary, best, request.temperature, 0};
  if (request.top_k > 0) {
    const uint64_t last = key_of_rank(modified, vocabulary, request.top_k, s);
    if (last) weights.bound = last - 1;
  }
  double mass = mass_of(weights, s);
  const double enough = request.top_p < 1 ? request.top_p * mass : INFINITY;
  if (request.min_p > 0) {
    const uint64_t bound = min_p_bound(best, request.temperature, request.min_p);
    if (bound > weights.bound) {
      weights.bound = bound;
      mass = mass_of(weights, s);
    }
  }
  for (uint64_t random = request.random;; random = split_mix(random)) {
    const double uniform = static_cast<double>(random >> 11) * 0x1p-53;
    const int token = find(weights, uniform * mass, s);
    if (request.top_p == 1) return token;
    weights.bound = key_of(modified[token], token);
    mass = mass_of(weights, s);
    if (mass < enough) return token;
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
  double sum = 1.0;
  if (request.log_sum_exp) sum = mass_of({logits, task.vocabulary, largest, 1.0f, 0}, s);
  const int top_count = select(logits, task.vocabulary, request.top, answer.top, s);

  modify(task, request, logits, modified);
  float best = -INFINITY;
  for (int i = thread; i < task.vocabulary; i += kThreads) best = fmaxf(best, modified[i]);
  best = block_max(best, s);
  const int token = draw(request, modified, task.vocabulary, best, s);
  if (thread) return;
  answer.top_count = top_count;
  answer.log_sum_exp = largest + log(sum);
  answer.token = token;
  answer.logit = token < 0 ? 0.0f : logits[token];
}

}  // namespace

void sample(const SampleTask& task, int count, cudaStream_t stream) {
  launch(sample_kernel, dim3(static_cast<unsigned>(count)), dim3(kThreads), stream, task);
}

}  // namespace tramontane::cuda
