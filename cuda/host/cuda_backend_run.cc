// How a tape of operations runs: what is fused, what becomes a graph.
#include <algorithm>

#include "host/cuda_backend.h"
#include "kernels/formats.h"

namespace tramontane::cuda {

const StoredWeight* CudaBackend::weight(Role role, int32_t layer) const {
  return layers_[static_cast<size_t>(layer)].matrices[static_cast<size_t>(role)];
}

const float* CudaBackend::norm(Role role, int32_t layer) const {
  return layers_[static_cast<size_t>(layer)].norms[static_cast<size_t>(role)].data();
}

float* CudaBackend::buffer(Buffer name) const { return buffers_[static_cast<size_t>(name)].data(); }

CudaBackend::Input& CudaBackend::input(Buffer name) {
  require(name == Buffer::kNormed || name == Buffer::kAttended || name == Buffer::kGate,
          "a buffer that is not an input of linear layers");
  return name == Buffer::kNormed ? normed_ : name == Buffer::kAttended ? attended_ : gated_;
}

LayerPages CudaBackend::pages(int layer) const {
  const int64_t bytes = keys_.size() / options_.shape.layers * layer;
  return {keys_.data() + bytes, values_.data() + bytes};
}

void CudaBackend::drop_graphs() {
  for (const Graph& graph : graphs_) cudaGraphExecDestroy(graph.executable);
  graphs_.clear();
}

// Decode steps repeat: the first of a kind is captured, the others are launched.
void CudaBackend::flush() {
  if (tape_.empty()) return;
  if (step_->plan().rows > kMaxDotRows) {
    run_tape();
    check(cudaGetLastError(), "running a step");
    tape_.clear();
    return;
  }
  constexpr size_t kMaxGraphs = 64;
  auto found = std::find_if(graphs_.begin(), graphs_.end(), [&](const Graph& graph) {
    return graph.plan == step_->plan() && graph.adapters == adapters_.plan() && graph.tape == tape_;
  });
  if (found == graphs_.end()) {
    if (graphs_.size() == kMaxGraphs) drop_graphs();
    check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "capturing");
    run_tape();
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_.get(), &graph), "capturing");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "making a graph");
    graphs_.push_back({step_->plan(), adapters_.plan(), tape_, executable});
    found = graphs_.end() - 1;
  }
  tape_.clear();
  check(cudaGraphLaunch(found->executable, stream_.get()), "running a step");
}

void CudaBackend::run_tape() {
  const StepPlan& plan = step_->plan();
  for (size_t i = 0; i < tape_.size(); ++i) {
    const Operation& operation = tape_[i];
    const Operation* next = i + 1 < tape_.size() ? &tape_[i + 1] : nullptr;
    switch (operation.call) {
      case Call::kEmbed: {
        const StoredWeight& embedding = *weight(Role::kTokenEmbedding, 0);
        cuda::embed(embedding.format, embedding.gptq_bits, embedding.weight, step_->state().rows,
                    plan.rows, buffer(Buffer::kResidual), stream_.get());
        break;
      }
      case Call::kNorm:
        run_norm(operation, next);
        break;
      case Call::kLinear: {
        const bool fused = fuses_swiglu(operation, next);
        run_projections(operation, fused);
        if (fused) ++i;
        break;
      }
      case Call::kLinearAdd:
        run_projections(operation, false);
        break;
      case Call::kRope:
        run_rope(operation.layer);
        break;
      case Call::kAttend:
        run_attend(operation.layer);
        break;
      case Call::kSwiglu:
        run_swiglu(next);
        break;
      case Call::kOutput:
        run_output();
        break;
    }
  }
}

// Gate and up of one format, then SwiGLU, for a few rows without adapters: one kernel.
bool CudaBackend::fuses_swiglu(const Operation& operation, const Operation* next) const {
  if (!next || next->call != Call::kSwiglu || step_->plan().rows > kMaxDotRows) return false;
  if (adapters_.plan().groups) return false;
  if (operation.count != 2 || operation.outs[0] != Buffer::kGate ||
      operation.outs[1] != Buffer::kUp) {
    return false;
  }
  const StoredWeight* gate = weight(operation.roles[0], operation.layer);
  const StoredWeight* up = weight(operation.roles[1], operation.layer);
  return !is_float(gate->format) && gate->format == up->format &&
         gate->gptq_bits == up->gptq_bits && !gate->order && !up->order;
}

// The forms of its input that the linear layers of `next` and their adapters read.
void CudaBackend::wants(const Operation* next, bool* values, bool* quantized) const {
  const bool linear = next && (next->call == Call::kLinear || next->call == Call::kLinearAdd);
  *values = !linear || adapters_.plan().groups;
  *quantized = false;
  for (int i = 0; linear && i < next->count; ++i) {
    const StoredWeight* stored = weight(next->roles[i], next->layer);
    (is_float(stored->format) || stored->order ? *values : *quantized) = true;
  }
}

void CudaBackend::run_norm(const Operation& operation, const Operation* next) {
  bool values, quantized;
  wants(next, &values, &quantized);
  RowOutput out{values ? normed_.values : nullptr, {}};
  if (quantized) out.quantized = normed_.quantized;
  cuda::rms_norm(buffer(Buffer::kResidual), nullptr, norm(operation.roles[0], operation.layer),
                 options_.shape.rms_epsilon, step_->plan().rows, options_.shape.hidden, out,
                 stream_.get());
  normed_.is_quantized = quantized;
}

// Weights that are read alike go in one launch.
void CudaBackend::run_linear(const StoredWeight* const* weights, float* const* outs, int count,
                             bool add, int rows, Input& in) {
  bool done[kMaxProjections] = {};
  for (int i = 0; i < count; ++i) {
    if (done[i]) continue;
    const StoredWeight& first = *weights[i];
    LinearTask task{};
    task.rows = rows;
    task.add = add;
    for (int k = i; k < count; ++k) {
      const StoredWeight& other = *weights[k];
      const bool alike =
          k == i || (other.format == first.format && other.gptq_bits == first.gptq_bits &&
                     !other.order && !first.order);
      if (done[k] || !alike) continue;
      task.weights[task.count] = other.weight;
      task.outs[task.count++] = outs[k];
      done[k] = true;
    }
    const int columns = first.weight.columns;
    if (is_float(first.format)) {
      task.values = in.values;
      dot_float(first.format, task, stream_.get());
      continue;
    }
    task.quantized = in.quantized;
    if (first.order) {
      cuda::quantize(in.values, first.order, rows, columns, permuted_, stream_.get());
      task.quantized = permuted_;
    } else if (!in.is_quantized) {
      cuda::quantize(in.values, nullptr, rows, columns, in.quantized, stream_.get());
      in.is_quantized = true;
    }
    if (rows <= kMaxDotRows) {
      dot(first.format, first.gptq_bits, task, stream_.get());
    } else {
      tiles(first.format, first.gptq_bits, task, stream_.get());
    }
  }
}

void CudaBackend::run_projections(const Operation& operation, bool swiglu) {
  const StoredWeight* weights[kMaxProjections] = {};
  float* outs[kMaxProjections] = {};
  for (int i = 0; i < operation.count; ++i) {
    weights[i] = weight(operation.roles[i], operation.layer);
    outs[i] = buffer(operation.outs[i]);
  }
  Input& in = input(operation.in);
  const int rows = step_->plan().rows;
  if (!swiglu) {
    const bool add = operation.call == Call::kLinearAdd;
    const bool adapted = adapters_.plan().groups > 0;
    Adapters::Output outputs[kMaxProjections] = {};
    for (int i = 0; i < operation.count; ++i) outputs[i] = {operation.roles[i], outs[i]};
    if (adapted && add) adapters_.set_aside(outputs[0], operation.layer, stream_);
    run_linear(weights, outs, operation.count, add, rows, in);
    if (adapted) {
      adapters_.apply(outputs, operation.count, operation.layer, in.values, add, stream_);
    }
    if (operation.outs[0] == Buffer::kGate) gated_.is_quantized = false;
    return;
  }
  LinearTask task{};
  task.count = 2;
  task.rows = rows;
  task.swiglu = true;
  for (int i = 0; i < 2; ++i) {
    task.weights[i] = weights[i]->weight;
    task.outs[i] = outs[i];
  }
  if (!in.is_quantized) {
    cuda::quantize(in.values, nullptr, rows, weights[0]->weight.columns, in.quantized,
                   stream_.get());
    in.is_quantized = true;
  }
  task.quantized = in.quantized;
  dot(weights[0]->format, weights[0]->gptq_bits, task, stream_.get());
  gated_.is_quantized = false;
}

void CudaBackend::run_swiglu(const Operation* next) {
  bool values, quantized;
  wants(next, &values, &quantized);
  RowOutput out{values ? gated_.values : nullptr, {}};
  if (quantized) out.quantized = gated_.quantized;
  cuda::swiglu(buffer(Buffer::kGate), buffer(Buffer::kUp), step_->plan().rows, options_.shape.ffn,
               out, stream_.get());
  gated_.is_quantized = quantized;
}

void CudaBackend::run_rope(int layer) {
  const ModelShape& s = options_.shape;
  cuda::rope_and_store(
      {buffer(Buffer::kQuery), buffer(Buffer::kKey), buffer(Buffer::kValue), pages(layer),
       frequencies_.data(), step_->plan().rows, s.heads, s.kv_heads, s.head_size,
       s.rope_pairing == RopePairing::kNeighbours, options_.kv_type == KvType::kF16},
      step_->state(), stream_.get());
}

void CudaBackend::run_attend(int layer) {
  const ModelShape& s = options_.shape;
  const StepPlan& plan = step_->plan();
  const AttendTask task{buffer(Buffer::kQuery),
                        buffer(Buffer::kAttended),
                        pages(layer),
                        s.heads,
                        s.kv_heads,
                        s.head_size,
                        options_.window,
                        options_.kv_type == KvType::kF16,
                        step_->state()};
  if (plan.listed) {
    attend_rows(task, step_->row_list(), plan.listed, plan.splits, partial_.data(), stream_.get());
  }
  if (plan.tiles) attend_tiles(task, step_->tiles(), plan.tiles, stream_.get());
  attended_.is_quantized = false;
}

void CudaBackend::run_output() {
  const int outputs = step_->plan().outputs;
  if (outputs == 0) return;
  const StoredWeight* output = weight(Role::kOutput, 0);
  const bool values = is_float(output->format) || output->order;
  RowOutput out{values ? normed_.values : nullptr, {}};
  if (!values) out.quantized = normed_.quantized;
  cuda::rms_norm(buffer(Buffer::kResidual), step_->state().output_rows, norm(Role::kOutputNorm, 0),
                 options_.shape.rms_epsilon, outputs, options_.shape.hidden, out, stream_.get());
  normed_.is_quantized = !values;
  float* logits = buffer(Buffer::kLogits);
  run_linear(&output, &logits, 1, false, outputs, normed_);
}

}  // namespace tramontane::cuda
