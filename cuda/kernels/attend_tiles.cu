// Attention of neighbouring queries with f16 tensor cores, one page of keys at a time, in the way
// of FlashAttention-2 (Dao 2023): scores never leave the registers.
#include "backend/backend.h"
#include "device/gpu.h"
#include "kernels/attend.h"

namespace tramontane::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kTileRows = kWarps * 16;  // Query heads of neighbouring tokens: token, then head.
constexpr int kKeyTiles = kPageTokens / 8;

template <int kHead>
struct PageShared {
  static constexpr int kPitch = kHead + 8;  // Rows of a fragment fall into different banks.
  alignas(16) uint16_t keys[2][kPageTokens][kPitch];
  alignas(16) uint16_t values[2][kPageTokens][kPitch];
};

// Starts the copies of a page; keys outside [lowest, last] become zeros: they may never have been
// written.
template <int kHead>
__device__ __forceinline__ void copy_page(const AttendTask& task, const StepRow& row, int kv_head,
                                          int block, int lowest, int last, PageShared<kHead>& s) {
  constexpr int kPieces = kHead / 8;
  const int page = task.step.pages[row.first_page + block % row.page_count];
  const int64_t first =
      (static_cast<int64_t>(page) * task.kv_heads + kv_head) * kPageTokens * kHead;
  const auto* keys = static_cast<const uint16_t*>(task.pages.keys) + first;
  const auto* values = static_cast<const uint16_t*>(task.pages.values) + first;
  for (int i = static_cast<int>(threadIdx.x); i < kPageTokens * kPieces; i += kThreads) {
    const int slot = i / kPieces, piece = i % kPieces * 8;
    const int position = block * kPageTokens + slot;
    const bool valid = position >= lowest && position <= last;
    copy_async16(&s.keys[block % 2][slot][piece], keys + i * 8, valid);
    copy_async16(&s.values[block % 2][slot][piece], values + i * 8, valid);
  }
  commit_copies();
}

// A block: a tile of queries and one KV head. Each warp has 16 rows; in a lane, values 0 and 1 of a
// fragment belong to row lane / 4, values 2 and 3 to the row 8 below.
template <int kHead>
__global__ void __launch_bounds__(kThreads)
    attend_tiles_kernel(AttendTask task, const QueryTile* tiles) {
  constexpr int kSteps = kHead / 16;
  PageShared<kHead>& s = shared<PageShared<kHead>>();
  const QueryTile tile = tiles[blockIdx.y];
  const StepRow first_row = task.step.rows[tile.first_row];
  const int kv_head = static_cast<int>(blockIdx.x), heads = task.heads / task.kv_heads;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp_row = static_cast<int>(threadIdx.x / 32) * 16;
  const int last = first_row.position + tile.rows - 1;
  const int lowest = task.window ? max(0, first_row.position + 1 - task.window) : 0;
  const float scale = rsqrtf(static_cast<float>(kHead));

  int64_t places[2];  // Of the lane's two rows in query and out,
  int positions[2];   // and where they are in the sequence; -1: behind the tile's end.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = warp_row + (lane >> 2) + 8 * half, token = r / heads;
    const bool valid = token < tile.rows;
    positions[half] = valid ? first_row.position + token : -1;
    places[half] = (static_cast<int64_t>(tile.first_row + (valid ? token : 0)) * task.heads +
                    kv_head * heads + r % heads) *
                   kHead;
  }
  uint32_t query[kSteps][4];
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int dim = k * 16 + (i >> 1) * 8 + (lane & 3) * 2;
      const float2 q = read(reinterpret_cast<const float2*>(task.query + places[i & 1] + dim));
      query[k][i] = pack_halves(q.x * scale, q.y * scale);
    }
  }

  float out[kHead / 8][4] = {};
  float largest[2] = {-INFINITY, -INFINITY}, sums[2] = {};
  int block = lowest / kPageTokens;
  copy_page(task, first_row, kv_head, block, lowest, last, s);
  for (; block <= last / kPageTokens; ++block) {
    wait_copies<0>();
    __syncthreads();  // The page is there for all, and nobody reads the one before.
    if (block < last / kPageTokens) {
      copy_page(task, first_row, kv_head, block + 1, lowest, last, s);
    }
    const auto& keys = s.keys[block % 2];
    const auto& values = s.values[block % 2];

    float scores[kKeyTiles][4] = {};
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
#pragma unroll
      for (int n = 0; n < kKeyTiles / 2; ++n) {
        uint32_t b[4];
        ldmatrix_x4(b, &keys[n * 16 + (lane >> 4) * 8 + (lane & 7)][k * 16 + (lane >> 3 & 1) * 8]);
        const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
        mma_f16_k16(scores[2 * n], query[k], left);
        mma_f16_k16(scores[2 * n + 1], query[k], right);
      }
    }
    float top[2] = {largest[0], largest[1]};
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = block * kPageTokens + n * 8 + (lane & 3) * 2 + (i & 1);
        const int position = positions[i >> 1];
        const bool seen = key <= position && (!task.window || key > position - task.window);
        if (!seen) scores[n][i] = -INFINITY;
        top[i >> 1] = fmaxf(top[i >> 1], scores[n][i]);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      top[half] = fmaxf(top[half], __shfl_xor_sync(kAllLanes, top[half], 1));
      top[half] = fmaxf(top[half], __shfl_xor_sync(kAllLanes, top[half], 2));
      const float keep = largest[half] == -INFINITY ? 0.0f : __expf(largest[half] - top[half]);
      largest[half] = top[half];
      sums[half] *= keep;
#pragma unroll
      for (int n = 0; n < kHead / 8; ++n) {
        out[n][2 * half] *= keep;
        out[n][2 * half + 1] *= keep;
      }
    }
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float score = scores[n][i];
        scores[n][i] = score == -INFINITY ? 0.0f : __expf(score - largest[i >> 1]);
        sums[i >> 1] += scores[n][i];
      }
    }
#pragma unroll
    for (int k = 0; k < kPageTokens / 16; ++k) {
      const uint32_t weights[4] = {pack_halves(scores[2 * k][0], scores[2 * k][1]),
                                   pack_halves(scores[2 * k][2], scores[2 * k][3]),
                                   pack_halves(scores[2 * k + 1][0], scores[2 * k + 1][1]),
                                   pack_halves(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
      for (int n = 0; n < kHead / 16; ++n) {
        uint32_t b[4];
        ldmatrix_x4_transposed(b, &values[k * 16 + (lane & 15)][n * 16 + (lane >> 4) * 8]);
        const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
        mma_f16_k16(out[2 * n], weights, left);
        mma_f16_k16(out[2 * n + 1], weights, right);
      }
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sums[half] += __shfl_xor_sync(kAllLanes, sums[half], 1);
    sums[half] += __shfl_xor_sync(kAllLanes, sums[half], 2);
    if (positions[half] < 0) continue;
    const float inverse = 1.0f / sums[half];
#pragma unroll
    for (int n = 0; n < kHead / 8; ++n) {
      float* to = task.out + places[half] + n * 8 + (lane & 3) * 2;
      *reinterpret_cast<float2*>(to) =
          make_float2(out[n][2 * half] * inverse, out[n][2 * half + 1] * inverse);
    }
  }
}

}  // namespace

bool tiles_attention(int heads, int kv_heads, int head_size, bool half_pages) {
  const bool made = head_size == 32 || head_size == 64 || head_size == 128;
  return half_pages && made && heads / kv_heads <= kTileRows;
}

int tile_rows(int heads, int kv_heads) { return kTileRows / (heads / kv_heads); }

void attend_tiles(const AttendTask& task, const QueryTile* tiles, int count, cudaStream_t stream) {
  auto kernel = attend_tiles_kernel<32>;
  if (task.head_size == 64) kernel = attend_tiles_kernel<64>;
  if (task.head_size == 128) kernel = attend_tiles_kernel<128>;
  launch(kernel, dim3(static_cast<unsigned>(task.kv_heads), static_cast<unsigned>(count)),
         dim3(kThreads), stream, task, tiles);
}

}  // namespace tramontane::cuda
