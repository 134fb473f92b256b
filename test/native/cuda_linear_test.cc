// The linear kernels of every format on the emulator, against products in double precision.
#include <algorithm>
#include <memory>

#include "cuda_test.h"
#include "cuda_weights.h"
#include "host/weight_store.h"
#include "kernels/formats.h"
#include "kernels/linear.h"
#include "kernels/rows.h"
#include "test.h"

namespace tramontane::cuda {
namespace {

using test::DeviceArray;
using test::TestFormat;
using test::TestWeight;

// Up to three weights of one format that share an input, uploaded.
struct Fixture {
  Fixture(const TestFormat& format, const std::vector<int>& outputs, int columns, int rows)
      : format(format), rows(rows), columns(columns), store(stream, Compute::kInt8) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    const int padded = divide_up(rows, kMaxDotRows) * kMaxDotRows;
    for (int i = 0; i < padded * columns; ++i) values.push_back(normal(random));
    for (size_t i = 0; i < outputs.size(); ++i) {
      weights.push_back(
          std::make_unique<TestWeight>(format, outputs[i], columns, static_cast<unsigned>(i + 1)));
      stored.push_back(store.add(weights.back()->data()));
      decoded.push_back(weights.back()->decoded());
    }
    store.finish();
    q = std::make_unique<DeviceArray<int8_t>>(values.size());
    scales = std::make_unique<DeviceArray<ActivationScale>>(values.size() / kGroup);
    device_values = std::make_unique<DeviceArray<float>>(values);
    task.rows = rows;
    task.count = static_cast<int>(outputs.size());
    task.values = device_values->data();
    task.quantized = {q->data(), scales->data()};
    quantize(device_values->data(), stored[0]->order, padded, columns, task.quantized,
             stream.get());
    for (size_t i = 0; i < outputs.size(); ++i) task.weights[i] = stored[i]->weight;
  }

  bool quantized() const { return !is_float(stored[0]->format); }

  // The input of row r that the kernels see at the place of column k.
  double input(int r, int k) const {
    if (!quantized()) return values[static_cast<size_t>(r * columns + k)];
    int place = k;
    if (stored[0]->order) {
      place = static_cast<int>(std::find(stored[0]->order, stored[0]->order + columns, k) -
                               stored[0]->order);
    }
    const auto i = static_cast<size_t>(r * columns + place);
    return double{(*scales)[i / kGroup].scale} * (*q)[i];
  }

  struct Expected {
    double value, size;  // The size of what was summed: rounding is a part of it.
  };
  Expected expected(size_t weight, int r, int output) const {
    Expected e{};
    for (int k = 0; k < columns; ++k) {
      const double w = decoded[weight][static_cast<size_t>(output * columns + k)];
      e.value += w * input(r, k);
      e.size += (std::fabs(w) + 0.1) * std::fabs(input(r, k));
    }
    return e;
  }

  // Runs under every schedule, with outs full of NaN, or of `start` to add to, and kBehind values
  // after them that nobody may touch.
  static constexpr size_t kBehind = 128;
  static constexpr float kUntouched = 1234.5f;
  template <class Run>
  void check(float start, Run run) {
    std::vector<std::vector<Expected>> all;
    for (size_t i = 0; i < weights.size(); ++i) {
      all.emplace_back();
      for (int r = 0; r < rows; ++r) {
        for (int o = 0; o < weights[i]->rows(); ++o) all[i].push_back(expected(i, r, o));
      }
    }
    for (int schedule = 0; schedule < test::schedules(); ++schedule) {
      test::use_schedule(schedule);
      std::vector<std::unique_ptr<DeviceArray<float>>> outs;
      for (size_t i = 0; i < weights.size(); ++i) {
        outs.push_back(std::make_unique<DeviceArray<float>>(all[i].size() + kBehind));
        task.outs[i] = outs[i]->data();
        float* end = task.outs[i] + all[i].size();
        if (task.add) std::fill(task.outs[i], end, start);
        std::fill(end, end + kBehind, kUntouched);
      }
      run();
      CHECK(cudaGetLastError() == cudaSuccess);
      double worst = 0;
      for (size_t i = 0; i < weights.size(); ++i) {
        for (size_t k = 0; k < all[i].size(); ++k) {
          const double found = double{(*outs[i])[k]} - (task.add ? start : 0);
          const double error = std::fabs(found - all[i][k].value) / (all[i][k].size + 1e-3);
          worst = error <= worst ? worst : error;  // A NaN stays.
          if (std::isnan(error)) worst = error;
        }
        for (size_t k = all[i].size(); k < outs[i]->size(); ++k) {
          CHECK_EQ((*outs[i])[k], kUntouched);
        }
      }
      if (!(worst <= 2e-6)) {
        std::cerr << format.name() << " rows " << rows << " columns " << columns << ": error "
                  << worst << " of its terms, schedule " << schedule << "\n";
      }
      CHECK(worst <= 2e-6);
      if (!(worst <= 2e-6)) return;
    }
  }

  const TestFormat format;
  const int rows, columns;
  Stream stream;
  WeightStore store;
  std::vector<float> values;
  std::vector<std::unique_ptr<TestWeight>> weights;
  std::vector<const StoredWeight*> stored;
  std::vector<std::vector<float>> decoded;
  mutable std::unique_ptr<DeviceArray<int8_t>> q;
  mutable std::unique_ptr<DeviceArray<ActivationScale>> scales;
  std::unique_ptr<DeviceArray<float>> device_values;
  LinearTask task{};
};

TEST("every format: packed and loaded weights are the file's, to the bit") {
  std::vector<TestFormat> formats = test::quantized_formats();
  for (const TestFormat& format : test::float_formats()) formats.push_back(format);
  for (const TestFormat& format : formats) {
    const Fixture f(format, {24}, format.granularity() * 3, 1);
    if (f.stored[0]->order) continue;  // Embeddings have none.
    DeviceArray<StepRow> rows(24);
    for (int r = 0; r < 24; ++r) rows[static_cast<size_t>(r)] = {23 - r, 0, 0, 1};
    DeviceArray<float> out(f.decoded[0].size());
    embed(f.stored[0]->format, f.stored[0]->gptq_bits, f.stored[0]->weight, rows.data(), 24,
          out.data(), f.stream.get());
    int wrong = 0;
    const auto n = static_cast<size_t>(f.columns);
    for (size_t r = 0; r < 24; ++r) {
      for (size_t k = 0; k < n; ++k) {
        // GPTQ's zero is a part of the offset here: (q - z) s is q s - z s.
        const float expected = f.decoded[0][(23 - r) * n + k];
        const float slack = format.format == Format::kGptq ? 2e-6f : 0.0f;
        wrong += !(std::fabs(out[r * n + k] - expected) <= slack * 30);
      }
    }
    if (wrong) std::cerr << format.name() << "\n";
    CHECK_EQ(wrong, 0);
  }
}

TEST("dot: every format, one row to eight, three weights at once") {
  for (const TestFormat& format : test::quantized_formats()) {
    for (const int rows : {1, 2, 3, 8}) {
      Fixture f(format, format.act_order ? std::vector{8} : std::vector{8, 16, 8},
                format.granularity() * 3, rows);
      f.check(0, [&] { dot(format.format, format.gptq_bits, f.task, f.stream.get()); });
    }
  }
}

TEST("dot: outputs that are no multiple of a block, more columns than a warp takes, added") {
  for (const TestFormat& format : {TestFormat{Format::kQ4_0}, TestFormat{Format::kQ5_K}}) {
    for (const int rows : {1, 5}) {
      Fixture f(format, {3, 9, 1}, 1280, rows);
      f.task.add = true;
      f.check(3, [&] { dot(format.format, 0, f.task, f.stream.get()); });
    }
  }
}

TEST("dot: gate, up and SwiGLU in one") {
  for (const TestFormat& format : {TestFormat{Format::kQ4_0}, TestFormat{Format::kQ6_K}}) {
    for (const int rows : {1, 7}) {
      Fixture f(format, {11, 11}, 256, rows);
      f.task.swiglu = true;
      for (int schedule = 0; schedule < test::schedules(); ++schedule) {
        test::use_schedule(schedule);
        DeviceArray<float> out(static_cast<size_t>(rows) * 11);
        f.task.outs[0] = out.data();
        dot(format.format, 0, f.task, f.stream.get());
        for (int r = 0; r < rows; ++r) {
          for (int o = 0; o < 11; ++o) {
            const double gate = f.expected(0, r, o).value, up = f.expected(1, r, o).value;
            const double expected = gate / (1 + std::exp(-gate)) * up;
            CHECK_NEAR(out[static_cast<size_t>(r * 11 + o)], expected,
                       1e-5 * std::fabs(expected) + 2e-5 * (std::fabs(up) + std::fabs(gate)));
          }
        }
      }
    }
  }
}

TEST("dot: a row has the same bits whatever the batch") {
  const TestFormat format{Format::kQ4_K};
  Fixture f(format, {9}, 768, 8);
  DeviceArray<float> alone(8 * 9), together(8 * 9);
  f.task.outs[0] = together.data();
  dot(format.format, 0, f.task, f.stream.get());
  const LinearTask whole = f.task;
  for (int r = 0; r < 8; ++r) {
    f.task = whole;
    f.task.rows = 1;
    f.task.quantized.q += r * 768;
    f.task.quantized.scales += r * 768 / kGroup;
    f.task.outs[0] = alone.data() + r * 9;
    dot(format.format, 0, f.task, f.stream.get());
  }
  CHECK_EQ(std::memcmp(alone.data(), together.data(), 72 * sizeof(float)), 0);
}

TEST("tiles: every format, rows, outputs and columns that are no multiple of the tile") {
  for (const TestFormat& format : test::quantized_formats()) {
    const int columns = format.granularity() == 32 ? 160 : 256;
    for (const int rows : {13, 70}) {
      Fixture f(format, format.act_order ? std::vector{72} : std::vector{72, 8}, columns, rows);
      f.check(0, [&] { tiles(format.format, format.gptq_bits, f.task, f.stream.get()); });
    }
  }
}

TEST("tiles: added to what is there, more steps than stages") {
  const TestFormat format{Format::kQ4_0};
  for (const int rows : {16, 65}) {
    Fixture f(format, {40}, 544, rows);
    f.task.add = true;
    f.check(-2, [&] { tiles(format.format, 0, f.task, f.stream.get()); });
  }
}

TEST("float formats: one row to many") {
  for (const TestFormat& format : test::float_formats()) {
    for (const int rows : {1, 2, 4, 8, 19}) {
      Fixture f(format, {5, 7}, 352, rows);
      f.check(0, [&] { dot_float(format.format, f.task, f.stream.get()); });
    }
  }
}

TEST("weights that no kernel reads are decoded: GPTQ of 2 and 3 bits, irregular groups, f32") {
  for (const int bits : {2, 3}) {
    Fixture f({Format::kGptq, bits, true}, {32}, 192, 3);
    CHECK(f.stored[0]->format == Format::kF16);
    for (const float value : f.decoded[0]) CHECK(std::fabs(value) < 10);
    for (float& value : f.decoded[0]) value = f16_to_f32(f32_to_f16(value));
    f.check(0, [&] { dot_float(f.stored[0]->format, f.task, f.stream.get()); });
  }
  const TestWeight weight({Format::kQ4_K}, 8, 256, 1);
  Stream stream;
  WeightStore store(stream, Compute::kF32);
  const StoredWeight* stored = store.add(weight.data());
  store.finish();
  CHECK(stored->format == Format::kF32);
  const std::vector<float> decoded = weight.decoded();
  CHECK_EQ(std::memcmp(stored->weight.codes, decoded.data(), decoded.size() * sizeof(float)), 0);
  CHECK(store.add(weight.data()) == stored);
}

}  // namespace
}  // namespace tramontane::cuda
