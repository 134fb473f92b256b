// The seam between the model and what computes it (CPU, CUDA). Coarse operations on named buffers;
// no graph. A backend owns the weights as it stores them, the storage of the KV pages and its
// scratch; page ids, page tables and sequences belong to the model.
//
// No standard-library type, allocation or exception crosses the seam, so that a backend can be a
// shared library built by another compiler. Pointers passed in are read during the call only,
// except weight data, which stays mapped for the backend's life.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/weight.h"

namespace tramontane {

constexpr int kPageTokens = 32;

enum class Status : int32_t {
  kOk,
  kInvalid,      // The caller broke a rule written here.
  kUnsupported,  // A shape or format this backend cannot run.
  kOutOfMemory,
  kDeviceFailed,
};

enum class Compute : int32_t {
  kInt8,  // Quantized weights meet activations quantized to int8 in blocks of 32.
  kF32,   // Weights are decoded to f32 and meet f32 activations: slow, exact.
};
enum class KvType : int32_t { kF16, kF32 };
enum class RopePairing : int32_t { kNeighbours /* (2i, 2i+1) */, kHalves /* (i, i + d/2) */ };

struct ModelShape {
  int32_t layers, hidden, ffn, heads, kv_heads, head_size, vocabulary;
  float rms_epsilon, rope_base;
  RopePairing rope_pairing;
};

struct BackendOptions {
  uint64_t seam_hash;  // kSeamHash of abi.h: a backend of another seam refuses.
  ModelShape shape;
  int32_t window;       // Keys a query sees, its own included; 0: all before it.
  int32_t pages;        // Pages of kPageTokens tokens in the pool.
  int32_t max_rows;     // Most rows one step may hold.
  int32_t max_outputs;  // Most rows one step may ask logits of.
  int32_t threads;      // CPU: threads that compute, the caller's included.
  KvType kv_type;
  Compute compute;
  int32_t device;  // CUDA: which device, counted as CUDA_VISIBLE_DEVICES leaves them.
};

// The weights of the model, by what they do. The ones of a layer exist once a layer.
enum class Role : int32_t {
  kTokenEmbedding,
  kOutputNorm,
  kOutput,
  kAttentionNorm,
  kQuery,
  kKey,
  kValue,
  kAttentionOutput,
  kFfnNorm,
  kFfnGate,
  kFfnUp,
  kFfnDown,
};

// Activations, one row a token of the step unless said otherwise.
enum class Buffer : int32_t {
  kResidual,  // [rows][hidden] the residual stream
  kNormed,    // [rows][hidden]
  kQuery,     // [rows][heads * head_size]
  kKey,       // [rows][kv_heads * head_size]
  kValue,     // [rows][kv_heads * head_size]
  kAttended,  // [rows][heads * head_size]
  kGate,      // [rows][ffn]
  kUp,        // [rows][ffn]
  kLogits,    // [outputs][vocabulary]
};

// The rows of a step that belong to one sequence: consecutive tokens at consecutive positions.
struct SequenceSlice {
  int32_t first_row, rows;
  int32_t position;         // Of the first row. Keys before it are in the pages already.
  const int32_t* pages;     // Page that holds position p: pages[(p / kPageTokens) % page_count].
  int32_t page_count;       // Entries of the ring.
  int32_t adapter = 0;      // Of load_adapter(); 0: none.
  float adapter_scale = 1;  // Finite. Not used without an adapter.
};

// What an adapter adds to one weight (Hu et al., arXiv:2106.09685). Its rows meet
//   weight + s * up * down,  s = SequenceSlice::adapter_scale * scale
// and with magnitudes (Liu et al., arXiv:2402.09353) each output of that, whose row of weights is
// then as long as its magnitude says.
struct AdapterPair {
  Role role;  // Of a linear layer.
  int32_t layer;
  WeightData down;         // [rank][columns of the weight] in floats
  WeightData up;           // [rows of the weight][rank] in floats
  float scale;             // Finite.
  const float* magnitude;  // [rows of the weight]; null: none
};

struct Step {
  const int32_t* tokens;  // [rows], each in [0, vocabulary)
  int32_t rows;
  const SequenceSlice* sequences;  // In the order of their rows, covering all of them.
  int32_t sequence_count;
  const int32_t* output_rows;  // [outputs] ascending rows whose logits are wanted.
  int32_t outputs;
};

constexpr int32_t kMaxProjections = 3;  // Of one linear().

// One output of linear(): out = in * weight^T.
struct Projection {
  Role role;
  Buffer out;
};

// How a token is drawn from one row of logits. Applied in this order: bias, repetition penalty (a
// positive logit is divided by it, a negative one multiplied), presence and frequency penalties,
// mask, temperature, top-k, top-p over what top-k left, min-p. Tokens are in the order of their
// modified logits, equal ones in that of their numbers.
struct SampleRow {
  int32_t output;     // Index into Step::output_rows.
  float temperature;  // 0: the first token is taken, whatever the next four say.
  int32_t top_k;      // The first k tokens stay. 0: all
  float top_p;        // In (0, 1]: the fewest first tokens stay that have this share. 1: all
  float min_p;        // In [0, 1]: tokens at least so probable, relative to the first. 0: all
  uint64_t random;    // What the draw depends on beside the logits: all bits are random.
  const int32_t* bias_tokens;  // [bias_count]
  const float* bias_values;
  int32_t bias_count;
  const int32_t* seen_tokens;  // [seen_count] distinct tokens of prompt and output, and
  const int32_t* seen_counts;  // how often each is in the output. 0: in the prompt only, where
                               // only the repetition penalty applies.
  int32_t seen_count;
  float repetition_penalty;  // 1: none
  float presence_penalty;    // 0: none
  float frequency_penalty;   // 0: none
  const uint32_t* mask;      // [ceil(vocabulary / 32)] a set bit allows the token. Null: all.
  int32_t top;               // How many of the best unmodified logits are wanted; -1: not even
                             // log_sum_exp.
};

struct TokenLogit {
  int32_t token;
  float logit;
};

struct SampleResult {
  int32_t finite;      // 0: a logit is NaN or infinite; nothing else is set.
  int32_t token = -1;  // What was drawn; -1: no token is allowed.
  float logit;         // Its unmodified logit.
  double log_sum_exp;  // Of the unmodified logits.
  TokenLogit* top;     // [SampleRow::top], the caller's: unmodified logits, best first; equal ones:
                       // the smaller token first.
  int32_t top_count;
};

class Backend {
 public:
  // Frees everything, and the backend itself.
  virtual void destroy() = 0;

  virtual const char* implementation() const = 0;  // 'avx2', ...

  // What the last call that did not return kOk has to say. Valid until the next call.
  virtual const char* last_error() const = 0;

  // Before the first step, once for each weight. `layer` is 0 for weights that exist once.
  // The output may be the same data as the embedding.
  virtual Status set_weight(Role role, int32_t layer, const WeightData& weight) = 0;
  // After the last set_weight: everything that is computed once.
  virtual Status finish_loading() = 0;

  // Between steps: what these pages of the KV cache hold is not needed any more, and their memory
  // may go back to the system until they are used again.
  virtual Status discard_pages(const int32_t* pages, int32_t count) = 0;

  // Makes an adapter of these pairs, at most one a weight. `adapter` is above 0 and not loaded;
  // `pairs` and what they point to stay until unload_adapter(). At any time after finish_loading(),
  // on any thread, beside steps as well. On failure `error` (at most `error_size` bytes, with its
  // zero) says why.
  virtual Status load_adapter(int32_t adapter, const AdapterPair* pairs, int32_t count, char* error,
                              size_t error_size) = 0;
  // As well. No step that is open or comes later has it.
  virtual void unload_adapter(int32_t adapter) = 0;

  // A step: begin_step, the operations in the order forward() has them, end_step. Where begin_step
  // fails there is no step.
  virtual Status begin_step(const Step& step) = 0;
  virtual Status embed() = 0;                             // kResidual
  virtual Status rms_norm(Role norm, int32_t layer) = 0;  // kNormed of kResidual
  virtual Status linear(const Projection* projections,
                        int32_t count,  // outputs that share an input
                        int32_t layer, Buffer in) = 0;
  virtual Status linear_add(Role role, int32_t layer, Buffer in) = 0;  // kResidual += in * weight^T
  virtual Status rope_and_store(
      int32_t layer) = 0;                    // rotates kQuery, kKey; kKey, kValue into pages
  virtual Status attend(int32_t layer) = 0;  // kAttended from kQuery and the pages
  virtual Status swiglu() = 0;               // kGate = silu(kGate) * kUp
  virtual Status output_logits() = 0;  // rms_norm of the asked rows of kResidual, then kLogits
  virtual Status sample(const SampleRow* rows, int32_t count, SampleResult* results) = 0;
  virtual Status read_logits(int32_t output, float* out) = 0;  // out [vocabulary]
  // Gives the step up: what has not run yet does not run any more, and end_step() is all that may
  // follow. The pages of its rows hold anything.
  virtual Status cancel_step() = 0;
  virtual Status end_step() = 0;

 protected:
  ~Backend() = default;
};

// The factory every backend exports. On failure *backend is null and `error` (at most
// `error_size` bytes, with its zero) says why.
using CreateBackend = Status(const BackendOptions* options, Backend** backend, char* error,
                             size_t error_size);

}  // namespace tramontane

extern "C" tramontane::Status tramontane_create_cpu_backend(
    const tramontane::BackendOptions* options, tramontane::Backend** backend, char* error,
    size_t error_size);

// Brings a GPTQ weight into the order in which the CPU reads it, for a file to keep: see
// cpu/gptq/gptq.h. kInvalid: `bytes` is not the length of the result, kUnsupported: it has none.
extern "C" tramontane::Status tramontane_cpu_order_gptq(const tramontane::WeightData* weight,
                                                        int32_t threads, uint8_t* ordered,
                                                        uint64_t bytes);
