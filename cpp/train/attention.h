// Causal attention over packed samples, forward and backward: Dao et al., arXiv:2205.14135, with
// strips of queries for tiles. Of the probabilities, only each row's log-sum-exp is kept.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "cpu/backend/workers.h"
#include "cpu/products/products.h"

namespace tramontane::train {

// Rows [first, first + rows) of a packed sequence are one sample: its rows see each other's, and no
// others.
struct Sample {
  int32_t first, rows;
};

class Attention {
 public:
  // `window`: keys a query sees, its own included; 0: all before it.
  Attention(const ModelShape& shape, int32_t window, const cpu::TileKernels& kernels,
            const cpu::Workers& workers);

  // query, out [n][heads head_size]; key, value [n][kv_heads head_size]; log_sums [heads][n], of
  // the scaled scores that each query has.
  void forward(const std::vector<Sample>& samples, int32_t n, const float* query, const float* key,
               const float* value, float* out, float* log_sums);
  // d_query, d_key and d_value from d_out; the rest as forward() had and left it.
  void backward(const std::vector<Sample>& samples, int32_t n, const float* query, const float* key,
                const float* value, const float* out, const float* log_sums, const float* d_out,
                float* d_query, float* d_key, float* d_value);

 private:
  struct Thread {
    explicit Thread(const cpu::TileKernels& kernels) : products(kernels) {}
    cpu::ThreadProducts products;
    AlignedBuffer<float> scores, d_scores;
  };
  // Queries [first, last) of a sample and the keys [first_key, last) that one of them sees.
  struct Strip {
    int32_t first, last, first_key;
    int32_t queries() const { return last - first; }
    int32_t keys() const { return last - first_key; }
  };
  template <typename Use>
  void for_each_strip(int32_t rows, Use use) const;
  double work(const std::vector<Sample>& samples) const;

  const ModelShape shape_;
  const int32_t window_;
  const cpu::Workers& workers_;
  const float scale_;  // Of scores: 1 / sqrt(head_size)
  std::vector<Thread> threads_;
};

}  // namespace tramontane::train
