// The calls of the seam: rules are checked, weights stored, operations noted.
#include "host/cuda_backend.h"

#include <cmath>
#include <exception>
#include <new>

#include "kernels/attend.h"

namespace tramontane::cuda {
namespace {

int padded(int rows) { return divide_up(rows, kMaxDotRows) * kMaxDotRows; }

void check_options(const BackendOptions& o) {
  const ModelShape& s = o.shape;
  require(s.layers > 0 && s.vocabulary > 0 && s.heads > 0 && s.kv_heads > 0 && o.pages > 0 &&
              o.max_rows > 0 && o.max_outputs > 0 && o.window >= 0,
          "an option is out of range");
  const bool groups = s.hidden % kGroup == 0 && s.ffn % kGroup == 0 &&
                      s.heads * s.head_size % kGroup == 0 && s.hidden > 0 && s.ffn > 0;
  if (!groups || s.head_size % 8 || s.head_size <= 0 || s.head_size > kMaxHeadSize ||
      s.heads % s.kv_heads) {
    throw StatusError(Status::kUnsupported,
                      "the CUDA backend needs widths that are multiples of 32, and head sizes of "
                      "up to 256 that are multiples of 8");
  }
}

const char* role_name(Role role) {
  static constexpr const char* kNames[] = {
      "token embedding", "output norm",      "output",   "attention norm", "query",  "key",
      "value",           "attention output", "FFN norm", "FFN gate",       "FFN up", "FFN down"};
  return kNames[static_cast<int>(role)];
}

}  // namespace

template <class Work>
Status CudaBackend::guard(Work work) {
  try {
    check(cudaSetDevice(options_.device), "using the device");  // A thread's own; calls may move.
    work();
    return Status::kOk;
  } catch (const StatusError& error) {
    last_error_ = error.what();
    return error.status();
  } catch (const std::bad_alloc&) {
    last_error_ = "out of memory";
    return Status::kOutOfMemory;
  } catch (const std::exception& error) {
    last_error_ = error.what();
    return Status::kDeviceFailed;
  }
}

CudaBackend::CudaBackend(const BackendOptions& options) : options_(options) {
  check_options(options);
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
  for (int name = 0; name <= static_cast<int>(Buffer::kLogits); ++name) {
    const bool logits = name == static_cast<int>(Buffer::kLogits);
    const int most = logits ? outputs : std::max(rows, outputs);
    buffers_.emplace_back(int64_t{most} * width(static_cast<Buffer>(name)));
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

  std::vector<double> frequencies;
  for (int i = 0; i < s.head_size / 2; ++i) {
    frequencies.push_back(std::pow(static_cast<double>(s.rope_base), -2.0 * i / s.head_size));
  }
  frequencies_ = DeviceArray<double>(s.head_size / 2);
  stream_.copy_to_device(frequencies_.data(), frequencies.data(), frequencies_.size());
  partial_ = DeviceArray<float>(int64_t{step_->max_parts()} * s.heads * (s.head_size + 2));
  const int64_t value_bytes = options_.kv_type == KvType::kF16 ? 2 : 4;
  const int64_t kv_bytes =
      int64_t{options_.pages} * s.layers * s.kv_heads * kPageTokens * s.head_size * value_bytes;
  keys_ = DeviceArray<uint8_t>(kv_bytes);
  values_ = DeviceArray<uint8_t>(kv_bytes);
  stream_.synchronize();
}

int CudaBackend::width(Buffer name) const {
  const ModelShape& s = options_.shape;
  switch (name) {
    case Buffer::kResidual:
    case Buffer::kNormed:
      return s.hidden;
    case Buffer::kQuery:
    case Buffer::kAttended:
      return s.heads * s.head_size;
    case Buffer::kKey:
    case Buffer::kValue:
      return s.kv_heads * s.head_size;
    case Buffer::kGate:
    case Buffer::kUp:
      return s.ffn;
    case Buffer::kLogits:
      return s.vocabulary;
  }
  return 0;
}

Status CudaBackend::set_weight(Role role, int32_t layer, const WeightData& source) {
  return guard([&] {
    require(!loaded_, "a weight comes after finish_loading");
    require(layer >= 0 && layer < options_.shape.layers, "a layer is out of range");
    const ModelShape& s = options_.shape;
    const int heads = s.heads * s.head_size, kv_heads = s.kv_heads * s.head_size;
    const auto expect = [&](int rows, int columns) {
      if (source.rows == rows && source.columns == columns) return;
      throw StatusError(Status::kInvalid,
                        std::string(role_name(role)) + " is " + std::to_string(source.rows) +
                            " x " + std::to_string(source.columns) + ", not " +
                            std::to_string(rows) + " x " + std::to_string(columns));
    };
    Layer& to = layers_[static_cast<size_t>(layer)];
    switch (role) {
      case Role::kOutputNorm:
      case Role::kAttentionNorm:
      case Role::kFfnNorm: {
        expect(1, s.hidden);
        require(source.format != Format::kGptq, "a norm is not quantized");
        auto& norm = role == Role::kOutputNorm      ? output_norm_
                     : role == Role::kAttentionNorm ? to.attention_norm
                                                    : to.ffn_norm;
        norm = store_->vector(source);
        return;
      }
      case Role::kTokenEmbedding:
      case Role::kOutput:
        expect(s.vocabulary, s.hidden);
        (role == Role::kOutput ? output_ : embedding_) = store_->add(source);
        return;
      case Role::kQuery:
        expect(heads, s.hidden);
        break;
      case Role::kKey:
      case Role::kValue:
        expect(kv_heads, s.hidden);
        break;
      case Role::kAttentionOutput:
        expect(s.hidden, heads);
        break;
      case Role::kFfnGate:
      case Role::kFfnUp:
        expect(s.ffn, s.hidden);
        break;
      case Role::kFfnDown:
        expect(s.hidden, s.ffn);
        break;
    }
    to.weights[static_cast<int>(role)] = store_->add(source);
  });
}

Status CudaBackend::finish_loading() {
  return guard([&] {
    require(embedding_ && output_ && output_norm_.data(), "a weight is missing");
    require(!embedding_->order, "an embedding in act-order is not known");
    for (const Layer& layer : layers_) {
      require(layer.attention_norm.data() && layer.ffn_norm.data(), "a norm is missing");
      for (const Role role : {Role::kQuery, Role::kKey, Role::kValue, Role::kAttentionOutput,
                              Role::kFfnGate, Role::kFfnUp, Role::kFfnDown}) {
        require(layer.weights[static_cast<int>(role)], "a weight is missing");
      }
    }
    store_->finish();
    loaded_ = true;
  });
}

Status CudaBackend::begin_step(const Step& step) {
  return guard([&] {
    require(loaded_, "a step comes before finish_loading");
    tape_.clear();
    if (step_->begin(step, stream_)) drop_graphs();
    in_step_ = true;
  });
}

void CudaBackend::check_step() const { require(in_step_, "an operation outside a step"); }

Status CudaBackend::note(const Operation& operation) {
  return guard([&] {
    check_step();
    require(operation.layer >= 0 && operation.layer < options_.shape.layers,
            "a layer is out of range");
    tape_.push_back(operation);
  });
}

Status CudaBackend::embed() { return note({Call::kEmbed}); }

Status CudaBackend::rms_norm(Role norm, int32_t layer) {
  Operation operation{Call::kNorm, layer};
  operation.roles[0] = norm;
  return note(operation);
}

Status CudaBackend::linear(const Projection* projections, int32_t count, int32_t layer, Buffer in) {
  Operation operation{Call::kLinear, layer};
  return guard([&] {
    require(count >= 1 && count <= kMaxProjections, "one to three outputs share an input");
    for (int i = 0; i < count; ++i) {
      operation.roles[i] = projections[i].role;
      operation.outs[i] = projections[i].out;
      const StoredWeight* stored = weight(projections[i].role, layer);
      require(stored && stored->weight.rows == width(projections[i].out) &&
                  stored->weight.columns == width(in),
              "a weight and its buffers don't fit");
    }
    input(in);
    operation.count = count;
    operation.in = in;
    check_step();
    tape_.push_back(operation);
  });
}

Status CudaBackend::linear_add(Role role, int32_t layer, Buffer in) {
  return guard([&] {
    const StoredWeight* stored = weight(role, layer);
    require(stored && stored->weight.columns == width(in) &&
                stored->weight.rows == options_.shape.hidden,
            "a weight and its buffers don't fit");
    input(in);
    Operation operation{Call::kLinearAdd, layer};
    operation.roles[0] = role;
    operation.outs[0] = Buffer::kResidual;
    operation.count = 1;
    operation.in = in;
    check_step();
    tape_.push_back(operation);
  });
}

Status CudaBackend::rope_and_store(int32_t layer) { return note({Call::kRope, layer}); }
Status CudaBackend::attend(int32_t layer) { return note({Call::kAttend, layer}); }
Status CudaBackend::swiglu() { return note({Call::kSwiglu}); }

Status CudaBackend::output_logits() {
  const Status status = note({Call::kOutput});
  return status == Status::kOk ? guard([&] { flush(); }) : status;
}

Status CudaBackend::sample(const SampleRow* rows, int32_t count, SampleResult* results) {
  return guard([&] {
    check_step();
    flush();
    sampling_->sample(buffer(Buffer::kLogits), step_->actual_outputs(), rows, count, results,
                      stream_);
  });
}

Status CudaBackend::read_logits(int32_t output, float* out) {
  return guard([&] {
    check_step();
    require(output >= 0 && output < step_->actual_outputs(), "an output is out of range");
    flush();
    const int64_t count = options_.shape.vocabulary;
    stream_.copy_from_device(out, buffer(Buffer::kLogits) + output * count, count);
    stream_.synchronize();
  });
}

Status CudaBackend::end_step() {
  return guard([&] {
    check_step();
    in_step_ = false;
    flush();
    stream_.synchronize();
  });
}

}  // namespace tramontane::cuda
