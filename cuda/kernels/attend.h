// Attention over the pages: a query at position p sees the keys in (p - window, p].
#pragma once

#include "kernels/rows.h"

namespace tramontane::cuda {

struct AttendTask {
  const float* query;  // [rows][heads * head_size], rotated
  float* out;          // [rows][heads * head_size]
  LayerPages pages;
  int heads, kv_heads, head_size;
  int window;  // 0: none
  bool half_pages;
  StepState step;
};

constexpr int kMaxHeadSize = 256;
inline int partial_floats(int head_size) { return head_size + 2; }

// One query at a time: row_list [count] are rows of the step. Keys are read once for up to four
// query heads of a group, split in `splits` parts along the sequence, which are then combined.
// partial: [count][heads][splits][partial_floats].
void attend_rows(const AttendTask& task, const int* row_list, int count, int splits, float* partial,
                 cudaStream_t stream);

// Neighbouring queries of one sequence, computed together.
struct QueryTile {
  int first_row, rows;
};

// Whether attend_tiles can run: f16 pages and a head size it is made for.
bool tiles_attention(int heads, int kv_heads, int head_size, bool half_pages);
// Most rows of a tile.
int tile_rows(int heads, int kv_heads);
void attend_tiles(const AttendTask& task, const QueryTile* tiles, int count, cudaStream_t stream);

}  // namespace tramontane::cuda
