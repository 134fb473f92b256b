// The CPU backend through its seam: a tiny model of random weights against double precision, the
// same bits however the work is cut, and callers that break rules.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "backend/abi.h"
#include "backend/backend.h"
#include "base/half.h"
#include "cpu/backend/cpu_backend.h"
#include "cpu/backend/cpu_backend_linear.h"
#include "model/transformer.h"
#include "test.h"

namespace tramontane::cpu {
namespace {

struct Destroy {
  void operator()(Backend* backend) const { backend->destroy(); }
};
using BackendPointer = std::unique_ptr<Backend, Destroy>;

constexpr int kWindow = 40, kPages = 24;

ModelShape tiny_shape(RopePairing pairing = RopePairing::kHalves) {
  return {.layers = 2,
          .hidden = 64,
          .ffn = 160,
          .heads = 8,
          .kv_heads = 2,
          .head_size = 16,
          .vocabulary = 200,
          .rms_epsilon = 1e-5f,
          .rope_base = 1e4f,
          .rope_pairing = pairing};
}

BackendOptions tiny_options(Compute compute, KvType kv_type, int threads) {
  return {.seam_hash = kSeamHash,
          .shape = tiny_shape(),
          .window = kWindow,
          .pages = kPages,
          .max_rows = 128,
          .max_outputs = 128,
          .threads = threads,
          .kv_type = kv_type,
          .compute = compute,
          .device = 0};
}

// Weights in F32, F16, Q8_0 and Q4_0 by turns, in bytes as a file has them. With GPTQ, the ones
// that share an input have equal, other and no orders of it.
class TinyModel {
 public:
  explicit TinyModel(const ModelShape& shape, bool gptq = false)
      : shape_(shape), gptq_(gptq), random_(17) {
    const int query = shape.heads * shape.head_size, key = shape.kv_heads * shape.head_size;
    add(Role::kTokenEmbedding, 0, shape.vocabulary, shape.hidden);
    add(Role::kOutputNorm, 0, 1, shape.hidden);
    add(Role::kOutput, 0, shape.vocabulary, shape.hidden);
    for (int layer = 0; layer < shape.layers; ++layer) {
      add(Role::kAttentionNorm, layer, 1, shape.hidden);
      add(Role::kQuery, layer, query, shape.hidden);
      add(Role::kKey, layer, key, shape.hidden);
      add(Role::kValue, layer, key, shape.hidden);
      add(Role::kAttentionOutput, layer, shape.hidden, query);
      add(Role::kFfnNorm, layer, 1, shape.hidden);
      add(Role::kFfnGate, layer, shape.ffn, shape.hidden);
      add(Role::kFfnUp, layer, shape.ffn, shape.hidden);
      add(Role::kFfnDown, layer, shape.hidden, shape.ffn);
    }
  }

  struct Weight {
    Role role;
    int32_t layer;
    WeightData data;
    std::vector<uint8_t> bytes, zeros, scales, groups;
    std::vector<float> exact;  // [rows][columns]
  };
  const std::vector<std::unique_ptr<Weight>>& weights() const { return weights_; }
  const Weight& weight(Role role, int32_t layer) const { return *index_.at({role, layer}); }
  const ModelShape& shape() const { return shape_; }

  void load(Backend& backend) const {
    for (const auto& weight : weights_) {
      CHECK(backend.set_weight(weight->role, weight->layer, weight->data) == Status::kOk);
    }
    CHECK(backend.finish_loading() == Status::kOk);
  }

 private:
  void add(Role role, int32_t layer, int32_t rows, int32_t columns) {
    static const std::map<Role, uint32_t> kOrders = {{Role::kQuery, 5},
                                                     {Role::kKey, 5},
                                                     {Role::kFfnGate, 6},
                                                     {Role::kFfnUp, 7},
                                                     {Role::kFfnDown, 0}};
    const auto order = kOrders.find(role);
    if (gptq_ && order != kOrders.end()) {
      add_gptq(role, layer, rows, columns, order->second);
    } else {
      add_plain(role, layer, rows, columns);
    }
  }

  // Four bits, groups of 32 inputs, which are shuffled by a seed that is not 0.
  void add_gptq(Role role, int32_t layer, int32_t rows, int32_t columns, uint32_t order_seed) {
    auto weight = std::make_unique<Weight>();
    const int32_t groups = columns / 32;
    // One byte in front, as in add_plain().
    for (auto* bytes : {&weight->bytes, &weight->zeros, &weight->scales, &weight->groups}) {
      bytes->push_back(0);
    }
    for (int32_t i = 0; i < columns * rows / 2; ++i) {
      weight->bytes.push_back(static_cast<uint8_t>(random_()));
    }
    for (int32_t i = 0; i < groups * rows / 2; ++i) {
      weight->zeros.push_back(static_cast<uint8_t>(0x66 + 0x11 * (random_() % 3)));
    }
    for (int32_t i = 0; i < groups * rows; ++i) append(weight->scales, f32_to_f16(0.026f));
    std::vector<int32_t> order;
    for (int32_t i = 0; i < columns; ++i) order.push_back(i / 32);
    std::shuffle(order.begin(), order.end(), std::mt19937(order_seed));
    for (const int32_t group : order) append(weight->groups, group);
    weight->data = {Format::kGptq,
                    rows,
                    columns,
                    weight->bytes.data() + 1,
                    {4, 32, 1, Format::kF16, weight->zeros.data() + 1, weight->scales.data() + 1,
                     order_seed == 0 ? nullptr : weight->groups.data() + 1}};
    weight->exact.resize(static_cast<size_t>(rows) * static_cast<size_t>(columns));
    decode_gptq(weight->data, 0, rows, weight->exact.data());
    keep(role, layer, std::move(weight));
  }

  void add_plain(Role role, int32_t layer, int32_t rows, int32_t columns) {
    static constexpr Format kFormats[] = {Format::kQ4_0, Format::kF32, Format::kQ8_0, Format::kF16};
    const Format format = rows == 1 ? Format::kF32 : kFormats[next_++ % 4];
    const FormatInfo& info = format_info(format);
    auto weight = std::make_unique<Weight>();
    // One byte in front: nothing in a file is promised to be aligned.
    weight->bytes.push_back(0);
    std::normal_distribution<float> normal(rows == 1 ? 1.0f : 0.0f, rows == 1 ? 0.2f : 0.12f);
    const int64_t values = static_cast<int64_t>(rows) * columns;
    for (int64_t i = 0; i < values; i += info.block_values) {
      if (format == Format::kF32) {
        append(weight->bytes, normal(random_));
      } else if (format == Format::kF16) {
        append(weight->bytes, f32_to_f16(normal(random_)));
      } else {
        append(weight->bytes, f32_to_f16(format == Format::kQ8_0 ? 0.0016f : 0.026f));
        for (int byte = 2; byte < info.block_bytes; ++byte) {
          weight->bytes.push_back(static_cast<uint8_t>(random_()));
        }
      }
    }
    weight->data = {format, rows, columns, weight->bytes.data() + 1};
    weight->exact.resize(static_cast<size_t>(values));
    decode_blocks(format, weight->data.data, values / info.block_values, weight->exact.data());
    keep(role, layer, std::move(weight));
  }

  void keep(Role role, int32_t layer, std::unique_ptr<Weight> weight) {
    weight->role = role;
    weight->layer = layer;
    index_[{role, layer}] = weight.get();
    weights_.push_back(std::move(weight));
  }

  template <typename T>
  static void append(std::vector<uint8_t>& bytes, T value) {
    const uint8_t* from = reinterpret_cast<const uint8_t*>(&value);
    bytes.insert(bytes.end(), from, from + sizeof value);
  }

  ModelShape shape_;
  bool gptq_;
  std::mt19937 random_;
  int next_ = 0;
  std::vector<std::unique_ptr<Weight>> weights_;
  std::map<std::pair<Role, int32_t>, const Weight*> index_;
};

// The whole model in double precision, without a cache: logits [tokens][vocabulary].
class Reference {
 public:
  explicit Reference(const TinyModel& model) : model_(model), shape_(model.shape()) {}

  std::vector<double> logits(const std::vector<int32_t>& tokens) const {
    const size_t n = tokens.size(), hidden = static_cast<size_t>(shape_.hidden);
    std::vector<double> x(n * hidden);
    const std::vector<float>& embedding = model_.weight(Role::kTokenEmbedding, 0).exact;
    for (size_t r = 0; r < n; ++r) {
      std::copy_n(embedding.begin() + tokens[r] * shape_.hidden, hidden,
                  x.begin() + static_cast<int64_t>(r * hidden));
    }
    for (int32_t layer = 0; layer < shape_.layers; ++layer) {
      const std::vector<double> normed = norm(x, Role::kAttentionNorm, layer);
      std::vector<double> query = multiply(normed, Role::kQuery, layer);
      std::vector<double> key = multiply(normed, Role::kKey, layer);
      rotate(query, n);
      rotate(key, n);
      const std::vector<double> value = multiply(normed, Role::kValue, layer);
      add(x, multiply(attend(query, key, value, n), Role::kAttentionOutput, layer));
      const std::vector<double> ffn_normed = norm(x, Role::kFfnNorm, layer);
      std::vector<double> gate = multiply(ffn_normed, Role::kFfnGate, layer);
      const std::vector<double> up = multiply(ffn_normed, Role::kFfnUp, layer);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      add(x, multiply(gate, Role::kFfnDown, layer));
    }
    return multiply(norm(x, Role::kOutputNorm, 0), Role::kOutput, 0);
  }

 private:
  std::vector<double> norm(const std::vector<double>& x, Role role, int32_t layer) const {
    const std::vector<float>& weight = model_.weight(role, layer).exact;
    const size_t hidden = weight.size();
    std::vector<double> out(x.size());
    for (size_t first = 0; first < x.size(); first += hidden) {
      double sum = 0;
      for (size_t i = 0; i < hidden; ++i) sum += x[first + i] * x[first + i];
      const double scale =
          1 / std::sqrt(sum / static_cast<double>(hidden) + static_cast<double>(1e-5f));
      for (size_t i = 0; i < hidden; ++i) out[first + i] = x[first + i] * scale * weight[i];
    }
    return out;
  }

  std::vector<double> multiply(const std::vector<double>& x, Role role, int32_t layer) const {
    const TinyModel::Weight& weight = model_.weight(role, layer);
    const size_t rows = static_cast<size_t>(weight.data.rows);
    const size_t columns = static_cast<size_t>(weight.data.columns);
    std::vector<double> out;
    for (size_t first = 0; first < x.size(); first += columns) {
      for (size_t o = 0; o < rows; ++o) {
        double sum = 0;
        for (size_t i = 0; i < columns; ++i) sum += x[first + i] * weight.exact[o * columns + i];
        out.push_back(sum);
      }
    }
    return out;
  }

  void rotate(std::vector<double>& x, size_t n) const {
    const size_t size = static_cast<size_t>(shape_.head_size), half = size / 2;
    const size_t width = x.size() / n;
    for (size_t i = 0; i < x.size() / 2; ++i) {
      const size_t head = i / half * size, pair = i % half, position = head / width;
      const bool halves = shape_.rope_pairing == RopePairing::kHalves;
      double& a = x[head + (halves ? pair : 2 * pair)];
      double& b = x[head + (halves ? pair + half : 2 * pair + 1)];
      const double angle =
          static_cast<double>(position) *
          std::pow(shape_.rope_base, -2.0 * static_cast<double>(pair) / static_cast<double>(size));
      const double rotated = a * std::cos(angle) - b * std::sin(angle);
      b = b * std::cos(angle) + a * std::sin(angle);
      a = rotated;
    }
  }

  std::vector<double> attend(const std::vector<double>& query, const std::vector<double>& key,
                             const std::vector<double>& value, size_t n) const {
    const size_t heads = static_cast<size_t>(shape_.heads),
                 size = static_cast<size_t>(shape_.head_size);
    const size_t kv_heads = static_cast<size_t>(shape_.kv_heads);
    std::vector<double> out(query.size());
    for (size_t p = 0; p < n; ++p) {
      for (size_t h = 0; h < heads; ++h) {
        const size_t to = (p * heads + h) * size;
        double total = 0;
        for (size_t k = p + 1 > kWindow ? p + 1 - kWindow : 0; k <= p; ++k) {
          const size_t from = (k * kv_heads + h / (heads / kv_heads)) * size;
          double score = 0;
          for (size_t i = 0; i < size; ++i) score += query[to + i] * key[from + i];
          const double weight = std::exp(score / std::sqrt(static_cast<double>(size)));
          total += weight;
          for (size_t i = 0; i < size; ++i) out[to + i] += weight * value[from + i];
        }
        for (size_t i = 0; i < size; ++i) out[to + i] /= total;
      }
    }
    return out;
  }

  static void add(std::vector<double>& x, const std::vector<double>& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  const TinyModel& model_;
  const ModelShape shape_;
};

void forward(Backend& backend, const Step& step) {
  CHECK(tramontane::forward(backend, tiny_shape(), step, [] { return false; }));
}

std::vector<int32_t> random_tokens(int n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>(random() % static_cast<uint32_t>(tiny_shape().vocabulary));
  }
  return tokens;
}

// Logits of all rows of some sequences, fed chunk by chunk side by side. Their rings have room for
// four pages each, in chunks of at most 48.
std::vector<std::vector<float>> run(Backend& backend,
                                    const std::vector<std::vector<int32_t>>& sequences, int chunk) {
  constexpr int kRing = 4;
  const size_t vocabulary = static_cast<size_t>(tiny_shape().vocabulary);
  std::vector<std::vector<float>> logits(sequences.size());
  std::vector<int32_t> pages(sequences.size() * kRing);
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>((i * 5) % kPages);
  for (size_t position = 0;; position += static_cast<size_t>(chunk)) {
    std::vector<int32_t> tokens, outputs;
    std::vector<SequenceSlice> slices;
    std::vector<size_t> members;
    for (size_t s = 0; s < sequences.size(); ++s) {
      if (position >= sequences[s].size()) continue;
      const size_t rows = std::min(static_cast<size_t>(chunk), sequences[s].size() - position);
      slices.push_back({static_cast<int32_t>(tokens.size()), static_cast<int32_t>(rows),
                        static_cast<int32_t>(position), pages.data() + s * kRing, kRing, 0});
      members.push_back(s);
      for (size_t row = 0; row < rows; ++row) {
        outputs.push_back(static_cast<int32_t>(tokens.size()));
        tokens.push_back(sequences[s][position + row]);
      }
    }
    if (tokens.empty()) return logits;
    forward(backend, {tokens.data(), static_cast<int32_t>(tokens.size()), slices.data(),
                      static_cast<int32_t>(slices.size()), outputs.data(),
                      static_cast<int32_t>(outputs.size())});
    for (size_t i = 0; i < slices.size(); ++i) {
      std::vector<float>& to = logits[members[i]];
      for (int32_t row = 0; row < slices[i].rows; ++row) {
        to.resize(to.size() + vocabulary);
        CHECK(backend.read_logits(slices[i].first_row + row, to.data() + to.size() - vocabulary) ==
              Status::kOk);
      }
    }
    CHECK(backend.end_step() == Status::kOk);
  }
}

BackendPointer make(const TinyModel& model, const Implementation& implementation, Compute compute,
                    KvType kv_type, int threads) {
  BackendOptions options = tiny_options(compute, kv_type, threads);
  options.shape = model.shape();
  BackendPointer backend(new CpuBackend(options, implementation));
  model.load(*backend);
  return backend;
}

template <typename Test>
void for_each_implementation(Test test) {
  for (const Implementation& implementation : implementations()) {
    if (implementation.supported()) test(implementation);
  }
}

double normalized_error(const std::vector<float>& a, const std::vector<double>& b) {
  double error = 0, power = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    power += b[i] * b[i];
  }
  return a.size() == b.size() && error >= 0 ? error / power : 1e9;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST("logits in f32 equal the model in double, with both rope pairings and GPTQ") {
  for (const bool halves : {false, true}) {
    const TinyModel model(tiny_shape(halves ? RopePairing::kHalves : RopePairing::kNeighbours),
                          halves);
    const std::vector<int32_t> tokens = random_tokens(150, 1);
    const std::vector<double> expected = Reference(model).logits(tokens);
    for_each_implementation([&](const Implementation& implementation) {
      const BackendPointer backend = make(model, implementation, Compute::kF32, KvType::kF32, 2);
      const std::vector<float> logits = run(*backend, {tokens}, 32)[0];
      double worst = 0, largest = 0;
      for (size_t i = 0; i < logits.size(); ++i) {
        worst = std::max(worst, std::fabs(logits[i] - expected[i]));
        largest = std::max(largest, std::fabs(expected[i]));
      }
      CHECK(largest > 2 && largest < 100);
      CHECK_NEAR(worst, 0, 1e-4);
      CHECK(normalized_error(logits, expected) < 1e-10);
    });
  }
}

TEST("logits with int8 activations and f16 pages stay near the model in double") {
  for (const bool gptq : {false, true}) {
    const TinyModel model(tiny_shape(), gptq);
    const std::vector<int32_t> tokens = random_tokens(150, 2);
    const std::vector<double> expected = Reference(model).logits(tokens);
    for_each_implementation([&](const Implementation& implementation) {
      const BackendPointer backend = make(model, implementation, Compute::kInt8, KvType::kF16, 2);
      CHECK(normalized_error(run(*backend, {tokens}, 32)[0], expected) < 1e-3);
    });
  }
}

TEST("every implementation gives the same logits, to the bit") {
  for (const bool gptq : {false, true}) {
    const TinyModel model(tiny_shape(), gptq);
    const std::vector<int32_t> tokens = random_tokens(150, 14);
    const auto check = [&](Compute compute, KvType kv_type) {
      std::vector<float> expected;
      for_each_implementation([&](const Implementation& implementation) {
        const BackendPointer backend = make(model, implementation, compute, kv_type, 2);
        for (const int chunk : {1, 7, 48}) {
          const std::vector<float> logits = run(*backend, {tokens}, chunk)[0];
          if (expected.empty()) expected = logits;
          CHECK(same_bits(logits, expected));
        }
      });
    };
    check(Compute::kInt8, KvType::kF16);
    check(Compute::kF32, KvType::kF32);
  }
}

TEST("a row's logits are the same bits for every chunking, batch and thread count") {
  const std::vector<std::vector<int32_t>> sequences = {random_tokens(150, 3), random_tokens(1, 4),
                                                       random_tokens(70, 5)};
  const auto check = [&](const TinyModel& model, const Implementation& implementation,
                         Compute compute, KvType kv_type) {
    const BackendPointer one = make(model, implementation, compute, kv_type, 1);
    std::vector<std::vector<float>> alone;
    for (const auto& sequence : sequences) alone.push_back(run(*one, {sequence}, 40)[0]);
    for (const int threads : {1, 2, 3}) {
      const BackendPointer backend = make(model, implementation, compute, kv_type, threads);
      for (const int chunk : {1, 5, 31, 40}) {
        const auto together = run(*backend, sequences, chunk);
        for (size_t s = 0; s < sequences.size(); ++s) CHECK(same_bits(together[s], alone[s]));
      }
    }
  };
  const TinyModel model(tiny_shape()), gptq(tiny_shape(), true);
  for_each_implementation([&](const Implementation& implementation) {
    check(model, implementation, Compute::kInt8, KvType::kF16);
    check(model, implementation, Compute::kF32, KvType::kF32);
    check(gptq, implementation, Compute::kInt8, KvType::kF16);
  });
}

TEST("threads begin with equal parts of a product, in order, without a gap") {
  for (const int32_t granularity : {1, 16, 48}) {
    for (const int32_t outputs : {1, 47, 48, 1000, 4096, 32000}) {
      for (const int threads : {1, 2, 3, 7, 64}) {
        int32_t end = 0;
        for (int thread = 0; thread < threads; ++thread) {
          const auto [first, last] = part_of(outputs, thread, threads, granularity);
          CHECK_EQ(first, end);
          CHECK(first == outputs || first % granularity == 0);
          CHECK(last - first <= outputs / threads + granularity);
          end = last;
        }
        CHECK_EQ(end, outputs);
      }
    }
  }
}

TEST("long rows are quantized in pieces, to the bits of whole ones") {
  constexpr int32_t kRows = 5, kColumns = 2080, kOutputs = 48;
  constexpr size_t kValues = size_t{kRows} * kColumns;
  std::mt19937 random(3);
  std::vector<float> in(kValues);
  for (float& value : in) value = static_cast<float>(random() % 2001) / 1000 - 1;
  std::vector<uint8_t> bytes(size_t{kOutputs} * kColumns / 32 * 34);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() & 0xbf);  // Finite halves.
  Matrix matrix;
  matrix.data = {Format::kQ8_0, kOutputs, kColumns, bytes.data()};
  matrix.takes_int8 = true;
  for (const Implementation& implementation : implementations()) {
    if (!implementation.supported()) continue;
    const LinearKernels& kernels = *implementation.linear;
    AlignedBuffer<int8_t> q;
    AlignedBuffer<float> scales;
    AlignedBuffer<int16_t> sums;
    AlignedBuffer<uint8_t> scratch;
    q.reserve(size_t{kRows} * quantized_stride(kColumns));
    scales.reserve(kValues / 32);
    sums.reserve(kValues / 16);
    scratch.reserve(kernels.scratch_bytes(kColumns, kRows));
    for (int32_t row = 0; row < kRows; ++row) {
      kernels.quantize(&in[row * kColumns], kColumns, q.data() + row * quantized_stride(kColumns),
                       scales.data() + row * (kColumns / 32), sums.data() + row * (kColumns / 16));
    }
    const Activations whole = {kRows, kColumns, in.data(), q.data(), scales.data(), sums.data()};
    std::vector<float> expected(size_t{kRows} * kOutputs), out(expected.size());
    kernels.linear(
        {&matrix.data, &whole, 0, kOutputs, expected.data(), kOutputs, false, scratch.data()});
    const Workers workers(3);
    LinearLayers layers(kernels, Compute::kInt8, workers);
    const LinearOutput output = {&matrix, out.data()};
    layers.run(&output, 1, in.data(), kRows, false);
    CHECK(out == expected);
  }
}

TEST("the asked rows' logits are those of these rows, and none may be asked") {
  const TinyModel model(tiny_shape());
  for_each_implementation([&](const Implementation& implementation) {
    const BackendPointer backend = make(model, implementation, Compute::kInt8, KvType::kF16, 2);
    const std::vector<int32_t> tokens = random_tokens(20, 6);
    const std::vector<float> all = run(*backend, {tokens}, 20)[0];
    const int32_t pages[] = {0, 1, 2, 3}, outputs[] = {3, 4, 19};
    const SequenceSlice slice = {0, 20, 0, pages, 4, 0};
    std::vector<float> logits(200);
    forward(*backend, {tokens.data(), 20, &slice, 1, outputs, 3});
    for (const int32_t i : {2, 0, 1}) {
      CHECK(backend->read_logits(i, logits.data()) == Status::kOk);
      CHECK(std::memcmp(logits.data(), all.data() + outputs[i] * 200, 800) == 0);
    }
    CHECK(backend->end_step() == Status::kOk);
    forward(*backend, {tokens.data(), 20, &slice, 1, nullptr, 0});
    CHECK(backend->read_logits(0, logits.data()) == Status::kInvalid);
    CHECK(backend->end_step() == Status::kOk);
  });
}

TEST("sampling several rows gives each its own result and leaves the logits alone") {
  const TinyModel model(tiny_shape());
  for_each_implementation([&](const Implementation& implementation) {
    const BackendPointer backend = make(model, implementation, Compute::kInt8, KvType::kF16, 2);
    const std::vector<int32_t> tokens = random_tokens(20, 7);
    const int32_t pages[] = {0}, outputs[] = {0, 7, 19};
    const SequenceSlice slice = {0, 20, 0, pages, 1, 0};
    forward(*backend, {tokens.data(), 20, &slice, 1, outputs, 3});
    std::vector<float> before(200), after(200);
    TokenLogit top[3][1];
    SampleRow rows[3] = {};
    SampleResult results[3] = {};
    const int32_t banned = 11;
    const float ban = -std::numeric_limits<float>::infinity();
    for (int i = 0; i < 3; ++i) {
      rows[i] = {2 - i, 0, 0, 1, 0, 0, &banned, &ban, 1, nullptr, nullptr, 0, 1, 0, 0, nullptr, 1};
      results[i].top = top[i];
    }
    CHECK(backend->read_logits(1, before.data()) == Status::kOk);
    CHECK(backend->sample(rows, 3, results) == Status::kOk);
    CHECK(backend->read_logits(1, after.data()) == Status::kOk);
    CHECK(same_bits(before, after));
    for (int i = 0; i < 3; ++i) {
      CHECK(backend->read_logits(2 - i, after.data()) == Status::kOk);
      const auto best = std::max_element(after.begin(), after.end());
      CHECK_EQ(top[i][0].token, static_cast<int32_t>(best - after.begin()));
      after[11] = ban;
      CHECK_EQ(results[i].token,
               static_cast<int32_t>(std::max_element(after.begin(), after.end()) - after.begin()));
    }
    rows[1].output = 3;
    CHECK(backend->sample(rows, 3, results) == Status::kInvalid);
    CHECK(backend->end_step() == Status::kOk);
  });
}

TEST("calls out of order are refused, and what follows in order works") {
  const TinyModel model(tiny_shape());
  BackendPointer backend(
      new CpuBackend(tiny_options(Compute::kInt8, KvType::kF16, 2), implementations().back()));
  const Projection projection = {Role::kQuery, Buffer::kQuery};
  const int32_t token = 1, page = 0, output = 0;
  const SequenceSlice slice = {0, 1, 0, &page, 1, 0};
  const Step step = {&token, 1, &slice, 1, &output, 1};
  std::vector<float> logits(200);
  const SampleRow row = {0,       1,       0, 1, 0, 0, nullptr, nullptr, 0,
                         nullptr, nullptr, 0, 1, 0, 0, nullptr, 0};
  SampleResult result{};
  const auto refused = [&](Status status) {
    CHECK(status == Status::kInvalid);
    CHECK(std::strlen(backend->last_error()) > 0);
  };
  const auto all_refused = [&] {
    refused(backend->embed());
    refused(backend->rms_norm(Role::kFfnNorm, 0));
    refused(backend->linear(&projection, 1, 0, Buffer::kNormed));
    refused(backend->linear_add(Role::kFfnDown, 0, Buffer::kGate));
    refused(backend->rope_and_store(0));
    refused(backend->attend(0));
    refused(backend->swiglu());
    refused(backend->output_logits());
    refused(backend->sample(&row, 1, &result));
    refused(backend->read_logits(0, logits.data()));
    refused(backend->end_step());
  };
  refused(backend->begin_step(step));
  all_refused();
  refused(backend->finish_loading());
  CHECK(std::string(backend->last_error()).find("token embedding") != std::string::npos);
  model.load(*backend);
  refused(backend->finish_loading());
  refused(backend->set_weight(Role::kQuery, 0, model.weight(Role::kQuery, 0).data));
  all_refused();
  CHECK(backend->begin_step(step) == Status::kOk);
  refused(backend->begin_step(step));
  refused(backend->sample(&row, 1, &result));
  refused(backend->read_logits(0, logits.data()));
  CHECK(backend->end_step() == Status::kOk);
  all_refused();
  forward(*backend, step);
  CHECK(backend->sample(&row, 1, &result) == Status::kOk);
  CHECK(backend->end_step() == Status::kOk);
}

TEST("a step that breaks the rules is refused, and the next one works") {
  const TinyModel model(tiny_shape());
  const BackendPointer backend =
      make(model, implementations().back(), Compute::kInt8, KvType::kF16, 1);
  const int32_t tokens[] = {1, 2, 3}, pages[] = {0}, outputs[] = {0, 2};
  const SequenceSlice slice = {0, 3, 0, pages, 1, 0};
  const Step good = {tokens, 3, &slice, 1, outputs, 2};
  const auto refused = [&](auto change) {
    Step step = good;
    change(step);
    CHECK(backend->begin_step(step) == Status::kInvalid);
    CHECK(backend->embed() == Status::kInvalid);
    CHECK(backend->begin_step(good) == Status::kOk);
    CHECK(backend->end_step() == Status::kOk);
  };
  const int32_t beyond[] = {1, 200, 3}, negative[] = {1, -1, 3};
  const int32_t twice[] = {2, 2}, falling[] = {2, 0}, outside[] = {0, 3}, below[] = {-1, 0};
  const int32_t far_pages[] = {kPages};
  const SequenceSlice far = {0, 3, 0, far_pages, 1, 0};
  refused([](Step& step) { step.rows = 0; });
  refused([](Step& step) { step.rows = 129; });
  refused([](Step& step) { step.tokens = nullptr; });
  refused([&](Step& step) { step.tokens = beyond; });
  refused([&](Step& step) { step.tokens = negative; });
  refused([](Step& step) { step.sequence_count = 0; });
  refused([](Step& step) { step.sequences = nullptr; });
  refused([&](Step& step) { step.sequences = &far; });
  refused([](Step& step) { step.outputs = -1; });
  refused([](Step& step) { step.outputs = 129; });
  refused([](Step& step) { step.output_rows = nullptr; });
  refused([&](Step& step) { step.output_rows = twice; });
  refused([&](Step& step) { step.output_rows = falling; });
  refused([&](Step& step) { step.output_rows = outside; });
  refused([&](Step& step) { step.output_rows = below; });
}

TEST("operations on what does not exist or does not fit are refused") {
  const TinyModel model(tiny_shape());
  const BackendPointer backend =
      make(model, implementations().back(), Compute::kInt8, KvType::kF16, 1);
  const int32_t token = 1, page = 0;
  const SequenceSlice slice = {0, 1, 0, &page, 1, 0};
  CHECK(backend->begin_step({&token, 1, &slice, 1, nullptr, 0}) == Status::kOk);
  const auto linear = [&](Role role, Buffer out, int32_t layer, Buffer in) {
    const Projection projection = {role, out};
    return backend->linear(&projection, 1, layer, in);
  };
  CHECK(linear(Role::kQuery, Buffer::kQuery, 0, Buffer::kNormed) == Status::kOk);
  CHECK(linear(Role::kQuery, Buffer::kQuery, 2, Buffer::kNormed) == Status::kInvalid);
  CHECK(linear(Role::kQuery, Buffer::kQuery, -1, Buffer::kNormed) == Status::kInvalid);
  CHECK(linear(Role::kQuery, Buffer::kKey, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(linear(Role::kQuery, Buffer::kQuery, 0, Buffer::kGate) == Status::kInvalid);
  CHECK(linear(Role::kFfnNorm, Buffer::kNormed, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(linear(Role::kOutput, Buffer::kLogits, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(linear(static_cast<Role>(99), Buffer::kQuery, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(linear(static_cast<Role>(-1), Buffer::kQuery, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(linear(Role::kQuery, static_cast<Buffer>(99), 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(linear(Role::kQuery, Buffer::kQuery, 0, static_cast<Buffer>(-1)) == Status::kInvalid);
  const Projection twice[] = {{Role::kKey, Buffer::kKey}, {Role::kValue, Buffer::kKey}};
  CHECK(backend->linear(twice, 2, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(backend->linear(twice, 0, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(backend->linear(twice, 4, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(backend->linear(nullptr, 1, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(backend->linear_add(Role::kFfnDown, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(backend->linear_add(Role::kFfnGate, 0, Buffer::kNormed) == Status::kInvalid);
  CHECK(backend->linear_add(Role::kFfnDown, 7, Buffer::kGate) == Status::kInvalid);
  CHECK(backend->rms_norm(Role::kQuery, 0) == Status::kInvalid);
  CHECK(backend->rms_norm(Role::kFfnNorm, 2) == Status::kInvalid);
  CHECK(backend->rope_and_store(2) == Status::kInvalid);
  CHECK(backend->attend(-1) == Status::kInvalid);
}

TEST("weights that do not fit their role are refused by name") {
  const TinyModel model(tiny_shape());
  const BackendPointer backend(
      new CpuBackend(tiny_options(Compute::kInt8, KvType::kF16, 1), implementations().back()));
  const WeightData good = model.weight(Role::kQuery, 0).data;
  const auto status = [&](auto change) {
    WeightData weight = good;
    change(weight);
    return backend->set_weight(Role::kQuery, 0, weight);
  };
  CHECK(status([](WeightData&) {}) == Status::kOk);
  CHECK(status([](WeightData& weight) { weight.rows = 127; }) == Status::kInvalid);
  CHECK(std::string(backend->last_error()).find("query weight (layer 0)") != std::string::npos);
  CHECK(status([](WeightData& weight) { weight.columns = 32; }) == Status::kInvalid);
  CHECK(status([](WeightData& weight) { weight.data = nullptr; }) == Status::kInvalid);
  CHECK(status([](WeightData& weight) { weight.format = Format::kQ4_K; }) == Status::kInvalid);
  CHECK(status([](WeightData& weight) { weight.format = static_cast<Format>(99); }) ==
        Status::kUnsupported);
  CHECK(status([](WeightData& weight) { weight.format = Format::kGptq; }) == Status::kInvalid);
  CHECK(backend->set_weight(Role::kQuery, 2, good) == Status::kInvalid);
  CHECK(backend->set_weight(Role::kOutput, 1, good) == Status::kInvalid);
  CHECK(backend->set_weight(static_cast<Role>(12), 0, good) == Status::kInvalid);

  const uint8_t bytes[4] = {};
  WeightData gptq = {
      Format::kGptq, 128, 64, bytes, {4, 32, 1, Format::kF16, bytes, bytes, nullptr}};
  CHECK(backend->set_weight(Role::kQuery, 0, gptq) == Status::kOk);
  gptq.gptq.bits = 5;
  CHECK(backend->set_weight(Role::kQuery, 0, gptq) == Status::kUnsupported);
  gptq.gptq = {4, 32, 1, Format::kF16, nullptr, bytes, nullptr};
  CHECK(backend->set_weight(Role::kQuery, 0, gptq) == Status::kInvalid);
  gptq.gptq = {4, 32, 1, Format::kQ4_0, bytes, bytes, nullptr};
  CHECK(backend->set_weight(Role::kQuery, 0, gptq) == Status::kInvalid);
  gptq.gptq = {4, 32, 1, Format::kF16, bytes, bytes, nullptr};
  gptq.rows = 200;
  CHECK(backend->set_weight(Role::kTokenEmbedding, 0, gptq) == Status::kUnsupported);
}

TEST("a GPTQ weight's copy in group order is taken, and refused with another length") {
  const TinyModel model(tiny_shape(), true);
  const WeightData& query = model.weight(Role::kQuery, 0).data;
  const uint64_t bytes = ordered_gptq_bytes(query, GptqOrder(query.gptq, query.columns));
  const std::vector<uint8_t> words(bytes + 4);
  for (const int change : {0, -4, 4}) {
    const BackendPointer backend(
        new CpuBackend(tiny_options(Compute::kInt8, KvType::kF16, 1), implementations().back()));
    for (const auto& weight : model.weights()) {
      WeightData data = weight->data;
      if (&weight->data == &query) {
        data.gptq.ordered = words.data();
        data.gptq.ordered_bytes = bytes + static_cast<uint64_t>(change);
      }
      CHECK(backend->set_weight(weight->role, weight->layer, data) == Status::kOk);
    }
    CHECK(backend->finish_loading() == (change == 0 ? Status::kOk : Status::kInvalid));
  }
}

TEST("the factory makes a backend, or says why not within the room it has") {
  Backend* backend = nullptr;
  char error[64];
  const auto create = [&](auto change) {
    BackendOptions options = tiny_options(Compute::kInt8, KvType::kF16, 2);
    change(options);
    std::memset(error, 'x', sizeof error);
    backend = reinterpret_cast<Backend*>(&options);
    return tramontane_create_cpu_backend(&options, &backend, error, 20);
  };
  const auto fails = [&](Status expected, auto change) {
    CHECK(create(change) == expected);
    CHECK(backend == nullptr);
    CHECK(std::memchr(error, 0, 20) != nullptr && error[0] != 0);
    CHECK_EQ(error[20], 'x');
  };
  CHECK(create([](BackendOptions&) {}) == Status::kOk);
  CHECK(backend != nullptr && std::strlen(backend->implementation()) > 0);
  if (backend != nullptr) backend->destroy();
  fails(Status::kInvalid, [](BackendOptions& options) { ++options.seam_hash; });
  fails(Status::kInvalid, [](BackendOptions& options) { options.shape.layers = 0; });
  fails(Status::kInvalid, [](BackendOptions& options) { options.shape.layers = 1 << 30; });
  fails(Status::kInvalid, [](BackendOptions& options) { options.shape.vocabulary = -1; });
  fails(Status::kInvalid, [](BackendOptions& options) { options.pages = 0; });
  fails(Status::kInvalid, [](BackendOptions& options) { options.max_rows = 0; });
  fails(Status::kInvalid, [](BackendOptions& options) { options.threads = 0; });
  fails(Status::kInvalid, [](BackendOptions& options) { options.window = -1; });
  fails(Status::kInvalid, [](BackendOptions& options) { options.kv_type = KvType(7); });
  fails(Status::kInvalid, [](BackendOptions& options) { options.compute = Compute(7); });
  fails(Status::kInvalid, [](BackendOptions& options) { options.shape.rope_base = 0.9f; });
  fails(Status::kInvalid, [](BackendOptions& options) {
    options.shape.rms_epsilon = std::numeric_limits<float>::quiet_NaN();
  });
  fails(Status::kInvalid,
        [](BackendOptions& options) { options.shape.heads = options.shape.head_size = 1 << 16; });
  fails(Status::kUnsupported, [](BackendOptions& options) { options.shape.head_size = 12; });
  fails(Status::kUnsupported, [](BackendOptions& options) { options.shape.kv_heads = 3; });
  fails(Status::kOutOfMemory, [](BackendOptions& options) {
    options.pages = std::numeric_limits<int32_t>::max();
    options.shape.kv_heads = options.shape.heads = 1 << 16;
    options.shape.layers = 1 << 12;
  });
  CHECK(tramontane_create_cpu_backend(nullptr, &backend, error, 20) == Status::kInvalid);
  CHECK(tramontane_create_cpu_backend(nullptr, &backend, nullptr, 0) == Status::kInvalid);
}

TEST("an implementation is chosen by name, and a name that is none lists those there are") {
  std::string error;
  const Implementation* best = choose_implementation(nullptr, &error);
  CHECK(best != nullptr && best->supported());
  CHECK(choose_implementation("", &error) == best);
  for (const Implementation& implementation : implementations()) {
    const Implementation* chosen = choose_implementation(implementation.name, &error);
    CHECK(chosen == (implementation.supported() ? &implementation : nullptr));
  }
  CHECK(std::string(implementations().back().name) == "scalar");
  error.clear();
  CHECK(choose_implementation("avx3", &error) == nullptr);
  CHECK(error.find("avx3") != std::string::npos && error.find("scalar") != std::string::npos);
}

}  // namespace
}  // namespace tramontane::cpu
