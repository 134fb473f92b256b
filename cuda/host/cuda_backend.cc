// The calls of the seam: rules are checked, weights stored, operations noted.
#include "host/cuda_backend.h"

#include <cstdio>
#include <exception>
#include <new>

#include "kernels/attend.h"

namespace tramontane::cuda {
namespace {

int padded(int rows) { return divide_up(rows, kMaxDotRows) * kMaxDotRows; }

// What the kernels need beyond the rules of the seam.
const BackendOptions& checked(const BackendOptions& options) {
  check_options(options);
  const ModelShape& s = options.shape;
  const bool groups =
      s.hidden % kGroup == 0 && s.ffn % kGroup == 0 && s.heads * s.head_size % kGroup == 0;
  if (!groups || s.head_size > kMaxHeadSize) {
    throw StatusError(Status::kUnsupported,
                      "the CUDA backend needs widths that are multiples of 32, and head sizes of "
                      "up to 256");
  }
  return options;
}

// Runs `work`; what it throws becomes a status and a message.
template <class Work>
Status run_guarded(int device, std::string& message, Work work) {
  try {
    check(cudaSetDevice(device), "using the device");  // A thread's own; calls may move.
    work();
    return Status::kOk;
  } catch (const StatusError& error) {
    message = error.what();
    return error.status();
  } catch (const std::bad_alloc&) {
    message = "out of memory";
    return Status::kOutOfMemory;
  } catch (const std::exception& error) {
    message = error.what();
    return Status::kDeviceFailed;
  }
}

}  // namespace

template <class Work>
Status CudaBackend::guard(Work work) {
  return run_guarded(options_.device, last_error_, work);
}

CudaBackend::CudaBackend(const BackendOptions& options)
    : options_(checked(options)), adapters_(options) {
  cudaDeviceProp device{};
  check(cudaGetDeviceProperties(&device, options.device), "asking the device");
  implementation_ = "cuda sm_" + std::to_string(device.major) + std::to_string(device.minor);
  store_ = std::make_unique<WeightStore>(stream_, options.compute);
  layers_.resize(static_cast<size_t>(options.shape.layers));
  step_ = std::make_unique<StepBuffers>(options, device.multiProcessorCount);
  sampling_ = std::make_unique<Sampling>(options.shape.vocabulary, options.max_outputs);
  allocate();
}

CudaBackend::~CudaBackend() {
  cudaStreamSynchronize(stream_.get());
  drop_graphs();
}

// Zeroed: rows that fill a bucket are computed with.
void CudaBackend::allocate() {
  const ModelShape& s = options_.shape;
  const int rows = padded(options_.max_rows), outputs = padded(options_.max_outputs);
  for (int i = 0; i < kBufferCount; ++i) {
    const auto name = static_cast<Buffer>(i);
    const int most = name == Buffer::kLogits ? outputs : std::max(rows, outputs);
    buffers_.emplace_back(int64_t{most} * width_of(name, s));
    stream_.zero(buffers_.back());
  }
  const auto quantized = [&](int columns) {
    quantized_.emplace_back(int64_t{std::max(rows, outputs)} * columns);
    scales_.emplace_back(int64_t{std::max(rows, outputs)} * columns / kGroup);
    stream_.zero(quantized_.back());
    stream_.zero(scales_.back());
    return QuantizedRows{quantized_.back().data(), scales_.back().data()};
  };
  normed_ = {buffer(Buffer::kNormed), quantized(s.hidden), false};
  attended_ = {buffer(Buffer::kAttended), quantized(s.heads * s.head_size), false};
  gated_ = {buffer(Buffer::kGate), quantized(s.ffn), false};
  permuted_ = quantized(std::max(s.ffn, std::max(s.hidden, s.heads * s.head_size)));

  const std::vector<double> frequencies = rope_frequencies(s);
  frequencies_ = DeviceArray<double>(s.head_size / 2);
  stream_.copy_to_device(frequencies_.data(), frequencies.data(), frequencies_.size());
  partial_ = DeviceArray<float>(int64_t{step_->max_parts()} * s.heads * (s.head_size + 2));
  const int64_t kv_bytes =
      int64_t{options_.pages} * static_cast<int64_t>(page_bytes(s, options_.kv_type) / 2);
  keys_ = DeviceArray<uint8_t>(kv_bytes);
  values_ = DeviceArray<uint8_t>(kv_bytes);
  stream_.synchronize();
}

Status CudaBackend::set_weight(Role role, int32_t layer, const WeightData& source) {
  return guard([&] {
    order_.require_loading();
    check_weight(role, layer, source, options_.shape);
    Weights& to = layers_[static_cast<size_t>(layer)];
    if (is_norm(role)) {
      to.norms[static_cast<size_t>(role)] = store_->vector(source);
    } else {
      to.matrices[static_cast<size_t>(role)] = store_->add(source);
    }
  });
}

Status CudaBackend::finish_loading() {
  return guard([&] {
    order_.require_loading();
    for (int i = 0; i < kRoleCount; ++i) {
      const auto role = static_cast<Role>(i);
      for (int layer = 0; layer < layers_with(role, options_.shape); ++layer) {
        const Weights& weights = layers_[static_cast<size_t>(layer)];
        const auto index = static_cast<size_t>(i);
        if (is_norm(role) ? weights.norms[index].data() != nullptr
                          : weights.matrices[index] != nullptr) {
          continue;
        }
        throw StatusError(Status::kInvalid, describe(role, layer) + " was not set");
      }
    }
    store_->finish();
    order_.finished_loading();
  });
}

Status CudaBackend::load_adapter(int32_t adapter, const AdapterPair* pairs, int32_t count,
                                 char* error, size_t error_size) {
  std::string message;
  const Status status = run_guarded(options_.device, message, [&] {
    adapters_.load(adapter, pairs, count, [&](Role role, int32_t layer) -> const StoredWeight& {
      return *weight(role, layer);
    });
  });
  std::snprintf(error, error_size, "%s", message.c_str());
  return status;
}

void CudaBackend::unload_adapter(int32_t adapter) { adapters_.unload(adapter); }

Status CudaBackend::begin_step(const Step& step) {
  return guard([&] {
    order_.require_between_steps();
    check_step(step, options_);
    tape_.clear();
    if (adapters_.begin_step(step, stream_)) drop_graphs();
    if (step_->begin(step, stream_)) drop_graphs();
    order_.begun(step.outputs);
  });
}

Status CudaBackend::note(const Operation& operation) {
  return guard([&] {
    order_.require_step();
    check_layer(operation.layer, options_.shape);
    tape_.push_back(operation);
  });
}

Status CudaBackend::embed() { return note({Call::kEmbed}); }

Status CudaBackend::rms_norm(Role norm, int32_t layer) {
  Operation operation{Call::kNorm, layer};
  operation.roles[0] = norm;
  const Status status = guard([&] { check_norm(norm, layer, options_.shape); });
  return status == Status::kOk ? note(operation) : status;
}

Status CudaBackend::linear(const Projection* projections, int32_t count, int32_t layer, Buffer in) {
  Operation operation{Call::kLinear, layer};
  return guard([&] {
    check_projections(projections, count, layer, in, options_.shape);
    for (int i = 0; i < count; ++i) {
      operation.roles[i] = projections[i].role;
      operation.outs[i] = projections[i].out;
    }
    input(in);
    operation.count = count;
    operation.in = in;
    order_.require_step();
    tape_.push_back(operation);
  });
}

Status CudaBackend::linear_add(Role role, int32_t layer, Buffer in) {
  return guard([&] {
    check_projection(role, layer, in, Buffer::kResidual, options_.shape);
    input(in);
    Operation operation{Call::kLinearAdd, layer};
    operation.roles[0] = role;
    operation.outs[0] = Buffer::kResidual;
    operation.count = 1;
    operation.in = in;
    order_.require_step();
    tape_.push_back(operation);
  });
}

Status CudaBackend::rope_and_store(int32_t layer) { return note({Call::kRope, layer}); }
Status CudaBackend::attend(int32_t layer) { return note({Call::kAttend, layer}); }
Status CudaBackend::swiglu() { return note({Call::kSwiglu}); }

Status CudaBackend::output_logits() {
  const Status status = note({Call::kOutput});
  if (status != Status::kOk) return status;
  return guard([&] {
    flush();
    order_.has_logits();
  });
}

Status CudaBackend::sample(const SampleRow* rows, int32_t count, SampleResult* results) {
  return guard([&] {
    check_samples(rows, results, count, order_, options_);
    sampling_->sample(buffer(Buffer::kLogits), rows, count, results, stream_);
  });
}

Status CudaBackend::read_logits(int32_t output, float* out) {
  return guard([&] {
    order_.require_logits(output);
    require(out != nullptr, "there is no place for the logits");
    const int64_t count = options_.shape.vocabulary;
    stream_.copy_from_device(out, buffer(Buffer::kLogits) + output * count, count);
    stream_.synchronize();
  });
}

// What was noted and has not run is forgotten, so that end_step() neither runs it nor makes a graph
// of a part of a step.
Status CudaBackend::cancel_step() {
  return guard([&] {
    order_.cancel();
    tape_.clear();
  });
}

Status CudaBackend::end_step() {
  return guard([&] {
    order_.end();
    flush();
    stream_.synchronize();
    adapters_.end_step();
  });
}

}  // namespace tramontane::cuda
