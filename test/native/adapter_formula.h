// Adapters of random numbers, and what they make of the outputs of linear layers in double
// precision, for the tests of every backend.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "backend/rules.h"
#include "base/half.h"
#include "test.h"

namespace tramontane::test {

inline std::vector<float> random_values(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// A matrix of floats as a file has it, and what it says. It ends where its allocation does, so that
// a sanitizer sees reads beyond.
struct FloatMatrix {
  FloatMatrix(Format format, int rows, int columns, unsigned seed)
      : decoded(random_values(int64_t{rows} * columns, seed)) {
    bytes.resize(decoded.size() * static_cast<size_t>(format_info(format).block_bytes));
    for (size_t i = 0; i < decoded.size(); ++i) {
      const uint32_t bits = bits_from_float(decoded[i]);
      const uint16_t half =
          format == Format::kF16 ? f32_to_f16(decoded[i]) : static_cast<uint16_t>(bits >> 16);
      if (format == Format::kF32) {
        std::memcpy(&bytes[4 * i], &bits, 4);
      } else {
        std::memcpy(&bytes[2 * i], &half, 2);
      }
    }
    decode_blocks(format, bytes.data(), static_cast<int64_t>(decoded.size()), decoded.data());
    data = {format, rows, columns, bytes.data()};
  }
  std::vector<float> decoded;
  std::vector<uint8_t> bytes;
  WeightData data{};
};

// Pairs of an adapter, in one layer.
class TestAdapter {
 public:
  static constexpr int kLayer = 1;
  struct Entry {
    Role role;
    std::unique_ptr<FloatMatrix> down, up;
    std::vector<float> magnitude;
    float scale;
  };

  explicit TestAdapter(const ModelShape& shape) : shape_(shape) {}
  void add(Role role, int rank, Format down, Format up, bool magnitudes, float scale) {
    const auto [rows, columns] = shape_of(role, shape_);
    const auto seed = static_cast<unsigned>(100 * rank) + static_cast<unsigned>(role);
    Entry entry{role,
                std::make_unique<FloatMatrix>(down, rank, columns, seed),
                std::make_unique<FloatMatrix>(up, rows, rank, seed + 50),
                {},
                scale};
    if (magnitudes) entry.magnitude = random_values(rows, seed + 60);
    entries_.push_back(std::move(entry));
  }
  std::vector<AdapterPair> pairs() const {
    std::vector<AdapterPair> all;
    for (const Entry& e : entries_) {
      all.push_back({e.role, kLayer, e.down->data, e.up->data, e.scale,
                     e.magnitude.empty() ? nullptr : e.magnitude.data()});
    }
    return all;
  }
  const Entry* find(Role role) const {
    for (const Entry& e : entries_) {
      if (e.role == role) return &e;
    }
    return nullptr;
  }

 private:
  const ModelShape shape_;
  std::vector<Entry> entries_;
};

// A step of sequences of some rows, each with an adapter, or none, and a scale.
struct AdaptedStep {
  struct Part {
    int rows;
    int32_t adapter;
    float scale;
  };
  explicit AdaptedStep(std::vector<Part> all) : parts(std::move(all)) {
    for (const Part& part : parts) {
      slices.push_back({rows, part.rows, 0, nullptr, 0, part.adapter, part.scale});
      rows += part.rows;
    }
    step.rows = rows;
    step.sequences = slices.data();
    step.sequence_count = static_cast<int32_t>(slices.size());
  }
  std::vector<Part> parts;
  std::vector<SequenceSlice> slices;
  int rows = 0;
  Step step{};
};

struct AdaptedValue {
  double value, size;  // The size of what was summed: rounding is a part of it.
};

// ((weight + s up down) in) * magnitude / |weight + s up down| + before, where weight * in is
// `product`. `weight` [rows][columns] is needed with magnitudes alone.
inline AdaptedValue adapted_value(const TestAdapter::Entry& e, const std::vector<float>& weight,
                                  const float* in, double product, double before, int output,
                                  double scale) {
  const int rank = e.down->data.rows, columns = e.down->data.columns;
  const double s = scale * double{e.scale};
  AdaptedValue result{product, std::fabs(product)};
  std::vector<double> row(static_cast<size_t>(columns));
  for (int k = 0; k < rank; ++k) {
    const double u = e.up->decoded[static_cast<size_t>(output * rank + k)];
    double reduced = 0, size = 0;
    for (int i = 0; i < columns; ++i) {
      const double d = e.down->decoded[static_cast<size_t>(k * columns + i)];
      reduced += d * in[i];
      size += std::fabs(d * in[i]);
      row[static_cast<size_t>(i)] += s * u * d;
    }
    result.value += s * u * reduced;
    result.size += std::fabs(s * u) * size;
  }
  if (!e.magnitude.empty()) {
    double square = 0;
    for (int i = 0; i < columns; ++i) {
      const auto at = static_cast<size_t>(i);
      const double w = weight[static_cast<size_t>(output * columns + i)] + row[at];
      square += w * w;
    }
    const double factor = e.magnitude[static_cast<size_t>(output)] / std::sqrt(square);
    result.value *= factor;
    result.size *= std::fabs(factor);
  }
  return {result.value + before, result.size + std::fabs(before)};
}

// Layers that share an input, or one that adds to its output.
struct AdaptedLayers {
  std::vector<Role> roles;
  bool add;
};
using Outputs = std::vector<std::vector<float>>;  // Of each layer, [rows][outputs].

// Compares outputs of `rows` rows, those behind the step too, where an adapter is not applied to
// the bit. `run(in, before, product)` gives them for layers that give `product`, in adapters'
// place in a step. `weight(role)` is the decoded weight.
template <class Run>
void check_adapted(const ModelShape& shape, const std::map<int32_t, const TestAdapter*>& adapters,
                   const std::function<const std::vector<float>&(Role)>& weight,
                   const AdaptedStep& step, const AdaptedLayers& layers, int rows, double tolerance,
                   Run run) {
  const int columns = shape_of(layers.roles[0], shape).columns;
  const std::vector<float> in = random_values(int64_t{rows} * columns, 3);
  Outputs before, product;
  for (const Role role : layers.roles) {
    const int64_t size = int64_t{rows} * shape_of(role, shape).rows;
    before.push_back(layers.add ? random_values(size, 4)
                                : std::vector<float>(static_cast<size_t>(size)));
    product.push_back(random_values(size, 5));
  }
  const Outputs found = run(in, before, product);
  double worst = 0;
  int changed = 0;
  for (size_t p = 0; p < layers.roles.size(); ++p) {
    const Role role = layers.roles[p];
    const int width = shape_of(role, shape).rows;
    const auto check_row = [&](int row, const TestAdapter::Entry* entry, double scale) {
      // Some of many outputs: the formula is slow.
      for (int output = 0; output < width; output += entry && width > 100 ? 7 : 1) {
        const auto i = static_cast<size_t>(row * width + output);
        if (!entry) {
          changed += found[p][i] != before[p][i] + product[p][i];
          continue;
        }
        static const std::vector<float> none;
        const AdaptedValue e = adapted_value(*entry, entry->magnitude.empty() ? none : weight(role),
                                             in.data() + int64_t{row} * columns, product[p][i],
                                             before[p][i], output, scale);
        const double error = std::fabs(found[p][i] - e.value) / (e.size + 1e-6);
        if (!(error <= worst)) worst = error;
      }
    };
    int row = 0;
    for (const AdaptedStep::Part& part : step.parts) {
      const TestAdapter::Entry* entry =
          part.adapter ? adapters.at(part.adapter)->find(role) : nullptr;
      for (const int end = row + part.rows; row < end; ++row) {
        check_row(row, entry, double{part.scale});
      }
    }
    for (; row < rows; ++row) check_row(row, nullptr, 1);
  }
  CHECK(worst <= tolerance);
  CHECK_EQ(changed, 0);
}

}  // namespace tramontane::test
