#include "model/merge.h"

#include <algorithm>
#include <cmath>

#include "backend/rules.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "quant/encode.h"
#include "quant/gptq.h"

namespace tramontane {
namespace {

constexpr int32_t kPieceRows = 16;

std::vector<float> decoded(const WeightFiles& files, const WeightPlace& place) {
  const WeightData data = files.find(place).data;
  const int64_t count = int64_t{data.rows} * data.columns;
  std::vector<float> values(static_cast<size_t>(count));
  decode_blocks(data.format, data.data, count / format_info(data.format).block_values,
                values.data());
  return values;
}

void decode_row(const WeightData& weight, int32_t row, float* out) {
  if (weight.format == Format::kGptq) return decode_gptq(weight, row, row + 1, out);
  const FormatInfo& info = format_info(weight.format);
  const int64_t blocks = weight.columns / info.block_values;
  decode_blocks(weight.format, weight.data + row * blocks * info.block_bytes, blocks, out);
}

}  // namespace

void merge_weight(const MergeRequest& request, uint8_t* out, uint64_t bytes) {
  const WeightFiles files(request.files), adapter({request.adapter.file});
  const WeightData weight = files.find(request.weight).data;
  const AdapterPairPlace& pair = request.adapter.pairs.at(0);
  const int32_t rows = weight.rows, columns = weight.columns, rank = pair.down.rows;
  const FormatInfo& info = format_info(request.format);
  const AdapterRows order(request.shape, request.adapter.rope_pairing, pair.role);
  const bool has_heads = order.same() || rows % std::max(1, request.shape.head_size) == 0;
  const bool fits =
      pair.down.columns == columns && pair.up.rows == rows && pair.up.columns == rank && has_heads;
  if (!fits || !can_encode(request.format) || columns % info.block_values != 0) {
    throw Error("INVALID_FILE", request.weight.name + ": the adapter or the format does not fit");
  }
  const int64_t blocks = columns / info.block_values, row_bytes = blocks * info.block_bytes;
  if (bytes != static_cast<uint64_t>(rows * row_bytes)) {
    throw Error("INVALID_OPTION", request.weight.name + ": the place for it has a wrong length");
  }
  const std::vector<float> down = decoded(adapter, pair.down), up = decoded(adapter, pair.up);
  const std::vector<float> magnitudes =
      pair.has_magnitude ? decoded(adapter, pair.magnitude) : std::vector<float>();
  if (pair.has_magnitude && magnitudes.size() != static_cast<size_t>(rows)) {
    throw Error("INVALID_FILE", pair.magnitude.name + " does not fit its weight");
  }
  const double scale = double{pair.scale} * double{request.scale};

  const auto pool = ThreadPool::shared();
  pool->grow(request.threads);
  pool->parallel_for(
      request.threads, (rows + kPieceRows - 1) / kPieceRows, [&](int32_t piece, int) {
        std::vector<float> values(static_cast<size_t>(columns));
        std::vector<double> sums(values.size());
        const int32_t first = piece * kPieceRows, last = std::min(rows, first + kPieceRows);
        for (int32_t row = first; row < last; ++row) {
          decode_row(weight, row, values.data());
          std::copy(values.begin(), values.end(), sums.begin());
          const int64_t from = order.of(row);
          for (int64_t k = 0; k < rank; ++k) {
            const double factor = scale * double{up[static_cast<size_t>(from * rank + k)]};
            const float* a = down.data() + k * columns;
            for (int32_t i = 0; i < columns; ++i)
              sums[static_cast<size_t>(i)] += factor * double{a[i]};
          }
          double factor = 1;
          if (pair.has_magnitude) {
            double square = 0;
            for (const double sum : sums) square += sum * sum;
            factor =
                square > 0 ? double{magnitudes[static_cast<size_t>(from)]} / std::sqrt(square) : 0;
          }
          for (size_t i = 0; i < sums.size(); ++i) values[i] = static_cast<float>(factor * sums[i]);
          if (!std::all_of(values.begin(), values.end(),
                           [](float v) { return std::isfinite(v); })) {
            throw Error("COMPUTE_FAILED", request.weight.name + ": merged values are not finite");
          }
          encode_blocks(request.format, values.data(), blocks, out + row * row_bytes);
        }
      });
  files.check_unchanged();
  adapter.check_unchanged();
}

}  // namespace tramontane
