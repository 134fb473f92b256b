#include "backend/backend.h"
#include "device/gpu.h"
#include "kernels/attend.h"

namespace tramontane::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kDims = 8;  // Of a head that a lane holds.

__device__ __forceinline__ void load_dims(const uint16_t* from, float (&to)[kDims]) {
  const uint4 n = read(reinterpret_cast<const uint4*>(from));
  const uint32_t words[4] = {n.x, n.y, n.z, n.w};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    to[2 * k] = half_to_float(static_cast<uint16_t>(words[k] & 0xffff));
    to[2 * k + 1] = half_to_float(static_cast<uint16_t>(words[k] >> 16));
  }
}
__device__ __forceinline__ void load_dims(const float* from, float (&to)[kDims]) {
  const float4 a = read(reinterpret_cast<const float4*>(from));
  const float4 b = read(reinterpret_cast<const float4*>(from) + 1);
  to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
  to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

// A softmax in the making: the largest score, the sum of exp(score - largest), the values weighted.
struct Running {
  float largest, sum, values[kDims];
};

__device__ __forceinline__ float rescale(float from, float to) {
  return from == -INFINITY ? 0.0f : __expf(from - to);
}

template <int kHeads>
struct WarpResults {
  float values[kWarps][kHeads][kMaxHeadSize];
  float largest[kWarps][kHeads], sum[kWarps][kHeads];
};

// A block: some query heads of one KV head, one part of the keys of one row. kLanes lanes hold a
// key together, 8 dimensions each, so a warp takes 32 / kLanes keys at once.
template <class Kv, int kLanes, int kHeads>
__global__ void __launch_bounds__(kThreads)
    attend_rows_kernel(AttendTask task, const int* row_list, float* partial) {
  WarpResults<kHeads>& results = shared<WarpResults<kHeads>>();
  const int row = row_list[blockIdx.z];
  const StepRow at = task.step.rows[row];
  const int per_kv_head = task.heads / task.kv_heads;
  const int head_tiles = divide_up(per_kv_head, kHeads);
  const int kv_head = static_cast<int>(blockIdx.x) / head_tiles;
  const int first_head = static_cast<int>(blockIdx.x) % head_tiles * kHeads;
  const int heads = min(kHeads, per_kv_head - first_head);
  const int splits = static_cast<int>(gridDim.y);
  const int lowest = task.window ? max(0, at.position + 1 - task.window) : 0;
  const int keys = at.position + 1 - lowest, part = divide_up(keys, splits);
  const int first = lowest + static_cast<int>(blockIdx.y) * part;
  const int last = min(first + part, at.position + 1);

  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int sub = lane / kLanes, dim = lane % kLanes * kDims;
  const bool has_dims = dim < task.head_size;
  const float scale = rsqrtf(static_cast<float>(task.head_size));
  const auto* key_pages = static_cast<const Kv*>(task.pages.keys);
  const auto* value_pages = static_cast<const Kv*>(task.pages.values);

  float query[kHeads][kDims] = {};
  Running running[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    running[h] = {-INFINITY, 0.0f, {}};
    if (h < heads && has_dims) {
      const int head = kv_head * per_kv_head + first_head + h;
      load_dims(task.query + (static_cast<int64_t>(row) * task.heads + head) * task.head_size + dim,
                query[h]);
    }
  }
  constexpr int kKeys = 32 / kLanes;
  for (int start = first; start < last; start += kWarps * kKeys) {  // The same in all lanes.
    const int position = start + warp * kKeys + sub;
    const bool valid = position < last;
    float key[kDims] = {}, value[kDims] = {};
    if (valid && has_dims) {
      const int page = task.step.pages[at.first_page + position / kPageTokens % at.page_count];
      const int64_t place = ((static_cast<int64_t>(page) * task.kv_heads + kv_head) * kPageTokens +
                             position % kPageTokens) *
                                task.head_size +
                            dim;
      load_dims(key_pages + place, key);
      load_dims(value_pages + place, value);
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float score = 0.0f;
#pragma unroll
      for (int k = 0; k < kDims; ++k) score += query[h][k] * key[k];
#pragma unroll
      for (int other = kLanes / 2; other > 0; other >>= 1) {
        score += __shfl_xor_sync(kAllLanes, score, other);
      }
      score *= scale;
      if (!valid) continue;
      Running& r = running[h];
      const float largest = fmaxf(r.largest, score);
      const float keep = rescale(r.largest, largest), weight = __expf(score - largest);
      r.largest = largest;
      r.sum = r.sum * keep + weight;
#pragma unroll
      for (int k = 0; k < kDims; ++k) r.values[k] = r.values[k] * keep + weight * value[k];
    }
  }

  // The keys of a warp, then the warps of the block.
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    Running& r = running[h];
    float largest = r.largest;
#pragma unroll
    for (int other = kLanes; other < 32; other *= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, other));
    }
    const float keep = rescale(r.largest, largest);
    float sum = r.sum * keep;
#pragma unroll
    for (int k = 0; k < kDims; ++k) r.values[k] *= keep;
#pragma unroll
    for (int other = kLanes; other < 32; other *= 2) {
      sum += __shfl_xor_sync(kAllLanes, sum, other);
#pragma unroll
      for (int k = 0; k < kDims; ++k) {
        r.values[k] += __shfl_xor_sync(kAllLanes, r.values[k], other);
      }
    }
    if (sub == 0 && has_dims) {
#pragma unroll
      for (int k = 0; k < kDims; ++k) results.values[warp][h][dim + k] = r.values[k];
    }
    if (lane == 0) {
      results.largest[warp][h] = largest;
      results.sum[warp][h] = sum;
    }
  }
  __syncthreads();
  for (int h = 0; h < heads; ++h) {
    float largest = -INFINITY, sum = 0.0f;
    for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, results.largest[w][h]);
    float keep[kWarps];
    for (int w = 0; w < kWarps; ++w) {
      keep[w] = rescale(results.largest[w][h], largest);
      sum += results.sum[w][h] * keep[w];
    }
    const int head = kv_head * per_kv_head + first_head + h;
    float* out = partial + ((static_cast<int64_t>(blockIdx.z) * task.heads + head) * splits +
                            static_cast<int>(blockIdx.y)) *
                               (task.head_size + 2);
    for (int d = static_cast<int>(threadIdx.x); d < task.head_size; d += kThreads) {
      float value = 0.0f;
      for (int w = 0; w < kWarps; ++w) value += results.values[w][h][d] * keep[w];
      out[d] = value;
    }
    if (threadIdx.x == 0) {
      out[task.head_size] = largest;
      out[task.head_size + 1] = sum;
    }
  }
}

// A block: one head of one row.
__global__ void __launch_bounds__(kThreads)
    combine_kernel(AttendTask task, const int* row_list, int splits, const float* partial) {
  const int row = row_list[blockIdx.y], head = static_cast<int>(blockIdx.x);
  const int stride = task.head_size + 2;
  const float* parts =
      partial + (static_cast<int64_t>(blockIdx.y) * task.heads + head) * splits * stride;
  float* out = task.out + (static_cast<int64_t>(row) * task.heads + head) * task.head_size;
  const bool nobodys = task.step.rows[row].position < 0;
  float largest = -INFINITY, sum = 0.0f;
  for (int s = 0; s < splits && !nobodys; ++s) {
    largest = fmaxf(largest, fetch(parts + s * stride + task.head_size));
  }
  for (int s = 0; s < splits && !nobodys; ++s) {
    sum += fetch(parts + s * stride + task.head_size + 1) *
           rescale(fetch(parts + s * stride + task.head_size), largest);
  }
  for (int d = static_cast<int>(threadIdx.x); d < task.head_size; d += kThreads) {
    float value = 0.0f;
    for (int s = 0; s < splits && !nobodys; ++s) {
      value += fetch(parts + s * stride + d) *
               rescale(fetch(parts + s * stride + task.head_size), largest);
    }
    out[d] = nobodys ? 0.0f : value / sum;
  }
}

template <class Kv, int kHeads>
auto choose_lanes(int head_size) {
  auto kernel = attend_rows_kernel<Kv, 4, kHeads>;
  if (head_size > 4 * kDims) kernel = attend_rows_kernel<Kv, 8, kHeads>;
  if (head_size > 8 * kDims) kernel = attend_rows_kernel<Kv, 16, kHeads>;
  if (head_size > 16 * kDims) kernel = attend_rows_kernel<Kv, 32, kHeads>;
  return kernel;
}

}  // namespace

void attend_rows(const AttendTask& task, const int* row_list, int count, int splits, float* partial,
                 cudaStream_t stream) {
  const bool many = task.heads / task.kv_heads > 1;
  const int head_tiles = divide_up(task.heads / task.kv_heads, many ? 4 : 1);
  const dim3 grid(static_cast<unsigned>(task.kv_heads * head_tiles), static_cast<unsigned>(splits),
                  static_cast<unsigned>(count));
  auto kernel = task.half_pages ? choose_lanes<uint16_t, 4>(task.head_size)
                                : choose_lanes<float, 4>(task.head_size);
  if (!many) {
    kernel = task.half_pages ? choose_lanes<uint16_t, 1>(task.head_size)
                             : choose_lanes<float, 1>(task.head_size);
  }
  launch(kernel, grid, dim3(kThreads), stream, task, row_list, partial);
  launch(combine_kernel, dim3(static_cast<unsigned>(task.heads), static_cast<unsigned>(count)),
         dim3(kThreads), stream, task, row_list, splits, static_cast<const float*>(partial));
}

}  // namespace tramontane::cuda
