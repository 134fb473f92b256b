#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>

#include "backend/rules.h"
#include "base/error.h"
#include "base/portable_math.h"
#include "cpu/backend/implementation.h"
#include "train/operations.h"

namespace tramontane::train {
namespace {

// Rows whose logits are held at once.
constexpr int32_t kLossRows = 256;
// Floats of the state that one thread takes at a time; a gradient's norm is the sum of their sums.
constexpr int64_t kStateChunk = 1 << 16;
// What some operations cost an element, in multiply-adds.
constexpr double kExpWork = 20, kRowWork = 4;

const cpu::Implementation& implementation() {
  std::string message;
  const auto* chosen = cpu::choose_implementation(std::getenv("TRAMONTANE_CPU"), &message);
  if (chosen == nullptr) throw Error("INVALID_OPTION", message);
  return *chosen;
}

// What the forward pass multiplies in. GPTQ with act-order meets int8 activations in a copy of its
// words only, as large as the model, and backward wants the words where they lie: f32 takes these
// too.
Compute forward_compute(const ModelDescription& description) {
  for (const WeightPlace& weight : description.weights) {
    if (weight.format == Format::kGptq && weight.gptq.has_group_index) return Compute::kF32;
  }
  return description.compute;
}

uint64_t dropout_key(uint64_t seed, uint64_t number, int32_t layer, Role role) {
  const uint64_t place = static_cast<uint64_t>(layer) * kRoleCount + static_cast<uint64_t>(role);
  return ((seed * 0x9e3779b97f4a7c15 + number) * 0xbf58476d1ce4e5b9 + place) * 0x94d049bb133111eb;
}

}  // namespace

Trainer::Trainer(const ModelDescription& description, LoraOptions options, int32_t most_rows)
    : files_(description.files, description.mapping, description.memory_groups),
      shape_(description.shape),
      options_(std::move(options)),
      most_rows_(most_rows),
      workers_(description.threads),
      weights_(shape_, forward_compute(description)),
      int8_(*implementation().linear, Compute::kInt8, workers_),
      products_(*implementation().tiles, workers_),
      attention_(shape_, description.window, *implementation().tiles, workers_),
      frequencies_(rope_frequencies(shape_)) {
  for (const WeightPlace& place : description.weights) {
    const ModelWeight weight = files_.find(place);
    weights_.set(weight.role, weight.layer, weight.data);
  }
  weights_.finish(workers_);
  add_adapters();
  reserve();
  files_.check_unchanged();
}

void Trainer::add_adapters() {
  int64_t end = 0;
  for (int32_t layer = 0; layer < shape_.layers; ++layer) {
    for (const Role role : options_.targets) {
      const MatrixShape shape = shape_of(role, shape_);
      const int64_t b = end + int64_t{options_.rank} * shape.columns;
      adapters_.push_back({end, b, shape.columns, shape.rows});
      end = b + int64_t{options_.rank} * shape.rows;
    }
  }
  for (std::vector<float>& state : states_) state.assign(static_cast<size_t>(end), 0);
  gradient_.assign(static_cast<size_t>(end), 0);
}

const Trainer::Adapter* Trainer::adapter(Role role, int32_t layer) const {
  const auto& targets = options_.targets;
  const auto found = std::find(targets.begin(), targets.end(), role);
  if (found == targets.end()) return nullptr;
  return &adapters_[static_cast<size_t>(layer) * targets.size() +
                    static_cast<size_t>(found - targets.begin())];
}

void Trainer::reserve() {
  const size_t rows = static_cast<size_t>(most_rows_);
  const auto row_buffer = [&](AlignedBuffer<float>& buffer, int64_t width) {
    buffer.reserve(rows * static_cast<size_t>(width));
  };
  const int64_t query = int64_t{shape_.heads} * shape_.head_size,
                key = int64_t{shape_.kv_heads} * shape_.head_size;
  row_buffer(residuals_, (int64_t{shape_.layers} + 1) * shape_.hidden);
  for (auto* buffer : {&cosines_, &sines_}) row_buffer(*buffer, shape_.head_size / 2);
  for (auto* buffer : {&normed_, &middle_, &normed_middle_, &d_residual_, &d_normed_}) {
    row_buffer(*buffer, shape_.hidden);
  }
  for (auto* buffer : {&query_, &attended_, &d_query_, &d_attended_}) row_buffer(*buffer, query);
  for (auto* buffer : {&key_, &value_, &d_key_, &d_value_}) row_buffer(*buffer, key);
  row_buffer(log_sums_, shape_.heads);
  for (auto* buffer : {&gate_, &up_, &product_, &d_product_}) row_buffer(*buffer, shape_.ffn);
  row_buffer(low_rank_, int64_t{kRoleCount} * options_.rank);
  row_buffer(d_low_rank_, options_.rank);
  if (options_.dropout > 0)
    row_buffer(dropped_, std::max({int64_t{shape_.hidden}, query, int64_t{shape_.ffn}}));
  logits_.reserve(static_cast<size_t>(std::min(kLossRows, most_rows_)) *
                  static_cast<size_t>(shape_.vocabulary));
}

template <typename Function>
void Trainer::for_each_row(int32_t rows, double work, Function&& fn) {
  workers_.run(rows, work * rows, [&](int32_t row, int) { fn(int64_t{row}); });
}

void Trainer::embed(const std::vector<int32_t>& tokens, float* out) {
  const WeightData& table = weight(Role::kTokenEmbedding, 0);
  const FormatInfo& format = format_info(table.format);
  const int64_t blocks = shape_.hidden / format.block_values;
  for_each_row(static_cast<int32_t>(tokens.size()), kRowWork * shape_.hidden, [&](int64_t row) {
    decode_blocks(table.format,
                  table.data + tokens[static_cast<size_t>(row)] * blocks * format.block_bytes,
                  blocks, out + row * shape_.hidden);
  });
}

// Positions begin at 0 in each sample. In double, as the CPU backend has them.
void Trainer::fill_rotations(const std::vector<Sample>& samples) {
  const auto half = static_cast<int64_t>(frequencies_.size());
  for (const Sample& sample : samples) {
    for_each_row(sample.rows, 100.0 * static_cast<double>(half), [&](int64_t position) {
      const int64_t at = (sample.first + position) * half;
      for (int64_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(position) * frequencies_[static_cast<size_t>(i)];
        cosines_.data()[at + i] = static_cast<float>(portable::cos(angle));
        sines_.data()[at + i] = static_cast<float>(portable::sin(angle));
      }
    });
  }
}

void Trainer::rotate(float* query, float* key, int32_t rows, float sign) {
  const int32_t size = shape_.head_size, heads = shape_.heads, kv_heads = shape_.kv_heads;
  for_each_row(rows, kRowWork * (heads + kv_heads) * size, [&](int64_t row) {
    const float* cosines = cosines_.data() + row * (size / 2);
    const float* sines = sines_.data() + row * (size / 2);
    rope(query + row * heads * size, heads, size, cosines, sines, shape_.rope_pairing, sign);
    rope(key + row * kv_heads * size, kv_heads, size, cosines, sines, shape_.rope_pairing, sign);
  });
}

void Trainer::drop(Role role, int32_t layer, const Pass& pass, int32_t width, float* values) {
  const uint64_t key = dropout_key(options_.seed, pass.number, layer, role);
  for_each_row(pass.rows, kRowWork * width, [&](int64_t row) {
    dropout(values + row * width, width, options_.dropout,
            key + static_cast<uint64_t>(row) * static_cast<uint64_t>(width));
  });
}

// What an adapter meets: its layer's input, or a copy with some of it dropped.
const float* Trainer::dropped(Role role, int32_t layer, const Pass& pass, const float* in,
                              int32_t width) {
  if (!pass.dropout) return in;
  std::copy_n(in, int64_t{pass.rows} * width, dropped_.data());
  drop(role, layer, pass, width, dropped_.data());
  return dropped_.data();
}

float* Trainer::low_rank(Role role, const Pass& pass) {
  return low_rank_.data() + int64_t{static_cast<int32_t>(role)} * options_.rank * pass.rows;
}

// n: rows; i: inputs; r: rank. u = scale A x^T [r][n]; null where there is no adapter.
const float* Trainer::reduce(Role role, int32_t layer, const Pass& pass, const float* in) {
  const Adapter* lora = adapter(role, layer);
  if (lora == nullptr) return nullptr;
  const int32_t n = pass.rows, r = options_.rank, i = lora->inputs;
  const float* x = dropped(role, layer, pass, in, i);
  float* u = low_rank(role, pass);
  products_.multiply(cpu::rows_of(states_[0].data() + lora->a, i), cpu::rows_of(x, i).transposed(),
                     {r, n, i}, {u, n});
  for (int64_t j = 0; j < int64_t{r} * n; ++j) u[j] *= options_.scale;
  return u;
}

// o: outputs. out (+)= in W^T + scale x A^T B^T, x = dropout(in)
void Trainer::linear(Role role, int32_t layer, const Pass& pass, const float* in, float* out,
                     bool add) {
  const cpu::Matrix& matrix = weights_.matrix(role, layer);
  const int32_t n = pass.rows, r = options_.rank;
  if (matrix.takes_int8) {
    const cpu::LinearOutput output{&matrix, out};
    int8_.run(&output, 1, in, n, add);
  } else {
    products_.forward(in, n, matrix.data, out, add);
  }
  const float* u = reduce(role, layer, pass, in);
  if (u == nullptr) return;
  const Adapter& lora = *adapter(role, layer);
  const int32_t o = lora.outputs;
  products_.multiply(cpu::rows_of(u, n).transposed(), cpu::rows_of(states_[0].data() + lora.b, o),
                     {n, o, r}, {out, o, true});
}

// reduce() has left u. d_in may be null: nobody wants it.
void Trainer::linear_backward(Role role, int32_t layer, const Pass& pass, const float* in,
                              const float* d_out, float* d_in, bool add) {
  const int32_t n = pass.rows, r = options_.rank;
  if (d_in != nullptr) products_.backward(d_out, n, weight(role, layer), d_in, add);
  const Adapter* lora = adapter(role, layer);
  if (lora == nullptr) return;
  const int32_t i = lora->inputs, o = lora->outputs;
  const float* a = states_[0].data() + lora->a;  // [r][i]
  const float* b = states_[0].data() + lora->b;  // [r][o]
  float* d_a = gradient_.data() + lora->a;
  float* d_b = gradient_.data() + lora->b;
  const float* u = low_rank(role, pass);  // [r][n]
  float* d_u = d_low_rank_.data();        // [r][n]
  const cpu::MatrixView d_y = cpu::rows_of(d_out, o);
  products_.multiply(cpu::rows_of(u, n), d_y, {r, o, n}, {d_b, o, true});
  products_.multiply(cpu::rows_of(b, o), d_y.transposed(), {r, n, o}, {d_u, n});
  for (int64_t j = 0; j < int64_t{r} * n; ++j) d_u[j] *= options_.scale;
  const float* x = dropped(role, layer, pass, in, i);
  products_.multiply(cpu::rows_of(d_u, n), cpu::rows_of(x, i), {r, i, n}, {d_a, i, true});
  if (d_in == nullptr) return;
  const cpu::MatrixView d_u_rows = cpu::rows_of(d_u, n).transposed();
  if (!pass.dropout) {
    products_.multiply(d_u_rows, cpu::rows_of(a, i), {n, i, r}, {d_in, i, true});
    return;
  }
  float* d_x = dropped_.data();
  products_.multiply(d_u_rows, cpu::rows_of(a, i), {n, i, r}, {d_x, i});
  drop(role, layer, pass, i, d_x);
  for_each_row(n, kRowWork * i, [&](int64_t row) {
    for (int64_t j = row * i; j < (row + 1) * i; ++j) d_in[j] += d_x[j];
  });
}

// n: rows; d: hidden; h, g: heads, KV heads; s: head size; f: ffn. `out` null: what backward needs
// is computed, and not the layer's output.
void Trainer::layer_forward(int32_t layer, const PackedSequence& sequence, const Pass& pass,
                            const float* in, float* out) {
  const int32_t n = pass.rows, d = shape_.hidden, f = shape_.ffn;
  float *normed = normed_.data(), *middle = middle_.data(), *normed_middle = normed_middle_.data();
  float *query = query_.data(), *key = key_.data(), *value = value_.data();
  const auto norm = [&](Role role, const float* x, float* y) {
    for_each_row(n, kRowWork * d, [&](int64_t row) {
      rms_norm(x + row * d, weights_.norm(role, layer), d, shape_.rms_epsilon, y + row * d);
    });
  };
  norm(Role::kAttentionNorm, in, normed);                   // [n][d]
  linear(Role::kQuery, layer, pass, normed, query, false);  // [n][h s]
  linear(Role::kKey, layer, pass, normed, key, false);      // [n][g s]
  linear(Role::kValue, layer, pass, normed, value, false);  // [n][g s]
  rotate(query, key, n, 1);
  attention_.forward(sequence.samples, n, query, key, value, attended_.data(),  // [n][h s]
                     log_sums_.data());
  std::copy_n(in, int64_t{n} * d, middle);
  linear(Role::kAttentionOutput, layer, pass, attended_.data(), middle, true);  // [n][d]
  norm(Role::kFfnNorm, middle, normed_middle);                                  // [n][d]
  linear(Role::kFfnGate, layer, pass, normed_middle, gate_.data(), false);      // [n][f]
  linear(Role::kFfnUp, layer, pass, normed_middle, up_.data(), false);          // [n][f]
  for_each_row(n, kExpWork * f, [&](int64_t row) {
    swiglu(gate_.data() + row * f, up_.data() + row * f, f, product_.data() + row * f);  // [n][f]
  });
  if (out == nullptr) {
    reduce(Role::kFfnDown, layer, pass, product_.data());
    return;
  }
  std::copy_n(middle, int64_t{n} * d, out);
  linear(Role::kFfnDown, layer, pass, product_.data(), out, true);  // [n][d]
}

// d_residual: the derivative by the layer's output, then by its input (not in the first layer,
// below which nothing learns).
void Trainer::layer_backward(int32_t layer, const PackedSequence& sequence, const Pass& pass,
                             const float* in, float* d_residual) {
  const int32_t n = pass.rows, d = shape_.hidden, f = shape_.ffn;
  float *d_normed = d_normed_.data(), *d_product = d_product_.data();
  float *gate = gate_.data(), *up = up_.data();
  float *d_query = d_query_.data(), *d_key = d_key_.data(), *d_value = d_value_.data();
  const auto norm_backward = [&](Role role, const float* x) {
    for_each_row(n, kRowWork * d, [&](int64_t row) {
      rms_norm_backward(x + row * d, weights_.norm(role, layer), d_normed + row * d, d,
                        shape_.rms_epsilon, d_residual + row * d);
    });
  };
  linear_backward(Role::kFfnDown, layer, pass, product_.data(), d_residual, d_product, false);
  for_each_row(n, kExpWork * f, [&](int64_t row) {
    const int64_t at = row * f;
    swiglu_backward(gate + at, up + at, d_product + at, f, gate + at, up + at);  // now d_gate, d_up
  });
  linear_backward(Role::kFfnGate, layer, pass, normed_middle_.data(), gate, d_normed, false);
  linear_backward(Role::kFfnUp, layer, pass, normed_middle_.data(), up, d_normed, true);
  norm_backward(Role::kFfnNorm, middle_.data());  // d_residual: by middle
  linear_backward(Role::kAttentionOutput, layer, pass, attended_.data(), d_residual,
                  d_attended_.data(), false);
  attention_.backward(sequence.samples, n, query_.data(), key_.data(), value_.data(),
                      attended_.data(), log_sums_.data(), d_attended_.data(), d_query, d_key,
                      d_value);
  rotate(d_query, d_key, n, -1);
  float* wanted = layer > 0 ? d_normed : nullptr;
  linear_backward(Role::kQuery, layer, pass, normed_.data(), d_query, wanted, false);
  linear_backward(Role::kKey, layer, pass, normed_.data(), d_key, wanted, true);
  linear_backward(Role::kValue, layer, pass, normed_.data(), d_value, wanted, true);
  if (wanted != nullptr) norm_backward(Role::kAttentionNorm, in);
}

// The sum of the losses of rows that have a label, and where `d_residual` is not null `scale` times
// its derivative by the residual [n][d]. Logits are held of a few rows at a time.
double Trainer::loss(const PackedSequence& sequence, const float* residual, float scale,
                     float* d_residual) {
  const int32_t n = static_cast<int32_t>(sequence.tokens.size()), d = shape_.hidden,
                v = shape_.vocabulary;
  std::vector<int32_t> learned;
  for (int32_t row = 0; row < n; ++row) {
    if (sequence.labels[static_cast<size_t>(row)] >= 0) learned.push_back(row);
  }
  const float* norm = weights_.norm(Role::kOutputNorm, 0);
  const WeightData& output = weight(Role::kOutput, 0);
  float *normed = normed_.data(), *d_normed = d_normed_.data(), *logits = logits_.data();
  if (d_residual != nullptr) std::fill_n(d_residual, int64_t{n} * d, 0.0f);
  double sum = 0;
  for (size_t first = 0; first < learned.size(); first += kLossRows) {
    const int32_t* rows = learned.data() + first;
    const auto count = static_cast<int32_t>(std::min<size_t>(kLossRows, learned.size() - first));
    double losses[kLossRows];
    for_each_row(count, kRowWork * d, [&](int64_t i) {
      rms_norm(residual + int64_t{rows[i]} * d, norm, d, shape_.rms_epsilon, normed + i * d);
    });
    products_.forward(normed, count, output, logits, false);  // [count][v]
    for_each_row(count, kExpWork * v, [&](int64_t i) {
      losses[i] = cross_entropy(logits + i * v, v, sequence.labels[static_cast<size_t>(rows[i])],
                                d_residual == nullptr ? 0 : scale);
    });
    for (int32_t i = 0; i < count; ++i) sum += losses[i];
    if (d_residual == nullptr) continue;
    products_.backward(logits, count, output, d_normed, false);  // [count][d]
    for_each_row(count, kRowWork * d, [&](int64_t i) {
      rms_norm_backward(residual + int64_t{rows[i]} * d, norm, d_normed + i * d, d,
                        shape_.rms_epsilon, d_residual + int64_t{rows[i]} * d);
    });
  }
  return sum;
}

std::optional<double> Trainer::run(const PackedSequence& sequence, const Pass& pass, float scale,
                                   bool learn) {
  const int64_t row_floats = int64_t{pass.rows} * shape_.hidden;
  // Where nothing is learned, no layer's input is needed when it is done.
  const auto residual = [&](int32_t layer) {
    return residuals_.data() + (learn ? layer : layer % 2) * row_floats;
  };
  embed(sequence.tokens, residual(0));
  fill_rotations(sequence.samples);
  for (int32_t layer = 0; layer < shape_.layers; ++layer) {
    if (cancelled_) return std::nullopt;
    layer_forward(layer, sequence, pass, residual(layer), residual(layer + 1));
  }
  const double sum =
      loss(sequence, residual(shape_.layers), scale, learn ? d_residual_.data() : nullptr);
  for (int32_t layer = shape_.layers - 1; learn && layer >= 0; --layer) {
    if (cancelled_) return std::nullopt;
    layer_forward(layer, sequence, pass, residual(layer), nullptr);
    layer_backward(layer, sequence, pass, residual(layer), d_residual_.data());
  }
  files_.check_unchanged();
  return sum;
}

std::optional<double> Trainer::accumulate(const PackedSequence& sequence, float scale,
                                          uint64_t number) {
  const Pass pass{static_cast<int32_t>(sequence.tokens.size()), options_.dropout > 0, number};
  return run(sequence, pass, scale, true);
}

std::optional<double> Trainer::evaluate(const PackedSequence& sequence) {
  return run(sequence, {static_cast<int32_t>(sequence.tokens.size()), false, 0}, 0, false);
}

void Trainer::forget_gradient() { std::fill(gradient_.begin(), gradient_.end(), 0.0f); }

double Trainer::update(const AdamW& options) {
  const auto count = static_cast<int64_t>(gradient_.size());
  const auto chunks = static_cast<int32_t>((count + kStateChunk - 1) / kStateChunk);
  std::vector<double> squares(static_cast<size_t>(chunks));
  const auto for_each_chunk = [&](auto use) {
    workers_.run(chunks, kRowWork * static_cast<double>(count), [&](int32_t chunk, int) {
      use(chunk, chunk * kStateChunk, std::min(count, (chunk + 1) * kStateChunk));
    });
  };
  for_each_chunk([&](int32_t chunk, int64_t first, int64_t last) {
    double sum = 0;
    for (int64_t i = first; i < last; ++i) {
      const double g = gradient_[static_cast<size_t>(i)];
      sum += g * g;
    }
    squares[static_cast<size_t>(chunk)] = sum;
  });
  double sum = 0;
  for (const double square : squares) sum += square;
  const double norm = std::sqrt(sum);
  if (!std::isfinite(norm)) {
    forget_gradient();
    return norm;
  }
  const bool clipped = options.most_norm > 0 && norm > options.most_norm;
  const float factor = clipped ? static_cast<float>(options.most_norm / norm) : 1;
  const double correction1 = 1 - std::pow(options.beta1, options.step),
               correction2 = 1 - std::pow(options.beta2, options.step);
  const float step_size = static_cast<float>(options.learning_rate / correction1);
  const float root = static_cast<float>(std::sqrt(correction2));
  const float decay = 1 - options.learning_rate * options.weight_decay;
  for_each_chunk([&](int32_t, int64_t first, int64_t last) {
    float *p = states_[0].data(), *m = states_[1].data(), *v = states_[2].data();
    for (int64_t i = first; i < last; ++i) {
      const float g = gradient_[static_cast<size_t>(i)] * factor;
      m[i] = options.beta1 * m[i] + (1 - options.beta1) * g;
      v[i] = options.beta2 * v[i] + (1 - options.beta2) * g * g;
      p[i] = p[i] * decay - step_size * m[i] / (std::sqrt(v[i]) / root + options.epsilon);
      gradient_[static_cast<size_t>(i)] = 0;
    }
  });
  return norm;
}

}  // namespace tramontane::train
