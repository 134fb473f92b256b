#include "cpu/backend/cpu_backend.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <string>
#include <system_error>

#include "backend/abi.h"
#include "base/portable_math.h"

namespace tramontane::cpu {
namespace {

// What some operations cost an element, in multiply-adds.
constexpr double kDecodeWork = 4, kRotationWork = 100, kSwigluWork = 4, kSampleWork = 10;

// Runs the body of a call; what it throws becomes a Status and a message of at most `size` bytes.
template <typename Body>
Status status_of(char* message, size_t size, const Body& body) {
  const auto fail = [&](Status status, const char* text) {
    if (message != nullptr && size > 0) std::snprintf(message, size, "%s", text);
    return status;
  };
  try {
    body();
    return Status::kOk;
  } catch (const StatusError& error) {
    return fail(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(Status::kOutOfMemory, "out of memory");
  } catch (const std::system_error& error) {  // Threads that cannot be started.
    return fail(Status::kOutOfMemory, error.what());
  } catch (const std::exception& error) {
    return fail(Status::kDeviceFailed, error.what());
  } catch (...) {
    return fail(Status::kDeviceFailed, "unknown failure");
  }
}

const BackendOptions& checked(const BackendOptions& options) {
  check_options(options);
  return options;
}

}  // namespace

CpuBackend::CpuBackend(const BackendOptions& options, const Implementation& implementation)
    : options_(checked(options)),
      implementation_(implementation),
      workers_(options.threads),
      weights_(options.shape, options.compute),
      attention_(options, *implementation.rows, workers_),
      linear_(*implementation.linear, options.compute, workers_),
      adapters_(*implementation.linear, shape_, workers_),
      frequencies_(rope_frequencies(options.shape)),
      sample_scratch_(static_cast<size_t>(options.threads)) {}

template <typename Body>
Status CpuBackend::guard(Body&& body) {
  return status_of(error_, sizeof error_, body);
}

Status CpuBackend::set_weight(Role role, int32_t layer, const WeightData& weight) {
  return guard([&] {
    order_.require_loading();
    weights_.set(role, layer, weight);
  });
}

Status CpuBackend::finish_loading() {
  return guard([&] {
    order_.require_loading();
    weights_.finish(workers_);
    order_.finished_loading();
  });
}

Status CpuBackend::load_adapter(int32_t adapter, const AdapterPair* pairs, int32_t count,
                                char* error, size_t error_size) {
  return status_of(error, error_size, [&] { adapters_.load(adapter, pairs, count, weights_); });
}

Status CpuBackend::discard_pages(const int32_t* pages, int32_t count) {
  return guard([&] {
    order_.require_between_steps();
    require(count == 0 || pages != nullptr, "the pages are missing");
    for (int32_t i = 0; i < count; ++i) attention_.discard(pages[i]);
  });
}

Status CpuBackend::begin_step(const Step& step) {
  return guard([&] {
    order_.require_between_steps();
    check_step(step, options_);
    adapters_.begin_step(step);
    attention_.begin_step(step);
    tokens_.assign(step.tokens, step.tokens + step.rows);
    output_rows_.assign(step.output_rows, step.output_rows + step.outputs);
    reserve_buffers();
    fill_rotations();
    order_.begun(step.outputs);
  });
}

// Room grows to powers of two, so that a user who only decodes never holds a whole chunk's, and a
// slowly growing batch seldom reallocates.
void CpuBackend::reserve_buffers() {
  size_t rows = 1, outputs = 1;
  while (rows < tokens_.size()) rows *= 2;
  while (outputs < output_rows_.size()) outputs *= 2;
  for (int32_t i = 0; i < kBufferCount; ++i) {
    const Buffer which = static_cast<Buffer>(i);
    const size_t count = which == Buffer::kLogits ? outputs : rows;
    buffers_[static_cast<size_t>(i)].reserve(count * static_cast<size_t>(width(which)));
  }
  cosines_.reserve(rows * frequencies_.size());
  sines_.reserve(rows * frequencies_.size());
}

// In double: at position 2^31 the angle is still right to 1e-6.
void CpuBackend::fill_rotations() {
  const int32_t rows = static_cast<int32_t>(tokens_.size());
  const size_t half = frequencies_.size();
  workers_.run(rows, kRotationWork * rows * static_cast<double>(half), [&](int32_t row, int) {
    const double position = attention_.position(row);
    for (size_t i = 0; i < half; ++i) {
      const double angle = position * frequencies_[i];
      cosines_.data()[static_cast<size_t>(row) * half + i] =
          static_cast<float>(portable::cos(angle));
      sines_.data()[static_cast<size_t>(row) * half + i] = static_cast<float>(portable::sin(angle));
    }
  });
}

Status CpuBackend::embed() {
  return guard([&] {
    order_.require_step();
    const WeightData& weight = weights_.matrix(Role::kTokenEmbedding, 0).data;
    const FormatInfo& format = format_info(weight.format);
    const int64_t blocks = shape_.hidden / format.block_values;
    const int32_t rows = static_cast<int32_t>(tokens_.size());
    workers_.run(rows, kDecodeWork * rows * shape_.hidden, [&](int32_t row, int) {
      decode_blocks(weight.format, weight.data + tokens_[row] * blocks * format.block_bytes, blocks,
                    buffer(Buffer::kResidual) + static_cast<int64_t>(row) * shape_.hidden);
    });
  });
}

Status CpuBackend::rms_norm(Role norm, int32_t layer) {
  return guard([&] {
    order_.require_step();
    check_norm(norm, layer, shape_);
    normalize(norm, layer, nullptr, static_cast<int32_t>(tokens_.size()));
  });
}

// kNormed[i] of kResidual[rows[i]], or of kResidual[i] where `rows` is null.
void CpuBackend::normalize(Role norm, int32_t layer, const int32_t* rows, int32_t count) {
  const float* weight = weights_.norm(norm, layer);
  const int64_t hidden = shape_.hidden;
  workers_.run(count, static_cast<double>(count) * shape_.hidden, [&](int32_t i, int) {
    const int64_t row = rows == nullptr ? i : rows[i];
    implementation_.rows->rms_norm(buffer(Buffer::kResidual) + row * hidden, weight, shape_.hidden,
                                   shape_.rms_epsilon, buffer(Buffer::kNormed) + i * hidden);
  });
}

Status CpuBackend::linear(const Projection* projections, int32_t count, int32_t layer, Buffer in) {
  return guard([&] {
    order_.require_step();
    check_projections(projections, count, layer, in, shape_);
    LinearOutput outputs[kMaxProjections];
    AdaptedOutput adapted[kMaxProjections];
    for (int32_t i = 0; i < count; ++i) {
      const auto [role, out] = projections[i];
      outputs[i] = {&weights_.matrix(role, layer), buffer(out)};
      adapted[i] = {role, buffer(out)};
    }
    linear_.run(outputs, count, buffer(in), static_cast<int32_t>(tokens_.size()), false);
    adapters_.apply(adapted, count, layer, buffer(in));
  });
}

Status CpuBackend::linear_add(Role role, int32_t layer, Buffer in) {
  return guard([&] {
    order_.require_step();
    check_projection(role, layer, in, Buffer::kResidual, shape_);
    const LinearOutput output = {&weights_.matrix(role, layer), buffer(Buffer::kResidual)};
    const AdaptedOutput adapted = {role, buffer(Buffer::kResidual)};
    adapters_.set_aside(adapted, layer);
    linear_.run(&output, 1, buffer(in), static_cast<int32_t>(tokens_.size()), true);
    adapters_.apply(&adapted, 1, layer, buffer(in));
  });
}

Status CpuBackend::rope_and_store(int32_t layer) {
  return guard([&] {
    order_.require_step();
    check_layer(layer, shape_);
    const int32_t rows = static_cast<int32_t>(tokens_.size());
    const int32_t query_width = width(Buffer::kQuery), key_width = width(Buffer::kKey);
    workers_.run(rows, 2.0 * rows * (query_width + 2 * key_width), [&](int32_t row, int) {
      float* query = buffer(Buffer::kQuery) + static_cast<int64_t>(row) * query_width;
      float* key = buffer(Buffer::kKey) + static_cast<int64_t>(row) * key_width;
      const float* value = buffer(Buffer::kValue) + static_cast<int64_t>(row) * key_width;
      const size_t rotation = static_cast<size_t>(row) * frequencies_.size();
      const float* cosines = cosines_.data() + rotation;
      const float* sines = sines_.data() + rotation;
      const RowKernels& kernels = *implementation_.rows;
      kernels.rope(query, shape_.heads, shape_.head_size, cosines, sines, shape_.rope_pairing);
      kernels.rope(key, shape_.kv_heads, shape_.head_size, cosines, sines, shape_.rope_pairing);
      attention_.store(layer, row, key, value);
    });
  });
}

Status CpuBackend::attend(int32_t layer) {
  return guard([&] {
    order_.require_step();
    check_layer(layer, shape_);
    attention_.attend(layer, buffer(Buffer::kQuery), buffer(Buffer::kAttended));
  });
}

Status CpuBackend::swiglu() {
  return guard([&] {
    order_.require_step();
    const int32_t rows = static_cast<int32_t>(tokens_.size());
    workers_.run(rows, kSwigluWork * rows * shape_.ffn, [&](int32_t row, int) {
      const int64_t first = static_cast<int64_t>(row) * shape_.ffn;
      implementation_.rows->swiglu(buffer(Buffer::kGate) + first, buffer(Buffer::kUp) + first,
                                   shape_.ffn);
    });
  });
}

Status CpuBackend::output_logits() {
  return guard([&] {
    order_.require_step();
    const int32_t outputs = static_cast<int32_t>(output_rows_.size());
    if (outputs == 0) return;
    normalize(Role::kOutputNorm, 0, output_rows_.data(), outputs);
    const LinearOutput output = {&weights_.matrix(Role::kOutput, 0), buffer(Buffer::kLogits)};
    linear_.run(&output, 1, buffer(Buffer::kNormed), outputs, false);
    order_.has_logits();
  });
}

Status CpuBackend::sample(const SampleRow* rows, int32_t count, SampleResult* results) {
  return guard([&] {
    check_samples(rows, results, count, order_, options_);
    workers_.run(count, kSampleWork * count * shape_.vocabulary, [&](int32_t i, int thread) {
      const float* logits =
          buffer(Buffer::kLogits) + static_cast<int64_t>(rows[i].output) * shape_.vocabulary;
      cpu::sample(*implementation_.rows, logits, shape_.vocabulary, rows[i],
                  sample_scratch_[static_cast<size_t>(thread)], results[i]);
    });
  });
}

Status CpuBackend::read_logits(int32_t output, float* out) {
  return guard([&] {
    order_.require_logits(output);
    require(out != nullptr, "there is no place for the logits");
    const int64_t vocabulary = shape_.vocabulary;
    std::copy_n(buffer(Buffer::kLogits) + output * vocabulary, vocabulary, out);
  });
}

Status CpuBackend::cancel_step() {
  return guard([&] { order_.cancel(); });
}

Status CpuBackend::end_step() {
  return guard([&] {
    order_.end();
    adapters_.end_step();
  });
}

}  // namespace tramontane::cpu

using namespace tramontane;

Status tramontane_create_cpu_backend(const BackendOptions* options, Backend** backend, char* error,
                                     size_t error_size) {
  return cpu::status_of(error, error_size, [&] {
    require(backend != nullptr, "there is no place for the backend");
    *backend = nullptr;
    require(options != nullptr && options->seam_hash == kSeamHash,
            "the backend was built for another version of this package");
    std::string message;
    const cpu::Implementation* implementation =
        cpu::choose_implementation(std::getenv("TRAMONTANE_CPU"), &message);
    require(implementation != nullptr, message.c_str());
    *backend = new cpu::CpuBackend(*options, *implementation);
  });
}
