#include "kernels/rows.h"

#include "backend/backend.h"
#include "device/floats.h"
#include "device/load.h"
#include "kernels/formats.h"

namespace tramontane::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;

// Quantizes a group, one value a lane. A group with a value that is not finite gets a scale that is
// not a number, so that it shows in the logits.
__device__ __forceinline__ void quantize_group(float value, int64_t i, const QuantizedRows& out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const float largest = warp_max(fabsf(value));
  const bool finite =
      __ballot_sync(kAllLanes, (__float_as_uint(value) & 0x7f800000u) == 0x7f800000u) == 0;
  const float inverse = finite && largest > 0.0f ? 127.0f / largest : 0.0f;
  const int q = finite ? __float2int_rn(value * inverse) : 0;
  int sum = q;
#pragma unroll
  for (int other = 8; other > 0; other >>= 1) sum += __shfl_xor_sync(kAllLanes, sum, other);
  const int second = __shfl_sync(kAllLanes, sum, 16);
  out.q[i * kGroup + lane] = static_cast<int8_t>(q);
  if (lane == 0) {
    const float scale = finite ? largest / 127.0f : __uint_as_float(0x7fc00000u);
    out.scales[i] = {scale, {static_cast<int16_t>(sum), static_cast<int16_t>(second)}};
  }
}

template <class F>
__global__ void __launch_bounds__(kThreads)
    embed_kernel(Weight weight, const StepRow* rows, float* out) {
  const int token = rows[blockIdx.x].token;
  const int groups = weight.columns / kGroup;
  for (int b = static_cast<int>(threadIdx.x); b < groups; b += kThreads) {
    const Group group = load<F>(weight, token, b);
    float* to = out + static_cast<int64_t>(blockIdx.x) * weight.columns + b * kGroup;
    for (int k = 0; k < kGroup; ++k) {
      const int q = static_cast<int8_t>(group.q[k / 4] >> (8 * (k % 4))) - F::kBias;
      to[k] = group.scale[k / 16] * static_cast<float>(q) + group.offset[k / 16];
    }
  }
}

template <class F>
__global__ void __launch_bounds__(kThreads)
    embed_float_kernel(Weight weight, const StepRow* rows, float* out) {
  const int64_t from = static_cast<int64_t>(rows[blockIdx.x].token) * weight.columns;
  const int64_t to = static_cast<int64_t>(blockIdx.x) * weight.columns;
  for (int k = static_cast<int>(threadIdx.x); k < weight.columns; k += kThreads) {
    out[to + k] = load_value(F{}, weight.codes, from + k);
  }
}

struct WarpSums {
  float values[kWarps];
};

__global__ void __launch_bounds__(kThreads)
    rms_norm_kernel(const float* in, const int* order, const float* weight, float epsilon,
                    int columns, RowOutput out) {
  WarpSums& partial = shared<WarpSums>();
  const int row = order ? order[blockIdx.x] : static_cast<int>(blockIdx.x);
  const float* x = in + static_cast<int64_t>(row) * columns;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  float sum = 0.0f;
  for (int k = static_cast<int>(threadIdx.x); k < columns; k += kThreads) {
    const float value = fetch(x + k);
    sum += value * value;
  }
  sum = warp_sum(sum);
  if (lane == 0) partial.values[warp] = sum;
  __syncthreads();
  sum = 0.0f;
  for (int i = 0; i < kWarps; ++i) sum += partial.values[i];
  const float inverse = 1.0f / sqrtf(sum / static_cast<float>(columns) + epsilon);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * columns;
  for (int b = warp; b < columns / kGroup; b += kWarps) {
    const int k = b * kGroup + lane;
    const float value = fetch(x + k) * inverse * read(weight + k);
    if (out.values) out.values[first + k] = value;
    if (out.quantized.q) quantize_group(value, first / kGroup + b, out.quantized);
  }
}

// One warp a group.
__global__ void __launch_bounds__(kThreads)
    quantize_kernel(const float* in, const int* order, int columns, QuantizedRows out) {
  const int groups = columns / kGroup;
  const int b = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / 32);
  if (b >= groups) return;
  const int k = b * kGroup + static_cast<int>(threadIdx.x % 32);
  const int64_t row = blockIdx.y;
  quantize_group(fetch(in + row * columns + (order ? read(order + k) : k)), row * groups + b, out);
}

__global__ void __launch_bounds__(kThreads)
    swiglu_kernel(const float* gate, const float* up, int columns, RowOutput out) {
  const int groups = columns / kGroup;
  const int b = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / 32);
  if (b >= groups) return;
  const int64_t i = static_cast<int64_t>(blockIdx.y) * groups + b;
  const int64_t k = i * kGroup + threadIdx.x % 32;
  const float value = swiglu(fetch(gate + k), fetch(up + k));
  if (out.values) out.values[k] = value;
  if (out.quantized.q) quantize_group(value, i, out.quantized);
}

constexpr int kMaxPairs = 128;
struct Rotations {
  float cosines[kMaxPairs], sines[kMaxPairs];
};

__device__ __forceinline__ void store(float* pages, int64_t i, float value) { pages[i] = value; }
__device__ __forceinline__ void store(uint16_t* pages, int64_t i, float value) {
  pages[i] = float_to_half(value);
}

// One block a row. The angle is exact in double up to long contexts; a float loses 1e-3 at 32k.
template <class Kv>
__global__ void __launch_bounds__(kThreads) rope_kernel(RopeTask task, StepState step) {
  Rotations& rotations = shared<Rotations>();
  const StepRow row = step.rows[blockIdx.x];
  if (row.position < 0) return;
  const int pairs = task.head_size / 2, thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < pairs; i += kThreads) {
    constexpr double kTurn = 6.283185307179586;
    const double turns = row.position * read(task.frequencies + i) / kTurn;
    const auto angle = static_cast<float>((turns - floor(turns)) * kTurn);
    rotations.cosines[i] = cosf(angle);
    rotations.sines[i] = sinf(angle);
  }
  __syncthreads();
  const int page = step.pages[row.first_page + row.position / kPageTokens % row.page_count];
  const int slot = row.position % kPageTokens;
  auto* keys = static_cast<Kv*>(task.pages.keys);
  auto* values = static_cast<Kv*>(task.pages.values);
  const int64_t queries = static_cast<int64_t>(blockIdx.x) * task.heads * task.head_size;
  const int64_t inputs = static_cast<int64_t>(blockIdx.x) * task.kv_heads * task.head_size;
  for (int n = thread; n < (task.heads + task.kv_heads) * pairs; n += kThreads) {
    const int head = n / pairs, i = n % pairs;
    const int first = task.neighbours ? 2 * i : i, second = task.neighbours ? 2 * i + 1 : i + pairs;
    const bool is_query = head < task.heads;
    const int kv_head = head - task.heads;
    const float* from = is_query ? task.query + queries + head * task.head_size
                                 : task.key + inputs + kv_head * task.head_size;
    const float a = fetch(from + first), b = fetch(from + second);
    const float x = a * rotations.cosines[i] - b * rotations.sines[i];
    const float y = a * rotations.sines[i] + b * rotations.cosines[i];
    if (is_query) {
      task.query[queries + head * task.head_size + first] = x;
      task.query[queries + head * task.head_size + second] = y;
    } else {
      const int64_t at =
          ((static_cast<int64_t>(page) * task.kv_heads + kv_head) * kPageTokens + slot) *
          task.head_size;
      store(keys, at + first, x);
      store(keys, at + second, y);
    }
  }
  for (int n = thread; n < task.kv_heads * task.head_size; n += kThreads) {
    const int head = n / task.head_size, i = n % task.head_size;
    const int64_t at =
        ((static_cast<int64_t>(page) * task.kv_heads + head) * kPageTokens + slot) * task.head_size;
    store(values, at + i, fetch(task.value + inputs + n));
  }
}

dim3 group_grid(int rows, int columns) {
  return dim3(static_cast<unsigned>(divide_up(columns / kGroup, kWarps)),
              static_cast<unsigned>(rows));
}

}  // namespace

void embed(Format format, int gptq_bits, const Weight& weight, const StepRow* rows, int count,
           float* out, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(count));
  if (is_float(format)) {
    return with_float(format, [&](auto f) {
      launch(embed_float_kernel<decltype(f)>, grid, dim3(kThreads), stream, weight, rows, out);
    });
  }
  with_format(format, gptq_bits, [&](auto f) {
    launch(embed_kernel<decltype(f)>, grid, dim3(kThreads), stream, weight, rows, out);
  });
}

void rms_norm(const float* in, const int* order, const float* weight, float epsilon, int rows,
              int columns, const RowOutput& out, cudaStream_t stream) {
  launch(rms_norm_kernel, dim3(static_cast<unsigned>(rows)), dim3(kThreads), stream, in, order,
         weight, epsilon, columns, out);
}

void quantize(const float* in, const int* order, int rows, int columns, const QuantizedRows& out,
              cudaStream_t stream) {
  launch(quantize_kernel, group_grid(rows, columns), dim3(kThreads), stream, in, order, columns,
         out);
}

void swiglu(const float* gate, const float* up, int rows, int columns, const RowOutput& out,
            cudaStream_t stream) {
  launch(swiglu_kernel, group_grid(rows, columns), dim3(kThreads), stream, gate, up, columns, out);
}

void rope_and_store(const RopeTask& task, const StepState& step, cudaStream_t stream) {
  launch(task.half_pages ? rope_kernel<uint16_t> : rope_kernel<float>,
         dim3(static_cast<unsigned>(task.rows)), dim3(kThreads), stream, task, step);
}

}  // namespace tramontane::cuda
