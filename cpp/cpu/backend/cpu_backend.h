// The CPU backend: checks calls, keeps buffers, splits the work of an operation among threads, and
// leaves arithmetic to the kernels of an implementation.
//
// Parallel regions of a layer where one row of a 7B model is decoded: query, key and value;
// attention (from 25 tokens on; a second one merges where a long context is divided among more than
// four threads); attention's output; gate and up; the quantization of what they gave; down. What is
// between them is too little for several threads (Workers::kSerialWork).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "backend/rules.h"
#include "base/aligned_buffer.h"
#include "cpu/attention/attention.h"
#include "cpu/backend/cpu_backend_adapters.h"
#include "cpu/backend/cpu_backend_linear.h"
#include "cpu/backend/cpu_backend_weights.h"
#include "cpu/backend/implementation.h"
#include "cpu/backend/sample.h"
#include "cpu/backend/workers.h"

namespace tramontane::cpu {

class CpuBackend final : public Backend {
 public:
  // Throws StatusError, std::bad_alloc, std::system_error.
  CpuBackend(const BackendOptions& options, const Implementation& implementation);

  void destroy() override { delete this; }
  const char* implementation() const override { return implementation_.name; }
  const char* last_error() const override { return error_; }

  Status set_weight(Role role, int32_t layer, const WeightData& weight) override;
  Status finish_loading() override;

  Status load_adapter(int32_t adapter, const AdapterPair* pairs, int32_t count, char* error,
                      size_t error_size) override;
  void unload_adapter(int32_t adapter) override { adapters_.unload(adapter); }
  Status discard_pages(const int32_t* pages, int32_t count) override;
  Status begin_step(const Step& step) override;
  Status embed() override;
  Status rms_norm(Role norm, int32_t layer) override;
  Status linear(const Projection* projections, int32_t count, int32_t layer, Buffer in) override;
  Status linear_add(Role role, int32_t layer, Buffer in) override;
  Status rope_and_store(int32_t layer) override;
  Status attend(int32_t layer) override;
  Status swiglu() override;
  Status output_logits() override;
  Status sample(const SampleRow* rows, int32_t count, SampleResult* results) override;
  Status read_logits(int32_t output, float* out) override;
  Status cancel_step() override;
  Status end_step() override;

 private:
  ~CpuBackend() = default;

  // Runs the body of a call and makes a Status of what it throws.
  template <typename Body>
  Status guard(Body&& body);

  float* buffer(Buffer which) { return buffers_[static_cast<size_t>(which)].data(); }
  int32_t width(Buffer which) const { return width_of(which, shape_); }
  void reserve_buffers();
  void fill_rotations();
  void normalize(Role norm, int32_t layer, const int32_t* rows, int32_t count);

  const BackendOptions options_;
  const ModelShape& shape_ = options_.shape;
  const Implementation& implementation_;
  const Workers workers_;
  Weights weights_;
  Attention attention_;
  LinearLayers linear_;
  Adapters adapters_;
  CallOrder order_;
  char error_[256] = "";

  // Of the step at hand.
  std::vector<int32_t> tokens_, output_rows_;

  std::array<AlignedBuffer<float>, kBufferCount> buffers_;
  const std::vector<double> frequencies_;      // [head_size / 2]
  AlignedBuffer<float> cosines_, sines_;       // [rows][head_size / 2]
  std::vector<SampleScratch> sample_scratch_;  // One a thread.
};

}  // namespace tramontane::cpu
