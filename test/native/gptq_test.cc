// GPTQ weights: the bit fields, the order of inputs, the kernels, which are compared with the
// scalar ones bit by bit. Checkpoints are packed here by hand from known integers.
#include "cpu/gptq/gptq.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "cpu/backend/implementation.h"
#include "cpu/products/weight_tile.h"
#include "quant/gptq.h"
#include "test.h"

using namespace tramontane;
using namespace tramontane::cpu;

namespace {

// Writes a field of a stream of words that lie `stride` apart, bit by bit.
void put_field(std::vector<uint8_t>& bytes, size_t offset, int64_t stride, int bits, int64_t index,
               uint32_t value) {
  for (int b = 0; b < bits; ++b) {
    const int64_t bit = index * bits + b;
    const size_t byte = offset + static_cast<size_t>(bit / 32 * stride * 4 + bit % 32 / 8);
    if (value >> b & 1) bytes[byte] = static_cast<uint8_t>(bytes[byte] | 1 << bit % 8);
  }
}

enum class Groups { kPlain, kSorted, kShuffled, kUneven };

// A weight whose integers are known. The parts begin at odd addresses and end with their memory.
struct Gptq {
  Gptq(int bits, int32_t columns, int32_t rows, int32_t group_size, Groups kind, int zero_bias,
       Format scale_format, uint32_t seed)
      : columns(columns), rows(rows) {
    std::mt19937 random(seed);
    const int32_t groups = (columns + group_size - 1) / group_size;
    const uint32_t mask = (1u << bits) - 1;
    group.resize(columns);
    for (int32_t k = 0; k < columns; ++k) group[k] = k / group_size;
    if (kind == Groups::kShuffled) std::shuffle(group.begin(), group.end(), random);
    if (kind == Groups::kUneven) {
      for (int32_t& g : group) g = static_cast<int32_t>(random() % groups);
    }
    qweight.resize(1 + size_t(columns) * bits / 8 * rows);
    qzeros.resize(1 + size_t(groups) * rows * bits / 8);
    const int scale_bytes = format_info(scale_format).block_bytes;
    scale_data.resize(1 + size_t(groups) * rows * scale_bytes);
    q.resize(size_t(columns) * rows);
    for (int32_t k = 0; k < columns; ++k) {
      for (int32_t n = 0; n < rows; ++n) {
        q[k * rows + n] = random() & mask;
        put_field(qweight, 1 + 4 * size_t(n), rows, bits, k, q[k * rows + n]);
      }
    }
    zero.resize(size_t(groups) * rows);
    scale.resize(zero.size());
    for (int32_t g = 0; g < groups; ++g) {
      for (int32_t n = 0; n < rows; ++n) {
        // Every eighth field is all ones: with a bias of 1 it means 0.
        const uint32_t stored = n % 8 == 3 ? mask : random() & mask;
        put_field(qzeros, 1 + size_t(g) * rows * bits / 8, 1, bits, n, stored);
        zero[g * rows + n] = (stored + static_cast<uint32_t>(zero_bias)) & mask;
        const float value = static_cast<float>(random() % 0xffffff + 1) * 0x1p-26f;
        const uint16_t half = scale_format == Format::kF16
                                  ? f32_to_f16(value)
                                  : static_cast<uint16_t>(bits_from_float(value) >> 16);
        uint8_t* p = scale_data.data() + 1 + (size_t(g) * rows + n) * scale_bytes;
        if (scale_format == Format::kF32)
          std::memcpy(p, &value, 4);
        else
          std::memcpy(p, &half, 2);
        scale[g * rows + n] = scale_format == Format::kF32   ? value
                              : scale_format == Format::kF16 ? f16_to_f32(half)
                                                             : bf16_to_f32(half);
      }
    }
    if (kind != Groups::kPlain) {
      index.resize(1 + 4 * size_t(columns));
      std::memcpy(index.data() + 1, group.data(), 4 * size_t(columns));
    }
    parts = {bits,
             group_size,
             zero_bias,
             scale_format,
             qzeros.data() + 1,
             scale_data.data() + 1,
             kind == Groups::kPlain ? nullptr : index.data() + 1};
    weight = {Format::kGptq, rows, columns, qweight.data() + 1, parts};
  }

  double value(int32_t k, int32_t n) const {
    const int32_t g = group[k];
    return (double(q[k * rows + n]) - double(zero[g * rows + n])) * double{scale[g * rows + n]};
  }

  int32_t columns, rows;
  std::vector<int32_t> group;
  std::vector<uint32_t> q, zero;
  std::vector<float> scale;
  std::vector<uint8_t> qweight, qzeros, scale_data, index;
  GptqParts parts;
  WeightData weight;
};

// The weight in order, and activations that match.
struct Prepared {
  Prepared(const Gptq& gptq, int32_t rows, uint32_t seed) : order(gptq.parts, gptq.columns) {
    layout = {order.columns, gptq.weight.data, order.block_groups.data()};
    if (!order.in_place()) {
      words.reserve(ordered_gptq_bytes(gptq.weight, order) / 4);
      reorder_gptq(gptq.weight, order, Workers(1), words.data());
      layout.qweight = reinterpret_cast<const uint8_t*>(words.data());
    }
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    values.resize(size_t(rows) * gptq.columns);
    for (float& v : values) v = normal(random);
    const int32_t columns = order.columns;
    permuted.resize(size_t(rows) * columns);
    q.resize(size_t(rows * quantized_stride(columns)));
    scales.resize(permuted.size() / 32);
    sums.resize(permuted.size() / 16);
    for (int32_t r = 0; r < rows; ++r) {
      const float* in = &values[r * gptq.columns];
      if (order.in_place())
        std::copy_n(in, columns, &permuted[r * columns]);
      else
        permute_gptq(order, in, &permuted[r * columns]);
      kScalarLinear.quantize(&permuted[r * columns], columns, &q[r * quantized_stride(columns)],
                             &scales[r * (columns / 32)], &sums[r * (columns / 16)]);
    }
    quantized = {rows, columns, permuted.data(), q.data(), scales.data(), sums.data()};
    plain = {rows, gptq.columns, values.data(), nullptr, nullptr, nullptr};
  }

  // What the quantized activation of an input of the file is.
  std::vector<double> activations(int32_t row, int32_t inputs) const {
    std::vector<double> all(inputs);
    for (int32_t i = 0; i < order.columns; ++i) {
      const int32_t from = order.in_place() ? i : order.order[i];
      if (from == GptqOrder::kNoInput) continue;
      const size_t at = size_t(row) * order.columns + i;
      all[from] = double{scales[at / 32]} * q[row * quantized_stride(order.columns) + i];
    }
    return all;
  }

  GptqOrder order;
  GptqLayout layout;
  AlignedBuffer<uint32_t> words;
  std::vector<float> values, permuted, scales;
  std::vector<int8_t> q;
  std::vector<int16_t> sums;
  Activations quantized, plain;
};

std::vector<float> run(const LinearKernels& kernels, const Gptq& gptq, const Prepared& prepared,
                       bool f32, int32_t first_row, int32_t rows, int32_t first, int32_t last) {
  Activations in = f32 ? prepared.plain : prepared.quantized;
  in.rows = rows;
  in.values += int64_t{first_row} * in.columns;
  if (!f32) {
    in.q += first_row * quantized_stride(in.columns);
    in.scales += first_row * (in.columns / 32);
    in.sums += first_row * (in.columns / 16);
  }
  const size_t bytes = kernels.scratch_bytes(std::max(gptq.columns, prepared.layout.columns), rows);
  std::unique_ptr<uint8_t[]> memory(new uint8_t[bytes + 64]);
  uint8_t* scratch = memory.get() + (64 - reinterpret_cast<uintptr_t>(memory.get()) % 64) % 64;
  std::memset(scratch, 0xff, bytes);
  std::vector<float> out(size_t(rows) * gptq.rows, std::numeric_limits<float>::quiet_NaN());
  const LinearTask task = {&gptq.weight, &in,     first,           last, out.data(), gptq.rows,
                           false,        scratch, &prepared.layout};
  (f32 ? kernels.linear_f32 : kernels.linear)(task);
  return out;
}

// Against the naive products, where a lane takes so many roundings.
void check_against_naive(const Gptq& gptq, const Prepared& prepared, bool f32,
                         const std::vector<float>& out) {
  double worst = 0;
  for (int32_t r = 0; r < prepared.quantized.rows; ++r) {
    std::vector<double> x = prepared.activations(r, gptq.columns);
    if (f32) std::copy_n(&prepared.values[size_t(r) * gptq.columns], gptq.columns, x.begin());
    for (int32_t n = 0; n < gptq.rows; ++n) {
      double expected = 0, size = 0;
      for (int32_t k = 0; k < gptq.columns; ++k) {
        expected += gptq.value(k, n) * x[k];
        size += std::fabs(gptq.value(k, n) * x[k]);
      }
      const int32_t roundings = prepared.order.columns / 8 + 8;
      const double bound = size * roundings * 0x1p-24;
      const double error = std::fabs(out[size_t(r) * gptq.rows + n] - expected) / bound;
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  }
  CHECK(worst <= 1);
}

// Rows [0, rows) of all implementations against the scalar kernels, for each of `all_rows`.
void check(int bits, int32_t columns, int32_t outputs, int32_t group_size, Groups kind,
           std::initializer_list<int32_t> all_rows) {
  const Format scale_format = bits == 3 ? Format::kBF16 : bits == 2 ? Format::kF32 : Format::kF16;
  const int32_t most = std::max(all_rows);
  const Gptq gptq(bits, columns, outputs, group_size, kind, most % 2, scale_format, most + bits);
  const Prepared prepared(gptq, most, 3);
  for (const bool f32 : {false, true}) {
    const std::vector<float> expected =
        run(kScalarLinear, gptq, prepared, f32, 0, most, 0, outputs);
    check_against_naive(gptq, prepared, f32, expected);
    for (const Implementation& implementation : implementations()) {
      if (!implementation.supported()) continue;
      for (const int32_t rows : all_rows) {
        const std::vector<float> out =
            run(*implementation.linear, gptq, prepared, f32, 0, rows, 0, outputs);
        if (std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) == 0) continue;
        test::fail(__FILE__, __LINE__,
                   std::string(implementation.name) + (f32 ? " f32 " : " ") + std::to_string(bits) +
                       " bits, " + std::to_string(columns) + " by " + std::to_string(outputs) +
                       ", groups of " + std::to_string(group_size) + " kind " +
                       std::to_string(static_cast<int>(kind)) + ", " + std::to_string(rows) +
                       " rows: not the scalar kernels' bits");
      }
    }
  }
}

constexpr int kBits[] = {2, 3, 4, 8};
constexpr Groups kKinds[] = {Groups::kPlain, Groups::kSorted, Groups::kShuffled, Groups::kUneven};

}  // namespace

TEST("hand-packed GPTQ weights decode to (q - zero) * scale, zero modulo 2^bits") {
  for (const int bits : kBits) {
    for (const int bias : {0, 1}) {
      for (const Groups kind : kKinds) {
        for (const Format scales : {Format::kF16, Format::kBF16, Format::kF32}) {
          const Gptq gptq(bits, 96, 64, 32, kind, bias, scales, 5);
          std::vector<float> decoded(96 * 64);
          decode_gptq(gptq.weight, 0, 64, decoded.data());
          int different = 0;
          for (int32_t n = 0; n < 64; ++n) {
            for (int32_t k = 0; k < 96; ++k) {
              different += decoded[n * 96 + k] != static_cast<float>(gptq.value(k, n));
            }
          }
          CHECK_EQ(different, 0);
        }
      }
    }
  }
}

TEST("inputs are brought into whole blocks of one group, each once") {
  for (const Groups kind : kKinds) {
    for (const int32_t group_size : {32, 64, 40, 320}) {
      const Gptq gptq(4, 320, 32, group_size, kind, 0, Format::kF16, 1);
      const GptqOrder order(gptq.parts, 320);
      CHECK_EQ(order.columns % 32, 0);
      CHECK_EQ(order.block_groups.size(), static_cast<size_t>(order.columns / 32));
      const bool aligned = group_size % 32 == 0;
      if (kind == Groups::kPlain || kind == Groups::kSorted) CHECK_EQ(order.in_place(), aligned);
      if (kind == Groups::kShuffled && aligned) CHECK_EQ(order.columns, 320);
      std::vector<int> seen(320);
      for (int32_t i = 0; i < order.columns; ++i) {
        const int32_t k = order.in_place() ? i : order.order[i];
        if (k == GptqOrder::kNoInput) continue;
        ++seen[k];
        CHECK_EQ(gptq.group[k], order.block_groups[i / 32]);
      }
      CHECK(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
    }
  }
}

TEST("a copy in group order has every field where the order says, however many outputs") {
  for (const int bits : kBits) {
    for (const int32_t rows : {32, 96, 256, 320}) {
      for (const int threads : {1, 3}) {
        const Gptq gptq(bits, 320, rows, 64, Groups::kUneven, 1, Format::kF16, 7);
        const GptqOrder order(gptq.parts, 320);
        const uint64_t bytes = ordered_gptq_bytes(gptq.weight, order);
        AlignedBuffer<uint8_t> words;
        words.reserve(bytes);
        std::memset(words.data(), 0xa5, bytes);
        uint8_t* data = words.data();
        CHECK(tramontane_cpu_order_gptq(&gptq.weight, threads, data, bytes) == Status::kOk);
        int different = 0;
        for (int32_t n = 0; n < rows; ++n) {
          for (int32_t i = 0; i < order.columns; ++i) {
            if (order.order[i] == GptqOrder::kNoInput) continue;
            different +=
                quant::gptq_field(data + 4 * n, rows, bits, i) != gptq.q[order.order[i] * rows + n];
          }
        }
        CHECK_EQ(different, 0);
      }
    }
  }
}

TEST("a copy in group order is refused into memory of another length, and where none is needed") {
  const Gptq shuffled(4, 64, 32, 32, Groups::kShuffled, 1, Format::kF16, 7);
  const Gptq plain(4, 64, 32, 32, Groups::kPlain, 1, Format::kF16, 7);
  alignas(16) uint8_t words[64 / 8 * 32 * 4 + 16];
  constexpr uint64_t kBytes = sizeof words - 16;
  CHECK(tramontane_cpu_order_gptq(&shuffled.weight, 1, words, kBytes) == Status::kOk);
  CHECK(tramontane_cpu_order_gptq(&shuffled.weight, 1, words, kBytes - 4) == Status::kInvalid);
  CHECK(tramontane_cpu_order_gptq(&shuffled.weight, 1, words, kBytes + 4) == Status::kInvalid);
  CHECK(tramontane_cpu_order_gptq(&shuffled.weight, 1, words + 4, kBytes) == Status::kInvalid);
  CHECK(tramontane_cpu_order_gptq(&plain.weight, 1, words, kBytes) == Status::kInvalid);
  const Gptq narrow(4, 64, 8, 32, Groups::kShuffled, 1, Format::kF16, 7);
  CHECK(tramontane_cpu_order_gptq(&narrow.weight, 1, words, kBytes / 4) == Status::kUnsupported);
}

TEST("GPTQ products have the scalar kernels' bits, which are the naive ones but for roundings") {
  for (const int bits : kBits) {
    for (const Groups kind : kKinds) {
      check(bits, 160, 32, 32, kind, {1, 2, 3, 4, 5, 9, 17});
      check(bits, 256, 64, 128, kind, {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 16, 17, 19, 23, 40});
      check(bits, 96, 32, 96, kind, {3});
      check(bits, 96, 32, 40, kind, {6, 16});
    }
    check(bits, 32, 20000 / 32 * 32, 32, Groups::kPlain, {1});
    check(bits, 2304, 32, 128, Groups::kShuffled, {6, 16});
  }
}

TEST("a row of a GPTQ product has the scalar kernels' bits in every batch and split") {
  constexpr int32_t kRows = 19, kOutputs = 64;
  for (const int bits : kBits) {
    for (const Groups kind : {Groups::kPlain, Groups::kUneven}) {
      // Beyond what one panel of a tiled kernel may hold.
      const Gptq gptq(bits, 2304, kOutputs, 128, kind, 1, Format::kF32, 2);
      const Prepared prepared(gptq, kRows, 4);
      for (const bool f32 : {false, true}) {
        const std::vector<float> whole =
            run(kScalarLinear, gptq, prepared, f32, 0, kRows, 0, kOutputs);
        for (const Implementation& implementation : implementations()) {
          if (!implementation.supported()) continue;
          for (const int32_t batch : {1, 2, 3, 4, 5, 8, 12, kRows}) {
            for (const int32_t split : {7, 32}) {
              if (f32 && batch > 2) continue;
              for (int32_t row = 0; row < kRows; row += batch) {
                const int32_t rows = std::min(batch, kRows - row);
                for (int32_t first = 0; first < kOutputs; first += split) {
                  const int32_t last = std::min(first + split, kOutputs);
                  const std::vector<float> part =
                      run(*implementation.linear, gptq, prepared, f32, row, rows, first, last);
                  for (int32_t r = 0; r < rows; ++r) {
                    const bool same = std::memcmp(&part[r * kOutputs + first],
                                                  &whole[(row + r) * kOutputs + first],
                                                  (last - first) * sizeof(float)) == 0;
                    CHECK(same);
                    if (!same) return;
                    // What was not asked for is not touched.
                    if (first > 0) CHECK(std::isnan(part[r * kOutputs + first - 1]));
                    if (last < kOutputs) CHECK(std::isnan(part[r * kOutputs + last]));
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

TEST("a rectangle of a weight has the values of its definition") {
  for (const int bits : {2, 3, 4, 8}) {
    for (const Groups kind :
         {Groups::kPlain, Groups::kSorted, Groups::kShuffled, Groups::kUneven}) {
      const Gptq gptq(bits, 512, 320, 128, kind, 1, Format::kF16, 21);
      for (const WeightTile& tile : {WeightTile{0, 256, 0, 256}, WeightTile{256, 64, 256, 256}}) {
        std::vector<float> decoded(size_t{kWeightTile} * kWeightTile);
        decode_weight_tile(gptq.weight, tile, decoded.data());
        for (int32_t o = 0; o < tile.outputs; ++o) {
          for (int32_t i = 0; i < tile.inputs; ++i) {
            CHECK_EQ(decoded[size_t(o) * kWeightTile + i],
                     static_cast<float>(gptq.value(tile.first_input + i, tile.first_output + o)));
          }
        }
      }
    }
  }
}
