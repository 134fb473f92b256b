#include "train/attention.h"

#include <algorithm>
#include <cmath>

#include "backend/rules.h"

namespace tramontane::train {
namespace {

constexpr int32_t kStripQueries = 64;

using cpu::MatrixView;
using cpu::rows_of;

}  // namespace

Attention::Attention(const ModelShape& shape, int32_t window, const cpu::TileKernels& kernels,
                     const cpu::Workers& workers)
    : shape_(shape),
      window_(window),
      workers_(workers),
      scale_(1 / std::sqrt(static_cast<float>(shape.head_size))) {
  for (int i = 0; i < workers.threads(); ++i) threads_.emplace_back(kernels);
}

template <typename Use>
void Attention::for_each_strip(int32_t rows, Use use) const {
  for (int32_t first = 0; first < rows; first += kStripQueries) {
    use(Strip{first, std::min(first + kStripQueries, rows), first_visible(first, window_)});
  }
}

double Attention::work(const std::vector<Sample>& samples) const {
  double work = 0;
  for (const Sample& sample : samples) {
    work += static_cast<double>(sample.rows) * sample.rows * shape_.heads * shape_.head_size;
  }
  return work;
}

void Attention::forward(const std::vector<Sample>& samples, int32_t n, const float* query,
                        const float* key, const float* value, float* out, float* log_sums) {
  const int32_t size = shape_.head_size, group = shape_.heads / shape_.kv_heads;
  const int64_t query_stride = int64_t{shape_.heads} * size,
                key_stride = int64_t{shape_.kv_heads} * size;
  const int32_t tasks = static_cast<int32_t>(samples.size()) * shape_.heads;
  workers_.run(tasks, work(samples), [&](int32_t task, int thread) {
    Thread& own = threads_[static_cast<size_t>(thread)];
    const Sample& sample = samples[static_cast<size_t>(task / shape_.heads)];
    const int32_t head = task % shape_.heads;
    const int64_t query_offset = sample.first * query_stride + int64_t{head} * size;
    const int64_t key_offset = sample.first * key_stride + int64_t{head / group} * size;
    for_each_strip(sample.rows, [&](const Strip& strip) {
      const int32_t queries = strip.queries(), keys = strip.keys();
      own.scores.reserve(static_cast<size_t>(queries) * static_cast<size_t>(keys));
      float* scores = own.scores.data();  // [queries][keys]
      const int64_t q = query_offset + strip.first * query_stride,
                    k = key_offset + strip.first_key * key_stride;
      own.products.multiply(rows_of(query + q, query_stride),
                            rows_of(key + k, key_stride).transposed(), {queries, keys, size},
                            {scores, keys});
      for (int32_t i = 0; i < queries; ++i) {
        const int32_t position = strip.first + i;
        const int32_t first = first_visible(position, window_) - strip.first_key,
                      last = position + 1 - strip.first_key;
        float* row = scores + int64_t{i} * keys;
        const float maximum = *std::max_element(row + first, row + last);
        double sum = 0;
        for (int32_t j = first; j < last; ++j) {
          row[j] = std::exp(scale_ * (row[j] - maximum));
          sum += row[j];
        }
        const float inverse = static_cast<float>(1 / sum);
        for (int32_t j = first; j < last; ++j) row[j] *= inverse;
        std::fill(row, row + first, 0.0f);
        std::fill(row + last, row + keys, 0.0f);
        log_sums[int64_t{head} * n + sample.first + position] =
            static_cast<float>(std::log(sum) + static_cast<double>(scale_) * maximum);
      }
      own.products.multiply(rows_of(scores, keys), rows_of(value + k, key_stride),
                            {queries, size, keys}, {out + q, query_stride});
    });
  });
}

// With P = exp(scale Q K^T - log_sums):
//   d_value = P^T d_out; d_P = d_out V^T
//   d_scores = P (d_P - rowsum(d_out out)) scale
//   d_query = d_scores K; d_key = d_scores^T Q
// A key's heads and strips are taken in turn by one thread, so that their sum has one order.
void Attention::backward(const std::vector<Sample>& samples, int32_t n, const float* query,
                         const float* key, const float* value, const float* out,
                         const float* log_sums, const float* d_out, float* d_query, float* d_key,
                         float* d_value) {
  const int32_t size = shape_.head_size, group = shape_.heads / shape_.kv_heads;
  const int64_t query_stride = int64_t{shape_.heads} * size,
                key_stride = int64_t{shape_.kv_heads} * size;
  const int32_t tasks = static_cast<int32_t>(samples.size()) * shape_.kv_heads;
  workers_.run(tasks, 3 * work(samples), [&](int32_t task, int thread) {
    Thread& own = threads_[static_cast<size_t>(thread)];
    const Sample& sample = samples[static_cast<size_t>(task / shape_.kv_heads)];
    const int32_t kv_head = task % shape_.kv_heads;
    const int64_t key_offset = sample.first * key_stride + int64_t{kv_head} * size;
    for (int32_t i = 0; i < sample.rows; ++i) {
      std::fill_n(d_key + key_offset + i * key_stride, size, 0.0f);
      std::fill_n(d_value + key_offset + i * key_stride, size, 0.0f);
    }
    for (int32_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const int64_t query_offset = sample.first * query_stride + int64_t{head} * size;
      for_each_strip(sample.rows, [&](const Strip& strip) {
        const int32_t queries = strip.queries(), keys = strip.keys();
        const size_t count = static_cast<size_t>(queries) * static_cast<size_t>(keys);
        own.scores.reserve(count);
        own.d_scores.reserve(count);
        float* scores = own.scores.data();      // [queries][keys]
        float* d_scores = own.d_scores.data();  // [queries][keys]
        const int64_t q = query_offset + strip.first * query_stride,
                      k = key_offset + strip.first_key * key_stride;
        const MatrixView queries_view = rows_of(query + q, query_stride),
                         keys_view = rows_of(key + k, key_stride),
                         d_out_view = rows_of(d_out + q, query_stride);
        own.products.multiply(queries_view, keys_view.transposed(), {queries, keys, size},
                              {scores, keys});
        own.products.multiply(d_out_view, rows_of(value + k, key_stride).transposed(),
                              {queries, keys, size}, {d_scores, keys});
        for (int32_t i = 0; i < queries; ++i) {
          const int32_t position = strip.first + i;
          const int32_t first = first_visible(position, window_) - strip.first_key,
                        last = position + 1 - strip.first_key;
          float* row = scores + int64_t{i} * keys;
          float* d_row = d_scores + int64_t{i} * keys;
          const float log_sum = log_sums[int64_t{head} * n + sample.first + position];
          const int64_t at = q + i * query_stride;
          double both = 0;
          for (int32_t d = 0; d < size; ++d) {
            both += static_cast<double>(d_out[at + d]) * out[at + d];
          }
          const float mean = static_cast<float>(both);
          for (int32_t j = first; j < last; ++j) {
            row[j] = std::exp(scale_ * row[j] - log_sum);
            d_row[j] = row[j] * (d_row[j] - mean) * scale_;
          }
          for (float* unseen : {row, d_row}) {
            std::fill(unseen, unseen + first, 0.0f);
            std::fill(unseen + last, unseen + keys, 0.0f);
          }
        }
        const MatrixView probabilities = rows_of(scores, keys), d_view = rows_of(d_scores, keys);
        own.products.multiply(probabilities.transposed(), d_out_view, {keys, size, queries},
                              {d_value + k, key_stride, true});
        own.products.multiply(d_view.transposed(), queries_view, {keys, size, queries},
                              {d_key + k, key_stride, true});
        own.products.multiply(d_view, keys_view, {queries, size, keys},
                              {d_query + q, query_stride});
      });
    }
  });
}

}  // namespace tramontane::train
