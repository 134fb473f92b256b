// Low-rank adapters (Hu et al., arXiv:2106.09685): what pairs of small matrices add to the outputs
// of linear layers, and the lengths that DoRA (Liu et al., arXiv:2402.09353) brings them to. Which
// rows have which adapter is in device memory, so that a graph can be launched again.
#pragma once

#include "backend/backend.h"
#include "device/gpu.h"
#include "quant/format.h"

namespace tramontane::cuda {

constexpr int kAdapterRows = 8;   // Rows that read a pair together.
constexpr int kAdapterRanks = 8;  // Ranks are padded with zeros to a multiple of this.

// With weight row w and row u of up * down: w + s u has the squared length
// weight + 2 s mixed + s^2 pair.
struct RowSquares {
  double weight, mixed, pair;
};

// A pair on the device, aligned to 16 bytes. A weight without one: all zeros.
struct DevicePair {
  const uint8_t* down;        // [rank][inputs] of down_format
  const uint8_t* up;          // [outputs][rank] of up_format
  const float* magnitude;     // [outputs]; null: none
  const RowSquares* squares;  // [outputs] where there are magnitudes
  Format down_format, up_format;
  int rank;  // Padded.
  int outputs;
  float scale;
};

// Rows of a step with the same adapter.
struct AdapterRows {
  const DevicePair* pairs;  // [layer][role]
  int count;                // 0: the group fills up a bucket.
  int rows[kAdapterRows];
  float scales[kAdapterRows];
};

struct AdapterTask {
  const AdapterRows* groups;
  int group_count;
  int ranks;                     // No pair of the groups has a larger padded rank.
  int pairs[kMaxProjections];    // Of each layer that shares `in`: its place in AdapterRows::pairs,
  float* outs[kMaxProjections];  // [rows][width],
  int widths[kMaxProjections];   // the outputs of its weight.
  int count;
  int rows;         // That the buffers have room for.
  const float* in;  // [rows][columns]
  int columns;
  float* reduced;  // [count][rows][ranks], scratch
  float* aside;    // [rows][width] of set_aside(); null: nothing is
};

// Before a linear layer adds to the only output: moves what is there to `aside`, and leaves zeros,
// in rows whose output is scaled as a whole.
void set_aside(const AdapterTask& task, cudaStream_t stream);

// After the linear layer: out = (out + s * in * down^T * up^T) * factor + aside. The bits of a row
// do not depend on the rows beside it.
void apply_adapters(const AdapterTask& task, cudaStream_t stream);

// squares[first..] of `rows` decoded rows of the weight, [rows][columns], in whose rows input
// order[k] is at place k (null: as they are).
void measure(const DevicePair& pair, const float* weight, const int* order, int first, int rows,
             int columns, RowSquares* squares, cudaStream_t stream);

}  // namespace tramontane::cuda
