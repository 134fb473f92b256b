// Work on rows of activations: embedding, norms, quantization, SwiGLU, RoPE. What changes from
// step to step is in device memory, so that a graph can be launched again.
#pragma once

#include "device/weights.h"

namespace tramontane::cuda {

// One row of the step.
struct StepRow {
  int token;
  int position;    // -1: the row fills up a bucket and is nobody's.
  int first_page;  // Of the sequence's ring in StepState::pages,
  int page_count;  // and its length.
};

// Device memory.
struct StepState {
  const StepRow* rows;
  const int* pages;  // Rings of all sequences, one after another.
  const int* output_rows;
};

// out [rows][columns] = the tokens' rows of `weight`, of any format.
void embed(Format format, int gptq_bits, const Weight& weight, const StepRow* rows, int count,
           float* out, cudaStream_t stream);

// Where a row operation leaves its result; each may be null.
struct RowOutput {
  float* values;            // [rows][columns]
  QuantizedRows quantized;  // q null: none
};

// RMS norm of `rows` rows of in [..][columns]; row i of the result is of row order[i] (null: i).
void rms_norm(const float* in, const int* order, const float* weight, float epsilon, int rows,
              int columns, const RowOutput& out, cudaStream_t stream);

// Quantizes rows; input order[k] comes at place k (null: as they are).
void quantize(const float* in, const int* order, int rows, int columns, const QuantizedRows& out,
              cudaStream_t stream);

// silu(gate) * up.
void swiglu(const float* gate, const float* up, int rows, int columns, const RowOutput& out,
            cudaStream_t stream);

// The KV pages of one layer: [page][kv_heads][kPageTokens][head_size] of f16 or f32.
struct LayerPages {
  void* keys;
  void* values;
};

struct RopeTask {
  float* query;  // [rows][heads * head_size], rotated in place
  const float* key;
  const float* value;
  LayerPages pages;
  const double* frequencies;  // [head_size / 2] radians a position
  int rows, heads, kv_heads, head_size;
  bool neighbours;  // Pairs (2i, 2i+1); else (i, i + head_size / 2).
  bool half_pages;  // f16
};
void rope_and_store(const RopeTask& task, const StepState& step, cudaStream_t stream);

}  // namespace tramontane::cuda
