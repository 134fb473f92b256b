// The scalar linear kernels against products in double of the decoded weights and the activations
// as quantized, and those of every implementation this processor runs against the scalar ones, bit
// by bit.
#include "cpu/linear/linear.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <random>

#include "base/half.h"
#include "cpu/backend/implementation.h"
#include "half_offsets.h"
#include "quant/blocks.h"
#include "test.h"

using namespace tramontane;
using namespace tramontane::cpu;
using tramontane::test::half_offsets;

namespace {

// All but GPTQ, which is the last.
const std::vector<Format> kFormats = [] {
  std::vector<Format> all;
  for (int i = 0; i < static_cast<int>(Format::kGptq); ++i) all.push_back(static_cast<Format>(i));
  return all;
}();

std::vector<const Implementation*> supported() {
  std::vector<const Implementation*> all;
  for (const Implementation& i : implementations()) {
    if (i.supported()) all.push_back(&i);
  }
  return all;
}

// Weights of random bytes. `extreme` makes the bytes of the integers all 0 or 255, where sums come
// closest to overflow. Data begins at an odd address and ends where the allocation ends, so that a
// sanitizer sees reads beyond.
struct Weights {
  Weights(Format format, int32_t rows, int32_t columns, uint32_t seed, bool extreme = false)
      : info(format_info(format)) {
    std::mt19937 random(seed);
    const size_t blocks = static_cast<size_t>(rows) * (columns / info.block_values);
    bytes.reset(new uint8_t[1 + blocks * info.block_bytes]);
    size = blocks * info.block_bytes;
    uint8_t* data = bytes.get() + 1;
    std::normal_distribution<float> normal;
    for (size_t block = 0; block < blocks; ++block, data += info.block_bytes) {
      if (is_float(format)) {
        const float value = normal(random);
        const uint32_t bits = bits_from_float(value);
        const uint16_t half =
            format == Format::kF16 ? f32_to_f16(value) : static_cast<uint16_t>(bits >> 16);
        if (format == Format::kF32)
          std::memcpy(data, &bits, 4);
        else
          std::memcpy(data, &half, 2);
        continue;
      }
      const uint8_t fill = random() % 2 ? 255 : 0;
      for (int i = 0; i < info.block_bytes; ++i) {
        data[i] = extreme ? fill : static_cast<uint8_t>(random());
      }
      for (const int offset : half_offsets(format)) {
        const uint16_t half = f32_to_f16(normal(random) * 0.1f);
        std::memcpy(data + offset, &half, 2);
      }
    }
    weight = {format, rows, columns, bytes.get() + 1};
  }

  // Of one output: weights, and the sizes of the terms they are sums of.
  void decode(int32_t output, std::vector<double>* values, std::vector<double>* sizes) const {
    const int32_t columns = weight.columns;
    const int64_t blocks = columns / info.block_values;
    const uint8_t* row = weight.data + output * blocks * info.block_bytes;
    std::vector<float> decoded(columns);
    decode_blocks(weight.format, row, blocks, decoded.data());
    values->assign(decoded.begin(), decoded.end());
    *sizes = *values;
    if (const auto unpack = quant::unpack_function(weight.format)) {
      quant::Group groups[quant::kMaxBlockGroups];
      for (int32_t i = 0; i < columns; ++i) {
        if (i % info.block_values == 0)
          unpack(row + i / info.block_values * info.block_bytes, groups);
        const quant::Group& g = groups[i % info.block_values / 32];
        const double scaled = double{g.scale[i % 32 / 16]} * g.q[i % 32];
        (*values)[i] = scaled + double{g.offset[i % 32 / 16]};
        (*sizes)[i] = std::fabs(scaled) + std::fabs(double{g.offset[i % 32 / 16]});
      }
    }
    for (double& size : *sizes) size = std::fabs(size);
  }

  const FormatInfo& info;
  std::unique_ptr<uint8_t[]> bytes;
  size_t size;
  WeightData weight;
};

// Rows of activations and their quantized form; columns beyond the last whole block are not in it.
struct Inputs {
  Inputs(int32_t rows, int32_t columns, uint32_t seed, bool extreme = false) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    values.resize(static_cast<size_t>(rows) * columns);
    for (float& v : values) v = extreme ? (random() % 2 ? 3.0f : -3.0f) : normal(random);
    activations = {rows, columns, values.data(), nullptr, nullptr, nullptr};
    if (columns % 32 != 0) return;
    q.resize(static_cast<size_t>(rows * quantized_stride(columns)));
    scales.resize(values.size() / 32);
    sums.resize(values.size() / 16);
    for (int32_t r = 0; r < rows; ++r) quantize(r);
    activations.q = q.data();
    activations.scales = scales.data();
    activations.sums = sums.data();
  }

  void quantize(int32_t row) {
    const int32_t columns = activations.columns;
    kScalarLinear.quantize(&values[row * columns], columns, &q[row * quantized_stride(columns)],
                           &scales[row * (columns / 32)], &sums[row * (columns / 16)]);
  }

  // A view of some of the rows.
  Activations slice(int32_t first, int32_t rows) const {
    Activations a = activations;
    a.rows = rows;
    a.values += first * a.columns;
    if (a.q != nullptr) {
      a.q += first * quantized_stride(a.columns);
      a.scales += first * (a.columns / 32);
      a.sums += first * (a.columns / 16);
    }
    return a;
  }

  std::vector<float> values;
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<int16_t> sums;
  Activations activations;
};

struct Output {
  Output(int32_t rows, int32_t outputs)
      : stride(outputs + 3),
        values(static_cast<size_t>(rows) * stride, std::numeric_limits<float>::quiet_NaN()) {}
  float at(int32_t row, int32_t output) const { return values[row * stride + output]; }
  int64_t stride;
  std::vector<float> values;
};

void run(const LinearKernels& kernels, bool f32, const WeightData& weight, const Activations& in,
         int32_t first, int32_t last, float* out, int64_t stride, bool add = false) {
  // Exactly as long as promised, aligned as promised.
  const size_t bytes = kernels.scratch_bytes(weight.columns, in.rows);
  std::unique_ptr<uint8_t[]> memory(new uint8_t[bytes + 64]);
  uint8_t* scratch = memory.get() + (64 - reinterpret_cast<uintptr_t>(memory.get()) % 64) % 64;
  std::memset(scratch, 0xff, bytes);
  const LinearTask task = {&weight, &in, first, last, out, stride, add, scratch};
  (f32 ? kernels.linear_f32 : kernels.linear)(task);
}

void check_against_naive(Format format, bool f32, int32_t rows, int32_t columns, int32_t outputs,
                         bool extreme = false) {
  const Weights weights(format, outputs, columns, rows * 31 + columns + outputs, extreme);
  const Inputs inputs(rows, columns, rows + columns * 7, extreme);
  Output out(rows, outputs);
  run(kScalarLinear, f32, weights.weight, inputs.activations, 0, outputs, out.values.data(),
      out.stride);
  const bool quantized = !f32 && !is_float(format);
  std::vector<double> w, sizes;
  double worst = 0;
  for (int32_t o = 0; o < outputs; ++o) {
    weights.decode(o, &w, &sizes);
    for (int32_t r = 0; r < rows; ++r) {
      double expected = 0, size = 0;
      for (int32_t i = 0; i < columns; ++i) {
        const double x = quantized ? double{inputs.scales[(r * columns + i) / 32]} *
                                         inputs.q[r * quantized_stride(columns) + i]
                                   : double{inputs.values[r * columns + i]};
        expected += w[i] * x;
        size += sizes[i] * std::fabs(x);
      }
      // Each rounding is at most 2^-24 of a partial sum; a lane takes about 3 a group of 32, or,
      // with floats, one for 8 inputs.
      const double roundings = quantized ? columns / 32 * 3 + 4 : columns / 8 + 5;
      const double bound = size * roundings * 0x1p-24;
      worst = std::max(worst, std::fabs(out.at(r, o) - expected) / (bound + 1e-300));
      if (std::isnan(out.at(r, o))) worst = INFINITY;
    }
  }
  if (!(worst <= 1)) {
    test::fail(__FILE__, __LINE__,
               std::string(format_info(format).name) + (f32 ? " f32 " : " ") +
                   std::to_string(rows) + " rows of " + std::to_string(columns) + " by " +
                   std::to_string(outputs) + ": error " + std::to_string(worst) +
                   " times the bound");
  }
}

// Which NaN a NaN is does not count.
bool same(float a, float b) {
  return std::isnan(a) ? std::isnan(b) : bits_from_float(a) == bits_from_float(b);
}

// A weight, activations, and the scalar kernels' products of them, which those of the others are
// compared with.
class Products {
 public:
  Products(const Weights& weights, const Inputs& inputs)
      : weights_(weights),
        inputs_(inputs),
        expected_{Output(inputs.activations.rows, weights.weight.rows),
                  Output(inputs.activations.rows, weights.weight.rows)} {
    for (const bool f32 : {false, true}) {
      run(kScalarLinear, f32, weights.weight, inputs.activations, 0, weights.weight.rows,
          expected_[f32].values.data(), expected_[f32].stride);
    }
  }

  // Of rows [first_row, first_row + rows) and outputs [first, last); others are not touched.
  void check(const Implementation& implementation, bool f32, int32_t first_row, int32_t rows,
             int32_t first, int32_t last) const {
    const int32_t outputs = weights_.weight.rows;
    Output out(rows, outputs);
    run(*implementation.linear, f32, weights_.weight, inputs_.slice(first_row, rows), first, last,
        out.values.data(), out.stride);
    int different = 0, touched = 0;
    for (int32_t r = 0; r < rows; ++r) {
      for (int32_t o = 0; o < out.stride; ++o) {
        if (o >= first && o < last) {
          different += !same(out.at(r, o), expected_[f32].at(first_row + r, o));
        } else {
          touched += !std::isnan(out.at(r, o));
        }
      }
    }
    if ((different == 0 && touched == 0) || failed_) return;
    failed_ = true;
    test::fail(__FILE__, __LINE__,
               std::string(implementation.name) + " " + format_info(weights_.weight.format).name +
                   (f32 ? " f32: " : ": ") + std::to_string(different) + " products differ, and " +
                   std::to_string(touched) + " more are touched, of " + std::to_string(rows) +
                   " rows of " + std::to_string(weights_.weight.columns) + " by outputs " +
                   std::to_string(first) + " to " + std::to_string(last) + " of " +
                   std::to_string(outputs));
  }

  void check(const Implementation& implementation, bool f32, int32_t rows) const {
    check(implementation, f32, 0, rows, 0, weights_.weight.rows);
  }

 private:
  const Weights& weights_;
  const Inputs& inputs_;
  Output expected_[2];           // f32 or not
  mutable bool failed_ = false;  // Said once.
};

// Beyond every number of rows from which kernels go another way.
constexpr int32_t kManyRows = 133;

// Calls f(format, columns) for each format and some numbers of columns it can have.
template <class F>
void for_each_shape(F f) {
  for (const Format format : kFormats) {
    const int block = format_info(format).block_values;
    for (const int32_t columns : {1, 2, 3, 5}) f(format, columns * block);
    if (block == 1) {
      for (const int32_t columns : {7, 8, 9, 31, 33, 64, 100}) f(format, columns);
    }
  }
}

}  // namespace

TEST("scalar products of every format are the naive ones but for their roundings") {
  for_each_shape([&](Format format, int32_t columns) {
    for (const int32_t rows : {1, 3}) {
      for (const bool f32 : {false, true}) {
        check_against_naive(format, f32, rows, columns, 19);
        check_against_naive(format, f32, rows, columns, 19, true);
      }
    }
  });
  for (const Format format : kFormats) check_against_naive(format, false, 1, 14336, 9);
}

TEST("products have the scalar kernels' bits for any number of rows, columns and outputs") {
  for_each_shape([&](Format format, int32_t columns) {
    for (const bool extreme : {false, true}) {
      const Inputs inputs(kManyRows, columns, columns * 7, extreme);
      for (const int32_t outputs : {1, 2, 7, 8, 9, 16, 17, 19, 33}) {
        const Weights weights(format, outputs, columns, columns + outputs, extreme);
        const Products products(weights, inputs);
        for (const Implementation* implementation : supported()) {
          if (outputs == 19 && !extreme) {
            for (int32_t rows = 1; rows <= 40; ++rows) {
              products.check(*implementation, false, rows);
            }
          }
          for (const int32_t rows : {1, 3, 5, 13, 16, 18, 29, kManyRows}) {
            products.check(*implementation, false, rows);
          }
          for (const int32_t rows : {1, 2, 5}) products.check(*implementation, true, rows);
        }
      }
    }
  });
}

TEST("products of long rows have the scalar kernels' bits in every batch and split of outputs") {
  constexpr int32_t kRows = 23, kOutputs = 37;
  for (const Format format : kFormats) {
    // Beyond what one panel of a tiled kernel may hold.
    const int32_t columns = format_info(format).block_values == 1 ? 333 : 2304;
    const Weights weights(format, kOutputs, columns, 5);
    const Inputs inputs(kRows, columns, 6);
    const Products products(weights, inputs);
    for (const Implementation* implementation : supported()) {
      for (const bool f32 : {false, true}) {
        for (const int32_t batch : {1, 2, 3, 4, 5, 8, 16, kRows}) {
          if (f32 && batch > 3) continue;
          for (const int32_t split : {5, 16, kOutputs}) {
            for (int32_t row = 0; row < kRows; row += batch) {
              for (int32_t o = 0; o < kOutputs; o += split) {
                products.check(*implementation, f32, row, std::min(batch, kRows - row), o,
                               std::min(o + split, kOutputs));
              }
            }
          }
        }
      }
    }
  }
}

TEST("add adds to what is there, in any batch") {
  for (const Implementation* implementation : supported()) {
    const LinearKernels& kernels = *implementation->linear;
    for (const Format format : kFormats) {
      const int32_t columns = 256, outputs = 21;
      const Weights weights(format, outputs, columns, 8);
      for (const int32_t rows : {1, 3, 18}) {
        const Inputs inputs(rows, columns, 9);
        for (const bool f32 : {false, true}) {
          Output plain(rows, outputs), added(rows, outputs);
          run(kernels, f32, weights.weight, inputs.activations, 0, outputs, plain.values.data(),
              plain.stride);
          for (int32_t r = 0; r < rows; ++r) {
            for (int32_t o = 0; o < outputs; ++o) {
              added.values[r * added.stride + o] = static_cast<float>(r - o);
            }
          }
          run(kernels, f32, weights.weight, inputs.activations, 0, outputs, added.values.data(),
              added.stride, true);
          for (int32_t r = 0; r < rows; ++r) {
            for (int32_t o = 0; o < outputs; ++o) {
              CHECK_EQ(added.at(r, o), static_cast<float>(r - o) + plain.at(r, o));
            }
          }
        }
      }
    }
  }
}

TEST("bytes that are no weights have the scalar kernels' products, numbers or not") {
  for (const Format format : kFormats) {
    const int32_t columns = 512, outputs = 16;
    Weights weights(format, outputs, columns, 3);
    std::mt19937 random(4);
    for (size_t i = 0; i < weights.size; ++i) weights.bytes[1 + i] = static_cast<uint8_t>(random());
    const Inputs inputs(kManyRows, columns, 5);
    const Products products(weights, inputs);
    for (const Implementation* implementation : supported()) {
      for (const int32_t rows : {1, 9, 16, kManyRows}) {
        for (const bool f32 : {false, true}) products.check(*implementation, f32, rows);
      }
    }
  }
}

TEST("scales that are not finite have the scalar kernels' products in every batch") {
  constexpr int32_t kOutputs = 37, kColumns = 512;
  for (const Format format : kFormats) {
    if (is_float(format)) continue;
    const Weights weights(format, kOutputs, kColumns, 7);
    const int blocks = kOutputs * (kColumns / format_info(format).block_values);
    for (int block = 0; block < blocks; block += 5) {
      const uint16_t half = block % 3 == 0 ? 0x7c00 : block % 3 == 1 ? 0xfc00 : 0x7e00;
      std::memcpy(weights.bytes.get() + 1 + block * format_info(format).block_bytes +
                      half_offsets(format)[0],
                  &half, 2);
    }
    const Inputs inputs(kManyRows, kColumns, 8);
    const Products products(weights, inputs);
    for (const Implementation* implementation : supported()) {
      for (const int32_t rows : {1, 2, 5, 8, 11, 16, kManyRows}) {
        products.check(*implementation, false, rows);
      }
    }
  }
}

TEST("activations are quantized to the scalar kernels' bits, whatever they are") {
  constexpr int32_t kColumns = 32 * 4096;
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> values(kColumns);
  for (int32_t i = 0; i < kColumns; ++i) {
    const int32_t block = i / 32;
    values[i] = normal(random);
    if (block % 4 == 1) values[i] = std::ldexp(values[i], block % 276 - 148);  // To denormals.
    if (block % 4 == 2) values[i] = std::nearbyint(values[i] * 40) / 2;        // Ties.
    if (block % 4 == 3) values[i] = float_from_bits(static_cast<uint32_t>(random()));
  }
  std::fill_n(values.begin() + 4096, 32, -0.0f);
  values[8192] = std::numeric_limits<float>::infinity();
  values[8224] = std::numeric_limits<float>::quiet_NaN();
  values[8256] = std::numeric_limits<float>::max();
  const auto quantized = [&](const LinearKernels& kernels, std::vector<int8_t>* q,
                             std::vector<float>* scales, std::vector<int16_t>* sums) {
    q->resize(kColumns);
    scales->resize(kColumns / 32);
    sums->resize(kColumns / 16);
    kernels.quantize(values.data(), kColumns, q->data(), scales->data(), sums->data());
  };
  std::vector<int8_t> q, expected_q;
  std::vector<float> scales, expected_scales;
  std::vector<int16_t> sums, expected_sums;
  quantized(kScalarLinear, &expected_q, &expected_scales, &expected_sums);
  for (const Implementation* implementation : supported()) {
    quantized(*implementation->linear, &q, &scales, &sums);
    int different = 0;
    for (int32_t block = 0; block < kColumns / 32; ++block) {
      different += !same(scales[block], expected_scales[block]);
    }
    CHECK_EQ(different, 0);
    CHECK(q == expected_q);
    CHECK(sums == expected_sums);
  }
}

TEST("activations are quantized to the nearest step of a scale that leaves little error") {
  constexpr int32_t kColumns = 4096;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(kColumns);
  for (int32_t i = 0; i < kColumns; ++i) {
    values[i] = normal(random) * std::ldexp(1.0f, (i / 32 - 64) * 2);
  }
  std::fill_n(values.begin() + 1024, 32, 0.0f);
  // Integers, which the scale 1 leaves as they are.
  for (int i = 0; i < 32; ++i) values[2048 + i] = i == 0 ? 127.0f : i % 2 == 0 ? 64.0f : -2.0f;
  std::vector<int8_t> q(kColumns);
  std::vector<float> scales(kColumns / 32);
  std::vector<int16_t> sums(kColumns / 16);
  kScalarLinear.quantize(values.data(), kColumns, q.data(), scales.data(), sums.data());
  // The squared error of a block under integers and a scale.
  const auto error = [&](int32_t block, auto integer, double scale) {
    double sum = 0;
    for (int i = 0; i < 32; ++i) {
      const double value = values[32 * block + i];
      sum += (value - integer(value, i) * scale) * (value - integer(value, i) * scale);
    }
    return sum;
  };
  int wrong_scales = 0, wrong_steps = 0, wrong_sums = 0;
  for (int32_t block = 0; block < kColumns / 32; ++block) {
    float largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[32 * block + i]));
    const auto ours = [&](double, int i) { return static_cast<double>(q[32 * block + i]); };
    if (largest < 0x1p-118f) {
      wrong_scales += scales[block] != 0;
      for (int i = 0; i < 32; ++i) wrong_steps += q[32 * block + i] != 0;
      continue;
    }
    // The integers are the nearest for one of the levels.
    double least = INFINITY;
    bool is_a_level = false;
    for (int level = kLargestLevel; level > kLargestLevel - kLevels; --level) {
      const double scale = double{largest} / level;
      const auto nearest = [&](double value, int) { return std::nearbyint(value / scale); };
      bool same = true;
      for (int i = 0; i < 32; ++i) {
        same = same && std::fabs(ours(0, i) - values[32 * block + i] / scale) < 0.5001;
      }
      is_a_level = is_a_level || same;
      least = std::min(least, error(block, nearest, scale));
    }
    wrong_steps += !is_a_level;
    wrong_scales += std::fabs(scales[block] * 123.5f / largest - 1) > 0.05f;
    if (largest > 0x1p-50f && largest < 0x1p50f) {  // The kernels square floats.
      wrong_scales += error(block, ours, scales[block]) > least * 1.0001;
    }
  }
  for (int32_t s = 0; s < kColumns / 16; ++s) {
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += q[16 * s + i];
    wrong_sums += sums[s] != sum;
  }
  CHECK_EQ(wrong_scales, 0);
  CHECK_EQ(wrong_steps, 0);
  CHECK_EQ(wrong_sums, 0);
  CHECK_EQ(scales[64], 1.0f);
  CHECK_EQ(int{q[2048]}, 127);
  CHECK_EQ(int{q[2050]}, 64);
  CHECK_EQ(int{q[2049]}, -2);
}

TEST("activations that are not finite make the output so, and leave other rows alone") {
  for (const Implementation* implementation : supported()) {
    const LinearKernels& kernels = *implementation->linear;
    for (const Format format : kFormats) {
      for (const float bad :
           {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        const int32_t columns = 256, outputs = 9, rows = 7;
        const Weights weights(format, outputs, columns, 8);
        Inputs inputs(rows, columns, 9);
        inputs.values[2 * columns + 37] = bad;
        inputs.quantize(2);
        for (const int8_t q : inputs.q) CHECK(q >= -127);
        Output out(rows, outputs);
        run(kernels, false, weights.weight, inputs.activations, 0, outputs, out.values.data(),
            out.stride);
        for (int32_t r = 0; r < rows; ++r) {
          for (int32_t o = 0; o < outputs; ++o) CHECK_EQ(std::isfinite(out.at(r, o)), r != 2);
        }
      }
    }
  }
}
